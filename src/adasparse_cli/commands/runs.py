"""`adasparse runs`: look at runs, and remove them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import AsCsv, AsJson, Run, RunsFolder, StudiesFolder
from adasparse_cli.findings.finding import estimate
from adasparse_cli.render import Format, chosen_format, note, say, show, show_json, visible

METRICS = ("AUC", "GAUC by domain", "log loss")

app = typer.Typer(help="Look at runs, and remove them.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls", epilog="Example:\n\n  adasparse runs ls --csv > runs.csv")
def ls(runs: RunsFolder = Path("runs"), as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List all runs, the newest last."""
    from adasparse_cli.runs.run_list import list_runs

    rows = list_runs(runs)
    form = chosen_format(as_json, as_csv)
    if form is not Format.text:
        show(rows, form=form)
        return
    if not rows:
        say(f"no runs in {runs}; adasparse train makes one")
        return
    shown = [
        {**row, **{name: estimate(row[name], row["test rows"], row["test positives"]) for name in METRICS}}
        for row in rows
    ]
    show(shown, columns=[name for name in rows[0] if name != "settings"])
    own = [
        {"run": f"{row['data']}/{row['model']}/{row['run']}", "settings": row["settings"]}
        for row in rows
        if row["settings"]
    ]
    if own:
        show(own, title="Settings that are not the packaged ones")


@app.command("show", epilog="Example:\n\n  adasparse runs show latest")
def show_run(run: Run, runs: RunsFolder = Path("runs"), studies: StudiesFolder = Path("studies")) -> None:
    """Print a run's report as JSON."""
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.runs.saved_run import read_report

    chosen = choose_run(run, runs, studies)
    note(chosen.line)
    show_json(read_report(chosen.folder))


@app.command("verify", epilog="Example:\n\n  adasparse runs verify latest")
def verify(run: Run, runs: RunsFolder = Path("runs"), studies: StudiesFolder = Path("studies")) -> None:
    """Read every file of a run, with its checkpoints and findings, and compare its checksum."""
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.runs.saved_run import sealed_run
    from adasparse_cli.studies.verify import verify_run

    chosen = choose_run(run, runs, studies, unfinished=True)
    note(chosen.line)
    number = verify_run(chosen.folder)
    say(f"{chosen.folder}: {number:,} files with a checksum, all unchanged")
    if sealed_run(chosen.folder) is None:
        say("its other files have no checksum: the run is not finished, or an earlier version of adasparse made it")


@app.command("rm", epilog="Example:\n\n  adasparse runs rm 20260101T120000Z-s0")
def rm(
    run: Run,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a run's folder.

    A run that is being trained is not removed, nor a folder that holds files which are not a run's.
    """
    from adasparse_cli.runs.chosen import find_run
    from adasparse_cli.runs.removal import remove_run, require_removable, warnings_of

    folder = find_run(run, runs, studies)
    require_removable(folder, runs)
    for line in warnings_of(folder, studies):
        note(f"warning: {line}")
    if not yes:
        typer.confirm(f"remove {visible(str(folder))}?", abort=True)
    remove_run(folder, runs)
    say(f"removed {folder}")
