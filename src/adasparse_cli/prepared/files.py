"""The files of prepared data: manifest, checksums, and whether they match a request. Nothing here reads a table."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adasparse_cli.choices import Split
from adasparse_cli.errors import DataError, IntegrityError
from adasparse_cli.files import SealedFolder, read_sealed, sha256_of, sync_folder, write_atomically
from adasparse_cli.prepared.earlier_data import settings_as_today
from adasparse_cli.prepared.place import MANIFEST
from adasparse_cli.schema import FORMAT_VERSION, UNSEALED_VERSION, Manifest, Source
from adasparse_cli.typed import require_types

DOMAINS = "domains.parquet"


def open_prepared(folder: Path) -> Manifest:
    """The manifest of prepared data.

    Raises:
        IntegrityError: it is absent, damaged, or of another format version.
    """
    path = folder / MANIFEST
    with contextlib.suppress(OSError):
        found = path.stat()
        return _opened(folder, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return _opened(folder, None)


@functools.lru_cache(maxsize=64)
def _opened(folder: Path, unchanged: tuple[int, ...] | None) -> Manifest:
    """The manifest, cached until its file changes, because the plan of a study opens it for every arm."""
    path = folder / MANIFEST
    try:
        values = read_sealed(path, "format_version", unsealed=UNSEALED_VERSION)
    except IntegrityError as error:
        raise IntegrityError(
            error.message, hint=f"restore it from a copy, or remove {folder} and prepare the data again"
        ) from None
    version = values.get("format_version")
    if version not in (FORMAT_VERSION, UNSEALED_VERSION):
        raise IntegrityError(
            f"{folder} has data format {version}; this version reads {FORMAT_VERSION}",
            hint="prepare the data again with adasparse prep",
        )
    require_types(values, Manifest, path, hint="prepare the data again")
    try:
        return Manifest.from_json(values)
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder}/manifest.json is damaged: {error}", hint="prepare the data again") from None


def verify(folder: Path, manifest: Manifest, *, afresh: bool = False) -> int:
    """Check the bytes of every file, including raw files that the recipe wrote.

    Args:
        afresh: also read large files that were checked before and have not changed since, see `SealedFolder.paths`.

    Returns:
        The number of files, including `manifest.json`.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    # a source with a relative path was written by the recipe; it may be removed, because it is not read again
    written = [one for one in manifest.sources if not Path(one.path).is_absolute()]
    raw = {one.path: one.sha256 for one in written if (folder / one.path).exists()}
    known = sealed_files(folder, manifest, {**manifest.files, **raw})
    known.paths(list(known.files), afresh=afresh)
    return len(known.files) + 1


def data_file(folder: Path, manifest: Manifest, name: str) -> Path:
    """The path of a file of prepared data, after a check of its bytes.

    Raises:
        IntegrityError: it is missing, differs, or does not belong to the data.
    """
    return sealed_files(folder, manifest, manifest.files).path(name)


def truth_file(folder: Path, manifest: Manifest, name: str) -> Path | None:
    """A file in `truth/`, for example `rows.parquet`, checked as `data_file` does; None if the data are not synthetic."""
    name = f"truth/{name}"
    return data_file(folder, manifest, name) if name in manifest.files else None


def encoder_files(manifest: Manifest) -> list[str]:
    """The files that map raw values to ids, by their path in the data's folder: vocabularies, bags, domains."""
    return [name for name in manifest.files if name == DOMAINS or name.startswith(("vocabularies/", "bags/"))]


def copy_encoder(folder: Path, manifest: Manifest, target: Path) -> None:
    """Copy to `target` the files needed to encode new rows as these data were encoded, so that a run does not depend on its data.

    Files are hard-linked if the file system allows, so that a hundred runs do not take a hundred times the space. Prepared
    files are never changed in place. `target/manifest.json` is written last.
    """
    for name in [*encoder_files(manifest), MANIFEST]:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            path.hardlink_to(folder / name)
        except OSError:  # another file system, or one without links
            write_atomically(path, functools.partial(shutil.copyfile, folder / name))
    sync_folder(target)


def as_today(manifest: Manifest) -> dict[str, Any]:
    """The settings of the data, completed with settings that were added later."""
    return settings_as_today(manifest.settings)


def is_current(manifest: Manifest, values: Mapping[str, Any], raw: Sequence[Path]) -> bool:
    """Whether the data were prepared with these settings from these files in their current state.

    If no files are named (`raw` is empty), files are not compared.
    """
    if as_today(manifest) != dict(values):
        return False
    if raw and [str(path.resolve()) for path in raw] != [source.path for source in manifest.sources]:
        return False
    return not changed_sources(manifest, raw)


def changed_sources(manifest: Manifest, raw: Sequence[Path]) -> list[Path]:
    """The files that differ from their state when the data were prepared from them.

    A file with the same size and modification time counts as unchanged; otherwise its bytes are compared. A missing file
    counts as unchanged, because prepared data do not need their raw files.
    """
    known = {source.path: source for source in manifest.sources}
    return [path for path in raw if (source := known.get(str(path.resolve()))) and _has_changed(path, source)]


def _has_changed(path: Path, source: Source) -> bool:
    if not path.exists():
        return False
    status = path.stat()
    if (status.st_size, status.st_mtime_ns) == (source.bytes, source.modified_ns):
        return False
    return status.st_size != source.bytes or sha256_of(path) != source.sha256


def require_learnable(manifest: Manifest) -> None:
    """Check that the train split has both classes.

    Raises:
        DataError: it has only one.
    """
    counts = manifest.splits[Split.train]
    if not counts.rows or not counts.positives or counts.positives == counts.rows:
        raise DataError(
            f"the train split of {manifest.name} has {counts.positives or 0} positives in {counts.rows} rows",
            hint="training needs both classes; use more data or another data.split",
        )


def sealed_files(folder: Path, manifest: Manifest, files: Mapping[str, str]) -> SealedFolder:
    return SealedFolder(
        folder=folder,
        files=files,
        changed="differs from what was written",
        hint=f"restore it from a copy, or remove {folder} and prepare the data again: adasparse prep data={manifest.name}",
    )
