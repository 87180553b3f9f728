"""The folders in which data are prepared, how new data replace old ones, and recovery after a kill."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from adasparse_cli.errors import BusyError
from adasparse_cli.files import only_owner, sync_folder

MANIFEST = "manifest.json"


def owner_folder(folder: Path) -> Path:
    """The process that prepares `folder` holds a lock on this folder."""
    return folder.with_name(f".{folder.name}.owner")


def work_folder(folder: Path) -> Path:
    """The folder in which the data of `folder` are prepared."""
    return folder.with_name(f".{folder.name}.preparing")


def put_in_place(folder: Path) -> None:
    """Replace the old data by the complete new data. A process killed between the two renames leaves both; `recover` completes it."""
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    work_folder(folder).rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Clean up after a killed preparation of `folder`: complete data are moved into place, the rest is removed.

    Does nothing while a preparation is running, or if the folder is read-only.
    """
    work, old = work_folder(folder), _old(folder)
    if not work.exists() and not old.exists():
        return
    with contextlib.suppress(BusyError, OSError), only_owner(owner_folder(folder)):
        # old data are moved away only when the new ones are complete, so one of the two is complete
        complete = next((one for one in (work, old) if (one / MANIFEST).exists()), None)
        if complete is not None and not folder.exists() and old.exists():
            complete.rename(folder)
            sync_folder(folder.parent)
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def prepared_folders(root: Path) -> list[Path]:
    """The folders below `root` with complete prepared data."""
    for old in root.glob(".*.old"):
        recover(root / old.name[1:].removesuffix(".old"))
    return sorted(path.parent for path in root.glob(f"[!.]*/{MANIFEST}"))


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def rejects_of_a_failed_try(root: Path, name: str) -> Path:
    """The path of the rejected rows of a failed preparation.

    Args:
        root: folder of prepared data. name: name of the data set.
    """
    return root / f"{name}.rejects.parquet"
