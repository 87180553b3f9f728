"""A person's own folder of settings, beside the packaged ones: `data/`, `model/`, `loop/`, `experiment/`, `search/` with YAML files.

The command line sets it for its whole process (`--config-dir`). Where both have a file of one name, the packaged one counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from adasparse_cli.errors import UsageError

GROUPS = ("data", "network", "model", "loop", "tracking", "experiment", "search")
_folder: Path | None = None


def private_folder() -> Path | None:
    """The folder that is in force."""
    return _folder


@contextlib.contextmanager
def with_private_folder(folder: Path | None) -> Iterator[None]:
    """Read settings from a folder as well.

    Raises:
        UsageError: there is no such folder, or it has none of the groups.
    """
    global _folder
    if folder is not None and not any((folder / group).is_dir() for group in GROUPS):
        what = "has none of the folders" if folder.is_dir() else "is no folder with"
        raise UsageError(
            f"--config-dir {folder} {what} {', '.join(GROUPS)}", hint="such as my_settings/experiment/mine.yaml"
        )
    before, _folder = _folder, None if folder is None else folder.resolve()
    try:
        yield
    finally:
        _folder = before
