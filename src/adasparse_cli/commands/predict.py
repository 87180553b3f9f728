"""`adasparse predict`: a saved run's scores for new files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import DataFolder, Run, RunsFolder, Verify
from adasparse_cli.progress import ProgressDisplay
from adasparse_cli.render import say, show

EXAMPLES = """
Examples:

  adasparse predict latest round1_ijcai_18_test_a_20180301.zip

  adasparse predict latest new_clicks.csv --output scores.parquet
"""


def predict(
    run: Run,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Raw files like those of the run's data.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write: .csv or .parquet.")] = None,
    runs: RunsFolder = Path("runs"),
    data: DataFolder = Path("data"),
    verify: Verify = False,
) -> None:
    """Score raw or tabular files, labelled or not."""
    from adasparse_cli.jobs.run_folder import find_run
    from adasparse_cli.jobs.score import open_run, run_predict
    from adasparse_cli.jobs.verify import verify_run
    from adasparse_cli.prep.raw_files import raw_files

    saved = open_run(find_run(run, runs), data_root=data)
    if verify:
        verify_run(saved.folder)
    target = output or Path(f"{files[0].name.split('.')[0]}.predictions.csv")
    with ProgressDisplay() as progress:
        report = run_predict(saved, raw_files(files), target, progress)
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
