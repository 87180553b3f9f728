"""`adasparse predict`: score new files with a run or an exported model."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.choices import ScoresFormat
from adasparse_cli.errors import AdasparseError, UsageError
from adasparse_cli.terminal.arguments import (
    AsCsv,
    AsJson,
    DataFolder,
    Overwrite,
    RunsFolder,
    StudiesFolder,
    Unfinished,
    Verify,
)
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import MACHINE, Format, chosen_format, note, say, show_machine

if TYPE_CHECKING:
    from adasparse_cli.raw.rejected import Reject
    from adasparse_cli.serving.predict import ScoredFile

# Files that identify a folder of `adasparse export`. One suffices, so that a partly copied folder is not searched for as a run.
EXPORTED = ("adasparse.json", "golden.jsonl")
# Standard input as a file, standard output as the output.
STREAM = Path("-")
SHOWN_REJECTS = 10
EXAMPLES = """
Examples:

  adasparse predict latest round1_ijcai_18_test_a_20180301.zip

  adasparse predict latest new_clicks.csv --output scores.parquet

  adasparse predict latest new_clicks.csv --keep user,item --output scores.ndjson

  zcat new_clicks.csv.gz | adasparse predict latest - > scores.csv

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
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Raw files in the format of the run's data. `-` reads standard input."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Output file: .csv, .parquet or .ndjson; `-` is standard output. Default: NAME.predictions.csv, or standard "
            "output if the rows come from standard input.",
        ),
    ] = None,
    file_format: Annotated[
        ScoresFormat | None, typer.Option("--format", help="Format of the output file. Default: by its name, or CSV.")
    ] = None,
    keep: Annotated[str, typer.Option("--keep", help="Input columns a,b,c to copy to the output.")] = "",
    overwrite: Overwrite = False,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="Engine for an exported model: numpy, torch or onnx. [default: numpy]"),
    ] = None,
    unfinished: Unfinished = False,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Score raw or tabular files, labelled or not.

    A domain is written as its values joined by `/`. In a value, `/` and `\\` are escaped with `\\`; a missing value is written
    as `missing`. A kept column whose name the output already uses is renamed to `input_NAME`. In CSV, text that a spreadsheet would run as a formula, such as `=1+1`, gets a leading apostrophe.
    """
    form = chosen_format(as_json, as_csv)
    exported = any((Path(run) / name).is_file() for name in EXPORTED)
    if engine is not None and not exported:
        raise UsageError(
            f"--engine {engine} needs an exported model, but {run} is not one",
            hint=f"export it first: adasparse export {run}",
        )
    from adasparse_cli.serving.scores_file import scores_format

    to_stdout = output == STREAM or (output is None and STREAM in files)
    if to_stdout and form in MACHINE:
        raise UsageError(
            f"standard output cannot hold both the scores and --{form}", hint="write the scores to a file: -o FILE"
        )
    if files.count(STREAM) > 1:
        raise UsageError("`-` is given more than once", hint="standard input can be read only once")
    named = None if to_stdout else output
    kind = scores_format(named, file_format)
    wanted = [name.strip() for name in keep.split(",") if name.strip()]
    with tempfile.TemporaryDirectory(prefix="adasparse-predict-") as room, _named_as_stdin(room):
        inputs = [_spooled(Path(room)) if file == STREAM else file for file in files]
        target = Path(room) / f"scores.{kind}" if to_stdout else named or _default_name(files, kind)
        tell = note if to_stdout else say
        if exported:
            folder = Path(run)
            scored = _score_exported(
                folder, inputs, target, engine=engine, overwrite=overwrite, verify=verify, keep=wanted, kind=kind
            )
            report: _Report = scored
            speed = {"engine": scored.engine, "seconds": scored.seconds, "scoring_seconds": scored.scoring_seconds}
            more: dict[str, Any] = {"folder": str(folder), **speed}
        else:
            from adasparse_cli.catalogue.verify import verify_run
            from adasparse_cli.runs.chosen import choose_run
            from adasparse_cli.scoring.score import files_to_score, open_run, run_predict

            chosen = choose_run(run, runs, studies, unfinished=unfinished)
            note(chosen.line)
            saved = open_run(chosen.folder, data_root=data)
            if verify:
                verify_run(saved.folder)
            with ProgressDisplay() as progress:
                report = run_predict(
                    saved, files_to_score(saved, inputs), target, progress, overwrite=overwrite, keep=wanted, form=kind
                )
            more = chosen.to_json()
        if to_stdout:
            _copy_to_stdout(target)
        _show(report, form, more, tell)
        if exported and form is Format.text:
            seconds, scoring = more["seconds"], more["scoring_seconds"]
            tell(
                f"{report.rows / seconds:,.0f} rows/s in total, {report.rows / scoring:,.0f} rows/s from ids to logits "
                f"(engine {more['engine']})"
            )
        if form is Format.text and not to_stdout:
            say(f"predictions: {report.output}")


def _default_name(files: Sequence[Path], kind: ScoresFormat) -> Path:
    from adasparse_cli.scoring.output import predictions_name

    return predictions_name(files[0], kind)


def _spooled(room: Path) -> Path:
    """Standard input as a file, because it is read twice: once to detect its format."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "`-` reads standard input, but standard input is a terminal",
            hint="redirect a file: adasparse predict RUN - < FILE",
        )
    path = room / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


@contextlib.contextmanager
def _named_as_stdin(room: str) -> Iterator[None]:
    """Name standard input in errors, not its temporary file."""
    try:
        yield
    except AdasparseError as error:
        error.message = error.message.replace(str(Path(room) / "stdin"), "standard input")
        raise


def _copy_to_stdout(path: Path) -> None:
    sys.stdout.flush()
    with path.open("rb") as file:
        binary = getattr(sys.stdout, "buffer", None)
        if binary is None:
            sys.stdout.write(file.read().decode("utf-8", "replace"))
        else:
            shutil.copyfileobj(file, binary)
            binary.flush()


def _score_exported(
    folder: Path,
    files: Sequence[Path],
    target: Path,
    *,
    engine: str | None,
    overwrite: bool,
    verify: bool,
    keep: Sequence[str],
    kind: ScoresFormat,
) -> ScoredFile:
    """Score with an exported model. Torch and polars are loaded only if the engine or a file needs them."""
    from adasparse_cli.raw.raw_files import raw_files
    from adasparse_cli.scoring.output import require_output
    from adasparse_cli.serving.artefact import open_artefact
    from adasparse_cli.serving.predict import predict_files

    artefact = open_artefact(folder)
    if verify:
        artefact.verify()
    named = raw_files(files)
    require_output(target, inputs=named, overwrite=overwrite)
    with ProgressDisplay() as progress:
        return predict_files(artefact, named, target, progress, engine=engine, keep=keep, form=kind)


class _Report(Protocol):
    """What the reports of runs and of exported models have in common."""

    @property
    def output(self) -> Path: ...
    @property
    def rows(self) -> int: ...
    @property
    def rejects(self) -> Sequence[Reject]: ...
    @property
    def unseen_domain_rows(self) -> int: ...
    @property
    def unseen(self) -> Mapping[str, float]: ...


def _show(report: _Report, form: Format, more: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Print the number of scored rows, the rejected rows and the unseen values.

    Args:
        more: further keys of the JSON document.
        tell: prints a line of text.
    """
    rejected = [
        {
            "file": reject.source,
            "line": reject.line,
            "column": reject.column,
            "value": reject.value,
            "reason": reject.reason,
        }
        for reject in report.rejects
    ]
    if form in MACHINE:
        row = {
            "predictions": str(report.output),
            "rows": report.rows,
            "rejected": len(rejected),
            "unseen_domain_rows": report.unseen_domain_rows,
        }
        show_machine([row], form, {**more, "rejects": rejected, "unseen": report.unseen})
        return
    if rejected:
        tell(f"{len(rejected):,} rows were rejected and not scored; the first:")
        for one in rejected[:SHOWN_REJECTS]:
            tell(f"  {one['file']}:{one['line']}: {one['column']} {one['value']!r} {one['reason']}")
    tell(
        f"{report.rows:,} rows scored, {report.unseen_domain_rows:,} of them in domains that are not in the training split"
    )
    if report.unseen:
        ordered = sorted(report.unseen.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} in {share:.0%} of rows" for name, share in ordered)
        tell(f"values unseen in training, far more than in the test split: {shown}")
