"""`adasparse runs`: look at runs, and remove them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import AsCsv, AsJson, Run, RunsFolder
from adasparse_cli.render import Format, chosen_format, say, show, show_json

app = typer.Typer(help="Look at runs, and remove them.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls", epilog="Example:\n\n  adasparse runs ls --csv > runs.csv")
def ls(runs: RunsFolder = Path("runs"), as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List all runs, the newest last."""
    from adasparse_cli.jobs.catalogue import list_runs

    rows = list_runs(runs)
    form = chosen_format(as_json, as_csv)
    if form is not Format.text:
        show(rows, form=form)
        return
    if not rows:
        say(f"no runs in {runs}; adasparse train makes one")
        return
    show(rows, columns=[name for name in rows[0] if name != "settings"])
    own = [
        {"run": f"{row['data']}/{row['model']}/{row['run']}", "settings": row["settings"]}
        for row in rows
        if row["settings"]
    ]
    if own:
        show(own, title="Settings that are not the packaged ones")


@app.command("show", epilog="Example:\n\n  adasparse runs show latest")
def show_run(run: Run, runs: RunsFolder = Path("runs")) -> None:
    """Print a run's report as JSON."""
    from adasparse_cli.jobs.run_folder import find_run, read_report

    show_json(read_report(find_run(run, runs)))


@app.command("verify", epilog="Example:\n\n  adasparse runs verify latest")
def verify(run: Run, runs: RunsFolder = Path("runs")) -> None:
    """Read every file of a run, with its checkpoints and findings, and compare its checksum."""
    from adasparse_cli.jobs.run_folder import find_run, sealed_run
    from adasparse_cli.jobs.verify import verify_run

    folder = find_run(run, runs)
    number = verify_run(folder)
    say(f"{folder}: {number:,} files with a checksum, all unchanged")
    if sealed_run(folder) is None:
        say("its other files have no checksum: the run is not finished, or an earlier version of adasparse made it")


@app.command("rm", epilog="Example:\n\n  adasparse runs rm 20260101T120000Z-s0")
def rm(
    run: Run,
    runs: RunsFolder = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a run's folder; one that is being trained is left alone."""
    from adasparse_cli.jobs.catalogue import remove_run
    from adasparse_cli.jobs.run_folder import find_run

    folder = find_run(run, runs)
    if not yes:
        typer.confirm(f"remove {folder}?", abort=True)
    remove_run(folder)
    say(f"removed {folder}")
