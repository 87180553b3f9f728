"""`adasparse runs`: list, show, compare, verify and remove runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.choices import RunOrder
from adasparse_cli.findings.finding import estimate, few_caption
from adasparse_cli.terminal.arguments import AsCsv, AsJson, Run, RunsFolder, StudiesFolder
from adasparse_cli.terminal.render import MACHINE, chosen_format, note, say, show, show_machine, visible

METRICS = ("AUC", "GAUC by domain", "log loss")

app = typer.Typer(help="List, show, compare, verify and remove runs.", no_args_is_help=True, rich_markup_mode=None)


DIFF_EXAMPLES = """
Examples:

  adasparse runs diff 20260101T120000Z-s0 latest

  adasparse runs diff ablate-twin/dnn ablate-twin/fusion --csv > diff.csv
"""
LS_EXAMPLES = """
Examples:

  adasparse runs ls --data twin --model adasparse

  adasparse runs ls --study ablate-twin --sort gauc --limit 5

  adasparse runs ls --csv > runs.csv
"""


@app.command("ls", epilog=LS_EXAMPLES)
def ls(
    data: Annotated[
        str | None,
        typer.Option("--data", help="Only runs on this data set.", autocompletion=completion.prepared_data),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Only runs of this model, all modes.", autocompletion=completion.models),
    ] = None,
    study: Annotated[
        str | None, typer.Option("--study", help="Only runs of this study.", autocompletion=completion.studies)
    ] = None,
    sort: Annotated[
        RunOrder, typer.Option("--sort", help="Sort order: time (newest last), name, or a test metric (best first).")
    ] = RunOrder.time,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of runs to list.")] = None,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List runs with their time, study, state and test metrics.

    State: done, unfinished, failed, damaged, or stale. A stale run is finished, but its prepared data were removed or replaced.
    """
    from adasparse_cli.catalogue.run_list import list_runs

    rows = list_runs(runs, studies, data=data, model=model, study=study, order=sort, limit=limit)
    form = chosen_format(as_json, as_csv)
    if form in MACHINE:
        show_machine(rows, form)
        return
    if not rows:
        say(f"no runs in {runs}; adasparse train creates one")
        return
    shown = [
        {**row, **{name: estimate(row[name], row["test rows"], row["test positives"]) for name in METRICS}}
        for row in rows
    ]
    hidden = {"settings", *(() if any(row["study"] for row in rows) else ("study",))}
    show(shown, columns=[name for name in rows[0] if name not in hidden])
    changed = [
        {"run": row["run"], "model": f"{row['data']}/{row['model']}", "settings": row["settings"]}
        for row in rows
        if row["settings"]
    ]
    if changed:
        show(changed, title="Settings that differ from the packaged ones")


@app.command("show", epilog="Example:\n\n  adasparse runs show latest")
def show_run(
    run: Run,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show a run's metrics and sparsity."""
    from adasparse_cli.commands.train import flat_report, show_run_report
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.runs.saved_run import read_report

    form = chosen_format(as_json, as_csv)
    chosen = choose_run(run, runs, studies)
    note(chosen.line)
    report = read_report(chosen.folder)
    if form in MACHINE:
        show_machine([flat_report(report)], form, report)
    else:
        show_run_report(report, chosen.folder, with_domains=False)


@app.command("diff", epilog=DIFF_EXAMPLES)
def diff(
    which: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Two or more runs.", autocompletion=completion.runs),
    ],
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare runs: the settings that differ, and the metrics side by side."""
    from adasparse_cli.catalogue.run_diff import diff_runs
    from adasparse_cli.runs.chosen import choose_run

    form = chosen_format(as_json, as_csv)
    chosen = [choose_run(one, runs, studies, unfinished=True) for one in which]
    for one in chosen:
        for text in one.remarks:
            note(f"{one.folder}: {text}")
    difference = diff_runs([one.folder for one in chosen])
    if form in MACHINE:
        both = [*difference.settings, *difference.metrics]
        rows = [
            {"key": row.get("setting", row.get("metric")), **{name: row[name] for name in difference.names}}
            for row in both
        ]
        more = {"settings": difference.settings, "metrics": difference.metrics}
        show_machine(rows, form, more, names=difference.names)
        return
    if difference.settings:
        show(difference.settings, title="Settings that differ")
    else:
        say("All settings are the same.")
    if difference.metrics:
        shown = [_with_digits(row, difference.counts) for row in difference.metrics]
        show(shown, title="Metrics", caption=_few_positives(difference.counts))
    if not difference.same_data:
        note("warning: the runs were trained on different prepared data, so their test rows may differ")


def _with_digits(row: Mapping[str, Any], counts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A row of metrics with as many digits as each run's split supports."""
    split = row["metric"].rpartition(" ")[0]
    sizes = {name: found.get(split, {}) for name, found in counts.items()}
    figures = {name: estimate(row[name], one.get("rows"), one.get("positives")) for name, one in sizes.items()}
    return {"metric": row["metric"], **figures}


def _few_positives(counts: Mapping[str, Mapping[str, Any]]) -> str:
    """The caption that explains the mark of few positives; empty if no run needs it."""
    captions = (
        few_caption({split: sizes for split, sizes in splits.items() if "," not in split}) for splits in counts.values()
    )
    return next(filter(None, captions), "")


@app.command("verify", epilog="Example:\n\n  adasparse runs verify latest")
def verify(
    run: Run,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Verify the checksum of every file of a run, including checkpoints and findings."""
    from adasparse_cli.catalogue.verify import verify_run
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.runs.saved_run import sealed_run

    form = chosen_format(as_json, as_csv)
    chosen = choose_run(run, runs, studies, unfinished=True)
    note(chosen.line)
    number = verify_run(chosen.folder)
    sealed = sealed_run(chosen.folder) is not None
    if form in MACHINE:
        row = {"folder": str(chosen.folder), "files": number, "unchanged": True, "all_have_checksums": sealed}
        show_machine([row], form)
        return
    say(f"{chosen.folder}: {number:,} files with a checksum, all unchanged")
    if not sealed:
        say("other files have no checksum: the run is unfinished, or an earlier version of adasparse wrote it")


@app.command("rm", epilog="Example:\n\n  adasparse runs rm 20260101T120000Z-s0")
def rm(
    run: Run,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove a run's folder.

    Runs that are being trained and folders that contain other files are not removed.
    """
    from adasparse_cli.catalogue.removal import remove_run, require_removable, warnings_of
    from adasparse_cli.runs.chosen import find_run

    folder = find_run(run, runs, studies)
    require_removable(folder, runs)
    for line in warnings_of(folder, studies):
        note(f"warning: {line}")
    if not yes:
        typer.confirm(f"remove {visible(str(folder))}?", abort=True)
    remove_run(folder, runs)
    say(f"removed {folder}")
