"""Where prepared data are made, how they take the place of older ones, and what a killed process leaves of that."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from adasparse_cli.errors import BusyError
from adasparse_cli.files import only_owner, sync_folder

MANIFEST = "manifest.json"


def owner_folder(folder: Path) -> Path:
    """Whoever prepares `folder` holds this one."""
    return folder.with_name(f".{folder.name}.owner")


def work_folder(folder: Path) -> Path:
    """Where the data of `folder` are made."""
    return folder.with_name(f".{folder.name}.preparing")


def put_in_place(folder: Path) -> None:
    """Swap the complete new data in. A process killed between the two renames leaves both; `recover` ends the swap."""
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    work_folder(folder).rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover(folder: Path) -> None:
    """Settle what a killed preparation left beside `folder`: complete data are put in place, the rest is removed.

    Where a preparation is under way, or nothing may be written, all stays as it is.
    """
    work, old = work_folder(folder), _old(folder)
    if not work.exists() and not old.exists():
        return
    with contextlib.suppress(BusyError, OSError), only_owner(owner_folder(folder)):
        # old data are moved away only when the new ones are complete, so one of the two is
        complete = next((one for one in (work, old) if (one / MANIFEST).exists()), None)
        if complete is not None and not folder.exists() and old.exists():
            complete.rename(folder)
            sync_folder(folder.parent)
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def prepared_folders(root: Path) -> list[Path]:
    """The folders below `root` that hold complete prepared data."""
    for old in root.glob(".*.old"):
        recover(root / old.name[1:].removesuffix(".old"))
    return sorted(path.parent for path in root.glob(f"[!.]*/{MANIFEST}"))


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
