"""Resolves the paths that a user names (files, folders of tables, patterns) and gives each file a name."""

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

    - An existing path is taken literally, whatever characters it has.
    - A folder means the tables below it, sorted by path. Names that start with `_` or `.` are skipped, for example
      `_SUCCESS` and `_metadata`.
    - A path that does not exist and contains `*`, `?` or `[` is a pattern.
    - Any other path is returned unchanged.

    Neither a folder nor `**` follows links to folders. A link that is named, or matched by `*`, is followed.

    Raises:
        DataError: a folder has no table, tables of several kinds, or another file; a pattern matches nothing.
        UsageError: a file is named twice.
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
    """The name of each file in reports: its file name, if no other file of the call has it.

    Otherwise it is the shortest end of its path that is unique among files with this name, for example `day=1/part-0.csv`.
    All files with the same name show the same number of folders.
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
    """The columns from the folders directly above a file that are named `column=value`, as Hive and Spark write them."""
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
            f"{folder} contains no table", hint="raw=FOLDER reads the Parquet, CSV, TSV or NDJSON files below it"
        )
    kinds: dict[str, Path] = {}
    for path in found:
        kind = kind_by_name(path)
        if kind is None:
            raise DataError(
                f"{path} is not known to be a table",
                hint=f"move it away, or select the tables with a pattern: raw='{folder}/**/*.csv'",
            )
        kinds.setdefault(kind, path)
    if len(kinds) > 1:
        several = " and ".join(f"{kind} ({path})" for kind, path in kinds.items())
        raise DataError(
            f"{folder} holds tables of several kinds: {several}",
            hint=f"select one kind with a pattern: raw='{folder}/**/*{found[0].suffix}'",
        )
    return found


def _matches(pattern: Path) -> list[Path]:
    # files like _SUCCESS are included only if the pattern starts with the same character
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
    """The files matching a pattern. `**` follows no links, which may lead out of the folder or into itself."""
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
    """The target of a path. Unlike `Path.resolve`, a cycle of links is no error here; opening the file reports it."""
    return os.path.realpath(path)
