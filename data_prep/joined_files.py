"""Which files of a folder are a data set's: by their names, which may hold values such as a country."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adasparse_cli.choices import nearest_names
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.raw.packing import EXPANSION

_PACKED = "|".join(re.escape(suffix) for suffix in EXPANSION)
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".gz", ".bz2", ".xz")


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of files that belong together, such as `{country}_item_{part}.csv`: `*` is any text, `{column}` a value.

    A file may be packed: `ratings.dat` also means `ratings.dat.gz`, and `nl_item_train.csv` also `nl_item_train.zip`. Names that
    a pattern with `!` in front describes are those of other files.
    """

    patterns: Sequence[str]

    @property
    def wanted(self) -> list[str]:
        """The patterns of files that are read."""
        return [pattern for pattern in self.patterns if not pattern.startswith("!")]

    @property
    def columns(self) -> list[str]:
        """The columns that the names give."""
        return list(dict.fromkeys(name for pattern in self.wanted for name in re.findall(r"\{(\w+)\}", pattern)))

    def values(self, path: Path) -> dict[str, str] | None:
        """The values that a file's name gives; None where it is none of these files."""
        others = [pattern[1:] for pattern in self.patterns if pattern.startswith("!")]
        if any(_expression(pattern).fullmatch(path.name) for pattern in others):
            return None
        for pattern in self.wanted:
            if match := _expression(pattern).fullmatch(path.name):
                return match.groupdict()
        return None


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*|\{\w+\})", pattern)
    known = {"*": ".*"}
    text = "".join(known.get(one) or (f"(?P<{one[1:-1]}>.+?)" if one[:1] == "{" else re.escape(one)) for one in parts)
    whole, packed = text.removesuffix(r"\.csv"), rf"(?:{_PACKED})"
    # archives of one CSV file often have its name, but for the suffix
    return re.compile(rf"{text}{packed}?" if whole == text else rf"{whole}(?:\.csv{packed}?|{packed})")


def _bare(name: str) -> str:
    """A file's name without what says how it is packed."""
    for suffix in EXPANSION:
        name = name.removesuffix(suffix)
    return name.removesuffix(".csv")


def found_files(name: str, kinds: Mapping[str, Names], given: Sequence[str | Path]) -> tuple[Path, ...]:
    """The files that are meant, in the order of `kinds`, those of one kind by their path.

    Args:
        name: of the data set, for messages. kinds: names of the files, by what they are; of each, all are needed.
        given: files, or folders that are searched with what is below them. Of kinds but the first, whose files are those of
            the log, files in the same folders are taken where none is given.

    Raises:
        DataError: a file is missing, is there twice, or is none of the data set's.
        UsageError: a file is named twice.
    """
    found: dict[str, list[Path]] = {kind: [] for kind in kinds}
    wanted = ", ".join(pattern for names in kinds.values() for pattern in names.wanted)
    for path in map(Path, given):
        within = _below(path) if path.is_dir() else [path]
        own = {kind: [one for one in within if names.values(one) is not None] for kind, names in kinds.items()}
        if path.is_dir():
            for kind, names in kinds.items():
                _require_all(name, path, kind, names, own[kind], within)
        elif not any(own.values()):
            if not path.exists():
                raise DataError(f"{path} is not there", hint="raw=PATH names the raw files, relative to this folder")
            raise DataError(f"{path} is not a file of {name}, by its name", hint=_hint(path, wanted))
        for kind, paths in own.items():
            found[kind] += paths
    lone = [path for path in map(Path, given) if not path.is_dir()]
    for kind, names in list(kinds.items())[1:]:
        found[kind] = found[kind] or _beside(names, lone, kinds)
    files = [path for paths in found.values() for path in paths]
    for path in files:
        if files.count(path) > 1:
            raise UsageError(f"{path} is named twice", hint="its rows would count twice; name each file once")
    return tuple(files)


def _beside(names: Names, files: Sequence[Path], kinds: Mapping[str, Names]) -> list[Path]:
    """Files of one kind in the folders of other files, such as users.dat of ratings.dat, of the same country as these."""
    found: dict[Path, None] = {}
    for path in files:
        values = next(known for one in kinds.values() if (known := one.values(path)) is not None)
        for other in sorted(path.parent.iterdir()) if path.parent.is_dir() else []:
            own = names.values(other)
            if own is not None and all(values.get(column, value) == value for column, value in own.items()):
                found[other] = None
    return list(found)


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, files in os.walk(folder, followlinks=False):
        # what macOS adds to an archive has the names of the files themselves
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(root) / name for name in files if not name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _require_all(
    name: str, folder: Path, kind: str, names: Names, found: Sequence[Path], within: Sequence[Path]
) -> None:
    for pattern in names.wanted:
        own = [path for path in found if _expression(pattern).fullmatch(path.name)]
        if not own:
            beside = [path.name for path in within]
            shown = nearest_names(pattern, beside) if beside else "nothing"
            packed = next((path for path in within if path.suffix in _ARCHIVES), None)
            raise DataError(
                f"{folder} lacks {pattern} ({kind}), a file of {name}",
                hint=_hint(packed, pattern) if packed else f"it has {shown}; get the file, or correct its name",
            )
        bare = [_bare(path.name) for path in own]
        if twice := [path for path in own if bare.count(_bare(path.name)) > 1]:
            same = [path for path in own if _bare(path.name) == _bare(twice[0].name)]
            raise DataError(
                f"{folder} has {pattern} twice: {same[0]} and {same[1]}",
                hint="its rows would count twice; name the folder of one of them, or move one away",
            )


def _hint(path: Path, wanted: str) -> str:
    if path.suffix in (".zip", ".tar", ".tgz", ".7z", ".rar") or path.name.endswith((".tar.gz", ".tar.bz2")):
        command = f"unzip {path.name}" if path.suffix == ".zip" else f"tar -xf {path.name}"
        return f"unpack it ({command}) and name the folder; its files are {wanted}"
    return f"its files are {wanted}; name the folder that holds them"
