"""Reads files of raw values as columns, without polars: separated text and NDJSON, plain or compressed."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adasparse_cli.errors import DataError
from adasparse_cli.raw.file_kind import TableKind, table_kind, table_suffix
from adasparse_cli.raw.lines import Block, TextFile
from adasparse_cli.raw.rejected import OPEN_QUOTE, Reject
from adasparse_cli.raw.unique_keys import RepeatedKeyError, repeated, unique_keys

BLOCK_BYTES = 8 << 20
_SEPARATORS = (",", "\t", ";", "|")


@dataclass(frozen=True)
class RawBlock:
    """Some rows of a file.

    Args:
        source: name of the file. lines: first line of each row. columns: raw values by field.
        kept: values of additional columns, which are copied to the output.
    """

    source: str
    lines: Sequence[int]
    columns: Mapping[str, Sequence[Any]]
    kept: Mapping[str, Sequence[Any]] = field(default_factory=dict)


class PlainFile:
    """A file whose columns are the input fields.

    Args:
        inputs: names of the fields; other columns are ignored.
        separator: of text; None to infer it from the header.
        rejects: rejected rows are added here.
    """

    def __init__(
        self, path: Path, name: str, inputs: Sequence[str], separator: str | None, rejects: list[Reject]
    ) -> None:
        self.path, self.name, self.inputs = path, name, tuple(inputs)
        self.kind = table_kind(path)
        self._rejects = rejects
        self.separator = self._separator_of(separator) if self.kind is TableKind.text else None

    def columns(self) -> list[str] | None:
        """The columns, for NDJSON the keys of the first row; None if the file cannot be read without polars.

        Raises:
            DataError: the header has the column of an input twice.
        """
        if self.kind is TableKind.text:
            columns = self._opened([]).columns
            require_unique(self.path, columns, self.inputs)
            return columns
        if self.kind is TableKind.ndjson:
            for block in self._opened([]).blocks(1 << 16):
                for text in block.texts():
                    found = json_object(text)
                    return list(found) if isinstance(found, dict) else []
            return []
        return None

    def blocks(self) -> Iterator[RawBlock]:
        """The rows, in order."""
        file = self._opened(self._rejects)
        for block in file.blocks(BLOCK_BYTES):
            found = self._text_rows(file, block) if self.kind is TableKind.text else self._objects(file, block)
            if len(found.lines):
                yield found

    def _opened(self, rejects: list[Reject]) -> TextFile:
        separator = None if self.separator is None else self.separator.encode()
        return TextFile(self.path, separator, rejects, quoted=separator is not None, name=self.name)

    def _separator_of(self, given: str | None) -> str:
        if given is not None or table_suffix(self.path) in (".tsv", ".tab"):
            return given or "\t"
        header = TextFile(self.path, b",", []).header.decode("utf-8", "replace")
        return max(_SEPARATORS, key=header.count)

    def _text_rows(self, file: TextFile, block: Block) -> RawBlock:
        separator = self.separator
        assert separator is not None
        names = file.columns
        if b'"' not in block.data:
            rows = [text.split(separator) for text in block.texts()]
            lines = block.numbers.tolist()
        else:
            rows, lines = [], []
            for line, text in zip(block.numbers.tolist(), block.texts(), strict=True):
                try:
                    row = next(csv.reader([text], delimiter=separator, strict=True))
                except csv.Error as error:
                    file.reject(
                        line,
                        "",
                        text,
                        OPEN_QUOTE if "unexpected end" in str(error) else "has a quote that closes too early",
                    )
                    continue
                if len(row) != len(names):
                    file.reject(line, "", text, f"has {len(row)} columns where the header has {len(names)}")
                    continue
                rows.append(row)
                lines.append(line)
        whole = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        return RawBlock(self.name, lines, {name: whole[names.index(name)] for name in self.inputs})

    def _objects(self, file: TextFile, block: Block) -> RawBlock:
        kept: list[tuple[Any, ...]] = []
        lines = []
        for line, text in zip(block.numbers.tolist(), block.texts(), strict=True):
            found = json_object(text)
            if not isinstance(found, dict):
                file.reject(line, "", text, "is not a JSON object" if found is None else found)
                continue
            lacking = next((name for name in self.inputs if name not in found), None)
            if lacking is not None:
                file.reject(line, lacking, "", "is missing; null is a missing value")
                continue
            kept.append(tuple(found[name] for name in self.inputs))
            lines.append(line)
        whole = zip(*kept, strict=True) if kept else [()] * len(self.inputs)
        return RawBlock(self.name, lines, dict(zip(self.inputs, whole, strict=True)))


def require_unique(path: Path, columns: Sequence[str], names: Collection[str]) -> None:
    """Check that a header has each of some columns at most once.

    Raises:
        DataError: one is repeated.
    """
    name = repeated([column for column in columns if column in names])
    if name is not None:
        raise DataError(f"{path}: the column {name} appears twice", hint="give each column a unique name")


def json_object(text: str) -> dict[str, Any] | str | None:
    """The object in a line, or None or a reason if there is none."""
    try:
        found = json.loads(text, object_pairs_hook=unique_keys)
    except RepeatedKeyError as error:
        return f"has the key {error.key!r} twice"
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
