"""Where a command may write a file that a person names: never over what it reads, and over nothing unless asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from adasparse_cli.errors import UsageError
from adasparse_cli.runs.chosen import STUDY
from adasparse_cli.runs.saved_run import CONFIG
from adasparse_cli.serving.artefact import INDEX

# What marks a folder of ours, whose files are read back.
_OURS = {
    (CONFIG, "environment.json"): "a run",
    ("manifest.json", "domains.parquet"): "prepared data",
    (STUDY,): "a study",
    (INDEX,): "an exported model",
}
_ENDINGS = re.compile(r"(\.(csv|tsv|txt|parquet|json|jsonl|ndjson))?(\.(gz|zip|zst|bz2|xz))?", re.IGNORECASE)


def predictions_name(source: Path, ending: str = "csv") -> Path:
    """Where the scores of a file go unless a person says otherwise: its name without its format, so that no two files share one."""
    name = source.resolve().name if source.name in ("", "..") else source.name
    end = next(end for start in range(len(name) + 1) if (end := _ENDINGS.fullmatch(name, start)))
    return Path(f"{name[: end.start()] or name}.predictions.{ending}")


def require_output(path: Path, *, inputs: Sequence[Path] = (), overwrite: bool = False, own: str | None = None) -> None:
    """Refuse to write where something would be lost.

    Args:
        inputs: files that the command reads.
        overwrite: whether a file that exists may be replaced.
        own: the name of a file that may be written into a folder of ours.

    Raises:
        UsageError: the file is one of the inputs, belongs to a run, a study or prepared data, or exists.
    """
    for source in inputs:
        if path.resolve() == source.resolve() or (path.exists() and source.exists() and path.samefile(source)):
            raise UsageError(
                f"the output {path} is the input {source}, which would be lost", hint="choose another name: -o FILE"
            )
    for folder in path.resolve().parents:
        marks = (what for names, what in _OURS.items() if all((folder / name).is_file() for name in names))
        owner = next(marks, None)
        if owner is not None and path.name != own:
            raise UsageError(
                f"{path} is in a folder of {owner}: {folder}", hint="choose a place outside of it: -o FILE"
            )
    if (path.exists() or path.is_symlink()) and not path.is_dir() and not overwrite:
        raise UsageError(f"{path} exists", hint="choose another name with -o FILE, or replace it with --overwrite")
