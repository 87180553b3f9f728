"""Removes prepared data: only a folder that this tool has created, not through links, and without foreign files."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from adasparse_cli.catalogue.removal import foreign_files, refuse_foreign, require_no_link
from adasparse_cli.errors import AdasparseError
from adasparse_cli.files import only_owner
from adasparse_cli.prepared.files import open_prepared
from adasparse_cli.prepared.place import owner_folder
from adasparse_cli.runs.run_folder import runs_on

# Files of a folder of prepared data that its manifest does not name.
_OWN = re.compile(
    r"""
    manifest\.json | findings\.json | domains\.parquet | rejects\.parquet
    | (train|valid|test|unlabelled)/part-\d+\.parquet | (vocabularies|bags)/.+\.parquet | truth/(rows|domains)\.parquet
    | rows/(train|valid|test|unlabelled)(\.conditions)?\.i32 | rows/(train|valid|test|unlabelled)\.json | rows/\.lock
    | (.+/)?\.verified\.json                    # which files were checked
    | (.+/)?\.[^/]+\.tmp\d*                      # an atomic write that a kill cut short
    """,
    re.VERBOSE,
)


def require_removable_data(folder: Path) -> None:
    """Check that a folder can be removed as prepared data.

    Raises:
        UsageError: the path contains a link, or the folder has files that do not belong to prepared data.
    """
    given = Path(os.path.abspath(folder))
    require_no_link(given)
    try:
        manifest = open_prepared(folder)
        # raw files that the recipe wrote; user files have an absolute path elsewhere
        named = {*manifest.files, *(one.path for one in manifest.sources if not Path(one.path).is_absolute())}
    except AdasparseError:
        named = set()
    foreign = [name for name in foreign_files(given, _OWN) if name not in named or (given / name).is_symlink()]
    refuse_foreign(folder, "prepared data", foreign)


def stale_after(folder: Path, runs: Path) -> list[Path]:
    """The runs that become stale when these data are removed; they can still predict with their vocabularies."""
    try:
        return runs_on(runs, open_prepared(folder))
    except AdasparseError:  # for damaged data the fingerprint is unknown
        return []


def remove_data(folder: Path) -> None:
    """Remove prepared data.

    Raises:
        UsageError: the folder is not prepared data, or has files that do not belong to prepared data.
        BusyError: the data are being prepared.
    """
    require_removable_data(folder)
    with only_owner(owner_folder(folder)):
        shutil.rmtree(folder)
