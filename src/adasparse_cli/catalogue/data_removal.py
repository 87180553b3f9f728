"""Removing prepared data: only a folder that this tool has made, in its place, with nothing of anybody else's in it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from adasparse_cli.catalogue.removal import SHOWN, foreign_files, require_no_link
from adasparse_cli.errors import AdasparseError, UsageError
from adasparse_cli.files import only_owner
from adasparse_cli.prep.place import owner_folder
from adasparse_cli.prep.prepared_files import open_prepared
from adasparse_cli.runs.run_folder import runs_on

# What a folder of prepared data holds beside the files that its manifest names.
_OWN = re.compile(
    r"""
    manifest\.json | findings\.json | domains\.parquet | rejects\.parquet
    | (train|valid|test|unlabelled)/part-\d+\.parquet | (vocabularies|bags)/.+\.parquet | truth/(rows|domains)\.parquet
    | (.+/)?\.verified\.json                    # which files were checked
    | (.+/)?\.[^/]+\.tmp\d*                      # an atomic write that a kill cut short
    """,
    re.VERBOSE,
)


def require_removable_data(folder: Path) -> None:
    """Refuse to remove what is not prepared data of ours.

    Raises:
        UsageError: the folder is reached through a link, or holds files that are not those of prepared data.
    """
    given = Path(os.path.abspath(folder))
    require_no_link(given)
    try:
        manifest = open_prepared(folder)
        # the raw files that the recipe wrote; those of a person are elsewhere, with an absolute path
        named = {*manifest.files, *(one.path for one in manifest.sources if not Path(one.path).is_absolute())}
    except AdasparseError:
        named = set()
    foreign = [name for name in foreign_files(given, _OWN) if name not in named or (given / name).is_symlink()]
    if foreign:
        more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
        raise UsageError(
            f"{folder} holds files that are not those of prepared data, so it is not removed: {', '.join(foreign[:SHOWN])}{more}",
            hint="move these files to another place, then type the command again",
        )


def stale_after(folder: Path, runs: Path) -> list[Path]:
    """The runs whose data are gone once these are removed; they still predict, with vocabularies of their own."""
    try:
        return runs_on(runs, open_prepared(folder))
    except AdasparseError:  # nobody can say whose data damaged ones were
        return []


def remove_data(folder: Path) -> None:
    """Remove prepared data.

    Raises:
        UsageError: they are not ours, or hold files that are not those of prepared data.
        BusyError: they are being prepared.
    """
    require_removable_data(folder)
    with only_owner(owner_folder(folder)):
        shutil.rmtree(folder)
