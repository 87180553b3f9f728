"""Removes a run: only a folder that this tool has created, not through links, and without foreign files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from adasparse_cli.errors import UsageError
from adasparse_cli.files import only_owner
from adasparse_cli.runs.chosen import STUDY_COMMANDS, studies_of, trained_by

RUN_NAME = re.compile(r"\d{8}T\d{6}Z-s\d+(-\d+)?")
# Files of a run's folder, by relative path. A file that is not listed here is never removed.
_OWN = re.compile(
    r"""
    \.lock | DONE | FAILED | config\.yaml | environment\.json | metrics\.jsonl | report\.json | domains\.csv | tracker\.json
    | predictions\.parquet | train\.log | report\.html
    | checkpoints/(last|best)/(checkpoint\.json|[\w.-]+\.safetensors)
    | encoder/(manifest\.json|domains\.parquet|(vocabularies|bags)/.+\.parquet)
    | findings/[\w.-]+/(finding\.json|[\w.-]+\.csv)
    | tensorboard/events\.out\.tfevents\..+
    | (.+/)?\.verified\.json                    # which files were checked
    | (.+/)?\.[^/]+\.tmp\d*                      # an atomic write that a kill cut short
    """,
    re.VERBOSE,
)
SHOWN = 5


def require_removable(folder: Path, root: Path) -> None:
    """Check that a folder can be removed as a run.

    Raises:
        UsageError: the folder is elsewhere, its path contains a link, or it has files that do not belong to a run.
    """
    given = Path(os.path.abspath(folder))
    place = Path(os.path.abspath(root))
    parts = given.relative_to(place).parts if given.is_relative_to(place) else ()
    if len(parts) != 3 or not RUN_NAME.fullmatch(parts[2]):
        raise UsageError(
            f"{folder} is not a run folder of {root}, so it is not removed",
            hint=f"runs are {root}/DATA/MODEL/STAMP-sSEED; --runs names another folder of runs",
        )
    require_no_link(given, given.parent, given.parent.parent)
    refuse_foreign(folder, "a run", foreign_files(given, _OWN))


def warnings_of(folder: Path, studies: Path) -> list[str]:
    """Warnings about what depends on the run, one line each."""
    used = [f"the study arm {name} uses this run" for name in studies_of(folder, studies)]
    made = next((one for one in trained_by(folder) if one in STUDY_COMMANDS), None)
    return used or ([f"adasparse {made} trained this run, and finds it again"] if made else [])


def remove_run(folder: Path, root: Path) -> None:
    """Remove a run.

    Raises:
        UsageError: the folder is not a run, or has files that do not belong to a run.
        BusyError: it is being trained.
    """
    require_removable(folder, root)
    with only_owner(folder):
        shutil.rmtree(folder)


def require_no_link(*places: Path) -> None:
    """Check that no path contains a link.

    Raises:
        UsageError: one of the paths is a symbolic link.
    """
    link = next((one for one in places if one.is_symlink()), None)
    if link is not None:
        raise UsageError(
            f"{link} is a symbolic link to {os.readlink(link)}, so nothing is removed", hint="remove the link yourself"
        )


def foreign_files(folder: Path, own_names: re.Pattern[str]) -> list[str]:
    """The files and links below a folder whose relative paths do not match `own_names`."""
    found = []
    for path, folders, files in os.walk(folder):
        here = Path(path)
        links = [name for name in folders if (here / name).is_symlink()]
        for name in [*files, *links]:
            own = (here / name).relative_to(folder).as_posix()
            if not own_names.fullmatch(own) or not (here / name).is_file() or (here / name).is_symlink():
                found.append(own)
    return sorted(found)


def refuse_foreign(folder: Path, kind: str, foreign: Sequence[str]) -> None:
    """Refuse to remove a folder with files of others.

    Args:
        kind: what the folder holds besides, such as `a run`. foreign: the files of others; none refuses nothing.

    Raises:
        UsageError: there are such files.
    """
    if not foreign:
        return
    more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
    raise UsageError(
        f"{folder} holds files that do not belong to {kind}, so it is not removed: {', '.join(foreign[:SHOWN])}{more}",
        hint="move these files elsewhere, then rerun the command",
    )
