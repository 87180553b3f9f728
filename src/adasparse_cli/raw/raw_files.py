"""Which files are meant by what a person names: files, folders of tables, patterns; and what each is called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.raw.file_kind import kind_by_name

_PATTERN = "*?["
_NO_PARTITION_VALUE = "__HIVE_DEFAULT_PARTITION__"


def raw_files(given: str | Path | Iterable[str | Path]) -> tuple[Path, ...]:
    """The files that are meant, in a stable order.

    A path that exists is taken literally, whatever characters it has. A folder stands for the tables below it, sorted
    by path; names that start with `_` or `.` are left out, as `_SUCCESS` and `_metadata` are. A path that does not
    exist and holds `*`, `?` or `[` is a pattern. Neither a folder nor `**` enters a linked folder; a link that is named, or
    matched by `*`, is followed. Any other path is returned as it is.

    Raises:
        DataError: a folder holds no table, or tables of several kinds, or another file; a pattern matches nothing.
        UsageError: a file is meant twice.
    """
    found: list[Path] = []
    for path in [Path(given)] if isinstance(given, (str, Path)) else map(Path, given):
        if path.is_dir():
            found += _tables(path)
        elif not os.path.lexists(path) and any(character in str(path) for character in _PATTERN):
            found += _matches(path)
        else:
            found.append(path)
    seen: set[str] = set()
    for path in found:
        if (place := _real(path)) in seen:
            raise UsageError(f"{path} is named twice", hint="its rows would count twice; name each file once")
        seen.add(place)
    return tuple(found)


def source_names(paths: Sequence[Path]) -> list[str]:
    """What each file is called in reports: its name if no other file of the call has it.

    Otherwise the shortest end of its path that no other file of the same name has, such as `day=1/part-0.csv`. All files
    of one name show the same number of folders.
    """
    names = [path.name for path in paths]
    for name in {name for name in names if names.count(name) > 1}:
        own = [k for k, path in enumerate(paths) if path.name == name]
        parts = [paths[k].absolute().parts for k in own]
        depth = next(
            (d for d in range(2, max(map(len, parts)) + 1) if len({one[-d:] for one in parts}) == len(own)),
            max(map(len, parts)),
        )
        for k, one in zip(own, parts, strict=True):
            names[k] = "/".join(one[-depth:])
    return names


def partition_values(path: Path) -> dict[str, str | None]:
    """Columns that a file has by the folders directly above it that are named `column=value`, as Hive and Spark write."""
    values: dict[str, str | None] = {}
    for folder in path.resolve().parents:
        column, equals, value = folder.name.partition("=")
        if not equals or not column:
            break
        values[unquote(column)] = None if value == _NO_PARTITION_VALUE else unquote(value)
    return dict(reversed(values.items()))


def _tables(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        found += [Path(root) / name for name in files if not name.startswith(("_", "."))]
    found.sort(key=lambda path: path.relative_to(folder).parts)
    if not found:
        raise DataError(
            f"{folder} holds no table", hint="raw=FOLDER reads the Parquet, CSV, TSV or NDJSON files below it"
        )
    kinds: dict[str, Path] = {}
    for path in found:
        kind = kind_by_name(path)
        if kind is None:
            raise DataError(
                f"{path} is not known to be a table",
                hint=f"move it away, or name the tables by a pattern: raw='{folder}/**/*.csv'",
            )
        kinds.setdefault(kind, path)
    if len(kinds) > 1:
        several = " and ".join(f"{kind} ({path})" for kind, path in kinds.items())
        raise DataError(
            f"{folder} holds tables of several kinds: {several}",
            hint=f"name those of one kind by a pattern: raw='{folder}/**/*{found[0].suffix}'",
        )
    return found


def _matches(pattern: Path) -> list[Path]:
    # a file such as _SUCCESS is meant only by a pattern that says so
    hidden = pattern.name.startswith("_")
    paths = sorted(
        (path for path in _globbed(pattern) if hidden or not path.name.startswith("_")), key=lambda path: path.parts
    )
    found = [own for path in paths for own in (_tables(path) if path.is_dir() else [path])]
    if pattern.parts[-1] == "**" or len({_real(path) for path in found}) < len(found):
        found = list({_real(path): path for path in found}.values())
    if not found:
        raise DataError(f"no file matches {pattern}", hint="check the pattern, or name the files")
    return found


def _globbed(pattern: Path) -> Iterator[Path]:
    """What matches a pattern; `**` enters no linked folder, which may lead out of the folder or into itself."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.glob(str(pattern)))
        return
    at = pattern.parts.index("**")
    rest = pattern.parts[at + 1 :]
    for start in map(str, _globbed(Path(*pattern.parts[:at]))):
        for root, folders, _ in os.walk(start, followlinks=False):
            folders[:] = [name for name in folders if rest and not name.startswith(".")]
            yield from _globbed(Path(glob.escape(root), *rest)) if rest else [Path(root)]


def _real(path: Path) -> str:
    """Where a path leads; unlike `Path.resolve`, links that lead in a circle are no error here, but when they are opened."""
    return os.path.realpath(path)
