"""`adasparse predict`: a saved run's scores for new files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import DataFolder, Overwrite, Run, RunsFolder, StudiesFolder, Unfinished, Verify
from adasparse_cli.progress import ProgressDisplay
from adasparse_cli.render import note, say, show

EXAMPLES = """
Examples:

  adasparse predict latest round1_ijcai_18_test_a_20180301.zip

  adasparse predict latest new_clicks.csv --output scores.parquet
"""


def predict(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Raw files like those of the run's data.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write: .csv or .parquet; NAME.predictions.csv without it."),
    ] = None,
    overwrite: Overwrite = False,
    unfinished: Unfinished = False,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    data: DataFolder = Path("data"),
    verify: Verify = False,
) -> None:
    """Score raw or tabular files, labelled or not.

    A domain is written as its values joined by `/`; `/` and `\\` in a value are written behind a `\\`, a missing value as
    `missing`. In CSV, a text that a spreadsheet would run, such as `=1+1`, stands behind an apostrophe.
    """
    from adasparse_cli.raw.raw_files import raw_files
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.runs.output import predictions_name
    from adasparse_cli.runs.score import open_run, run_predict
    from adasparse_cli.studies.verify import verify_run

    chosen = choose_run(run, runs, studies, unfinished=unfinished)
    note(chosen.line)
    saved = open_run(chosen.folder, data_root=data)
    if verify:
        verify_run(saved.folder)
    target = output or predictions_name(files[0])
    with ProgressDisplay() as progress:
        report = run_predict(saved, raw_files(files), target, progress, overwrite=overwrite)
    if report.rejects:
        worst = [
            {
                "file": reject.source,
                "line": reject.line,
                "column": reject.column,
                "value": reject.value,
                "reason": reject.reason,
            }
            for reject in report.rejects[:10]
        ]
        show(worst, title=f"{len(report.rejects):,} rows could not be scored; the first:")
    say(f"{report.rows:,} rows scored, {report.unseen_domain_rows:,} of them of domains unseen in training")
    if report.unseen:
        unseen = sorted(report.unseen.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} in {share:.0%} of rows" for name, share in unseen)
        say(f"values that training did not know, far more of them than in the test split: {shown}")
    say(f"predictions: {report.output}")
