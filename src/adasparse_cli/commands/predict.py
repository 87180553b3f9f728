"""`adasparse predict`: a saved run's scores for new files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.commands.arguments import DataFolder, Overwrite, RunsFolder, StudiesFolder, Unfinished, Verify
from adasparse_cli.errors import UsageError
from adasparse_cli.progress import ProgressDisplay
from adasparse_cli.render import note, say, show

if TYPE_CHECKING:
    from adasparse_cli.raw.rejected import Reject

# What marks a folder that `adasparse export` wrote.
INDEX = "adasparse.json"
EXAMPLES = """
Examples:

  adasparse predict latest round1_ijcai_18_test_a_20180301.zip

  adasparse predict latest new_clicks.csv --output scores.parquet

  adasparse export latest --output model && adasparse predict model new_clicks.csv --engine numpy
"""


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Folder of a run, a part of its path, `latest`, STUDY/ARM, or a folder of `export`.",
            autocompletion=completion.runs,
        ),
    ],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Raw files like those of the run's data.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output file: .csv or .parquet. Default: NAME.predictions.csv."),
    ] = None,
    overwrite: Overwrite = False,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="Engine for an exported model: numpy, torch or onnx. [default: numpy]"),
    ] = None,
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
    if (Path(run) / INDEX).is_file():
        _predict_exported(Path(run), files, output, engine=engine, overwrite=overwrite, verify=verify)
        return
    if engine is not None:
        raise UsageError(
            f"--engine {engine} is for exported models, and {run} is none", hint=f"adasparse export {run} makes one"
        )
    from adasparse_cli.catalogue.verify import verify_run
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.runs.output import predictions_name
    from adasparse_cli.runs.score import files_to_score, open_run, run_predict

    chosen = choose_run(run, runs, studies, unfinished=unfinished)
    note(chosen.line)
    saved = open_run(chosen.folder, data_root=data)
    if verify:
        verify_run(saved.folder)
    target = output or predictions_name(files[0])
    with ProgressDisplay() as progress:
        report = run_predict(saved, files_to_score(saved, files), target, progress, overwrite=overwrite)
    _show(report.rows, report.rejects, report.unseen_domain_rows, report.unseen)
    say(f"predictions: {report.output}")


def _predict_exported(
    folder: Path, files: list[Path], output: Path | None, *, engine: str | None, overwrite: bool, verify: bool
) -> None:
    """Score with an exported model: neither torch nor polars is loaded unless the engine or a file needs it."""
    from adasparse_cli.raw.raw_files import raw_files
    from adasparse_cli.runs.output import predictions_name, require_output
    from adasparse_cli.serving.artefact import open_artefact
    from adasparse_cli.serving.predict import predict_files

    artefact = open_artefact(folder)
    if verify:
        artefact.verify()
    named = raw_files(files)
    target = output or predictions_name(files[0])
    require_output(target, inputs=named, overwrite=overwrite)
    with ProgressDisplay() as progress:
        report = predict_files(artefact, named, target, progress, engine=engine)
    _show(report.rows, report.rejects, report.unseen_domain_rows, report.unseen)
    say(
        f"{report.rows / report.seconds:,.0f} rows/s in all, {report.rows / report.scoring_seconds:,.0f} rows/s by the "
        f"engine {report.engine} from ids to logits"
    )
    say(f"predictions: {report.output}")


def _show(rows: int, rejects: Sequence[Reject], unseen_domain_rows: int, unseen: Mapping[str, float]) -> None:
    """What was scored, and what could not be."""
    if rejects:
        worst = [
            {
                "file": reject.source,
                "line": reject.line,
                "column": reject.column,
                "value": reject.value,
                "reason": reject.reason,
            }
            for reject in rejects[:10]
        ]
        show(worst, title=f"{len(rejects):,} rows could not be scored; the first:")
    say(f"{rows:,} rows scored, {unseen_domain_rows:,} of them of domains unseen in training")
    if unseen:
        ordered = sorted(unseen.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} in {share:.0%} of rows" for name, share in ordered)
        say(f"values that training did not know, far more of them than in the test split: {shown}")
