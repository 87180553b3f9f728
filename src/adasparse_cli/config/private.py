"""The user's settings folder, in addition to the packaged settings: YAML files in `data/`, `model/`, `loop/`, `experiment/`, `search/`.

The command line sets it for the process (`--config-dir`). If both have a file with the same name, the packaged one is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from adasparse_cli.errors import UsageError

GROUPS = ("data", "network", "model", "loop", "tracking", "launcher", "experiment", "search")
_folder: Path | None = None


def private_folder() -> Path | None:
    """The current folder."""
    return _folder


@contextlib.contextmanager
def with_private_folder(folder: Path | None) -> Iterator[None]:
    """Also read settings from a folder.

    Raises:
        UsageError: the folder does not exist, or has none of the groups.
    """
    global _folder
    if folder is not None and not any((folder / group).is_dir() for group in GROUPS):
        what = "has none of the folders" if folder.is_dir() else "is not a folder with"
        raise UsageError(
            f"--config-dir {folder} {what} {', '.join(GROUPS)}", hint="for example my_settings/experiment/mine.yaml"
        )
    before, _folder = _folder, None if folder is None else folder.resolve()
    try:
        yield
    finally:
        _folder = before
