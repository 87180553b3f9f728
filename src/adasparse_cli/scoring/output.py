"""Checks of output paths: never overwrite inputs or files of runs, and overwrite other files only with `--overwrite`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from adasparse_cli.errors import UsageError
from adasparse_cli.runs.chosen import STUDY
from adasparse_cli.runs.saved_run import CONFIG
from adasparse_cli.serving.artefact import INDEX

# Files that identify the folders of adasparse, whose files must not be overwritten.
_OURS = {
    (CONFIG, "environment.json"): "a run",
    ("manifest.json", "domains.parquet"): "prepared data",
    (STUDY,): "a study",
    (INDEX,): "an exported model",
}
_ENDINGS = re.compile(r"(\.(csv|tsv|txt|parquet|json|jsonl|ndjson))?(\.(gz|zip|zst|bz2|xz))?", re.IGNORECASE)


def predictions_name(source: Path, ending: str = "csv") -> Path:
    """The default output for the scores of a file: `NAME.predictions.ENDING`, without the format of the input."""
    name = source.resolve().name if source.name in ("", "..") else source.name
    end = next(end for start in range(len(name) + 1) if (end := _ENDINGS.fullmatch(name, start)))
    return Path(f"{name[: end.start()] or name}.predictions.{ending}")


def require_output(path: Path, *, inputs: Sequence[Path] = (), overwrite: bool = False, own: str | None = None) -> None:
    """Refuse an output path that would destroy data.

    Args:
        inputs: files that the command reads.
        overwrite: whether an existing file may be replaced.
        own: name of a file that the command may write into the folder of a run or study.

    Raises:
        UsageError: the file is one of the inputs, belongs to a run, a study or prepared data, or exists.
    """
    for source in inputs:
        if path.resolve() == source.resolve() or (path.exists() and source.exists() and path.samefile(source)):
            raise UsageError(f"the output {path} is also the input {source}", hint="choose another output: -o FILE")
    for folder in path.resolve().parents:
        marks = (what for names, what in _OURS.items() if all((folder / name).is_file() for name in names))
        owner = next(marks, None)
        if owner is not None and path.name != own:
            raise UsageError(
                f"{path} is inside the folder of {owner}: {folder}", hint="choose a path outside of it: -o FILE"
            )
    if (path.exists() or path.is_symlink()) and not path.is_dir() and not overwrite:
        raise UsageError(f"{path} exists", hint="choose another name with -o FILE, or replace it with --overwrite")
