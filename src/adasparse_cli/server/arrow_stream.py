"""Reads a stream of Arrow record batches as columns of Python values, without polars or pyarrow.

The bytes come from a client that is not trusted: every length and offset is checked before use, nothing is larger than the
body, and compressed bodies are refused, since a few bytes of them can ask for any amount of memory.

Source: the Arrow columnar format, version 1.5, "IPC Streaming Format".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from adasparse_cli.server.arrow_schema import Column, StreamError, columns_of, parts_of
from adasparse_cli.server.flatbuffers import DamagedError, Table

CONTINUATION = b"\xff\xff\xff\xff"
# Numbers of a message's content.
SCHEMA, DICTIONARY, BATCH = 1, 2, 3
# Number of buffers of each type; views have further ones.
_BUFFERS = {"Null": 0, "RunEndEncoded": 0, "Struct": 1, "FixedSizeList": 1, "Union": 1} | dict.fromkeys(
    ("Binary", "Utf8", "LargeBinary", "LargeUtf8", "ListView", "LargeListView"), 3
)
_VIEWS = ("BinaryView", "Utf8View")
# Bytes of a view, and of the text that it holds itself.
_VIEW, _SHORT = 16, 12


@dataclass
class ArrowReader:
    """Reads one stream.

    Args:
        inputs: names of the columns to read; others are skipped. most_rows: largest number of rows.
    """

    inputs: Sequence[str]
    most_rows: int
    _columns: tuple[Column, ...] | None = None
    _dictionaries: dict[int, list[Any]] = field(default_factory=dict)
    _budget: int = 0

    def columns(self, body: bytes) -> dict[str, list[Any]]:
        """The values of each input column; None is a missing value.

        Raises:
            StreamError: the bytes are not such a stream, a column is missing or has a type that no field has, or there are too many rows.
        """
        self._budget = len(body) + self.most_rows
        found: dict[str, list[Any]] = {name: [] for name in self.inputs}
        rows = 0
        try:
            for kind, header, content in _messages(body):
                if kind == SCHEMA and self._columns is None:
                    self._columns = columns_of(header.data, tuple(self.inputs))
                elif kind == BATCH and self._columns is not None:
                    rows += header.number(0, "q")
                    if rows > self.most_rows:
                        raise StreamError(
                            f"{rows:,} rows in one request, at most {self.most_rows:,} are scored at a time"
                        )
                    for name, values in self._batch(self._columns, header, content).items():
                        found[name] += values
                elif kind == DICTIONARY and self._columns is not None:
                    self._dictionary(self._columns, header, content)
                else:
                    raise DamagedError("the messages are not a schema, dictionaries and record batches")
        except (DamagedError, OverflowError, RecursionError) as error:
            raise StreamError(f"the body is not a stream of Arrow record batches: {error}") from None
        if self._columns is None:
            raise StreamError("the body is not a stream of Arrow record batches: it has no schema")
        return found

    def _batch(self, columns: Sequence[Column], header: Table, content: memoryview) -> dict[str, list[Any]]:
        length = header.number(0, "q")
        if length < 0:
            raise DamagedError("a batch has a negative number of rows")
        parts = _Parts(header, content)
        found = {}
        for column in columns:
            if column.name in self.inputs:
                found[column.name] = self._values(column, parts, length)
            else:
                _skip(column, parts)
        return found

    def _dictionary(self, columns: Sequence[Column], header: Table, content: memoryview) -> None:
        number, data = header.number(0, "q"), header.table(1)
        if data is None:
            raise DamagedError("a dictionary has no values")
        needed = (part for column in columns if column.name in self.inputs for part in parts_of(column))
        own = next((one for one in needed if one.dictionary is not None and one.dictionary[0] == number), None)
        if own is None:  # of a column that is not read
            return
        plain = Column(own.name, own.kind, own.form, own.size, own.dense, None, own.children)
        length = data.number(0, "q")
        if not 0 <= length <= len(content) + 1:
            raise DamagedError("a dictionary has more values than bytes")
        values = self._values(plain, _Parts(data, content), length)
        if header.number(2, "B"):
            self._dictionaries.setdefault(number, []).extend(values)
        else:
            self._dictionaries[number] = values

    def _values(self, column: Column, parts: _Parts, length: int | None = None) -> list[Any]:
        """The values of a column or part."""
        own, nulls = parts.node()
        if length is not None and own != length:
            raise DamagedError(f"the column {column.name} has another number of rows than its batch")
        if column.dictionary is not None:
            missing = _missing(parts.buffer(), own, nulls)
            places = _array(parts.buffer(), column.dictionary[1], own)
            return self._looked_up(column, places, missing)
        if column.kind == "Null":
            self._spend(own)
            return [None] * own
        missing = _missing(parts.buffer(), own, nulls)
        if column.kind == "Utf8View":
            values: list[Any] = self._viewed(column, parts, own, missing)
        elif column.kind in ("Utf8", "LargeUtf8"):
            offsets = _offsets(parts.buffer(), own, large=column.kind == "LargeUtf8")
            data = bytes(parts.buffer())
            if offsets[-1] > len(data):
                raise DamagedError("a text is outside of its bytes")
            values = _decoded(column, (data[start:end] for start, end in pairwise(offsets)))
        elif column.kind in ("List", "LargeList"):
            offsets = _offsets(parts.buffer(), own, large=column.kind == "LargeList")
            items = self._values(column.children[0], parts)
            if offsets[-1] > len(items):
                raise DamagedError("a list is longer than its values")
            values = [items[start:end] for start, end in pairwise(offsets)]
        elif column.kind == "FixedSizeList":
            self._spend(own)
            items = self._values(column.children[0], parts, own * column.size)
            values = [items[start : start + column.size] for start in range(0, own * column.size, column.size or 1)]
            values = values if column.size else [[] for _ in range(own)]
        elif column.kind == "Bool":
            values = _bits(parts.buffer(), own).astype(bool).tolist()
        else:
            numbers = _array(parts.buffer(), column.form, own)
            # a narrow number is the shortest decimal that it stands for, as in JSON and in files
            narrow = column.form in ("<f2", "<f4")
            values = [float(str(one)) for one in numbers] if narrow else numbers.tolist()
        if missing is not None:
            for place in missing.tolist():
                values[place] = None
        return values

    def _looked_up(self, column: Column, places: np.ndarray, missing: np.ndarray | None) -> list[Any]:
        assert column.dictionary is not None
        known = self._dictionaries.get(column.dictionary[0], [])
        absent = set() if missing is None else set(missing.tolist())
        indices = places.tolist()
        if any(not 0 <= one < len(known) for place, one in enumerate(indices) if place not in absent):
            raise DamagedError(f"the column {column.name} has a value that is not in its dictionary")
        return [None if place in absent else known[one] for place, one in enumerate(indices)]

    def _viewed(self, column: Column, parts: _Parts, length: int, missing: np.ndarray | None) -> list[Any]:
        """Texts that are views of shared bytes; together they must not be longer than the body."""
        views = bytes(parts.buffer())
        if len(views) < _VIEW * length:
            raise DamagedError("there are fewer views than rows")
        buffers = [bytes(parts.buffer()) for _ in range(parts.further_buffers())]
        absent = set() if missing is None else set(missing.tolist())

        def texts() -> Iterator[bytes]:
            for place in range(length):
                start = place * _VIEW
                size, _, number, offset = struct.unpack_from("<iiii", views, start)
                if place in absent:
                    yield b""
                elif 0 <= size <= _SHORT:
                    yield views[start + 4 : start + 4 + size]
                elif size < 0 or not 0 <= number < len(buffers) or not 0 <= offset <= len(buffers[number]) - size:
                    raise DamagedError("a text is outside of its bytes")
                else:
                    self._spend(size)
                    yield buffers[number][offset : offset + size]

        return _decoded(column, texts())

    def _spend(self, amount: int) -> None:
        """Count what takes memory without taking bytes of the body."""
        self._budget -= amount
        if self._budget < 0:
            raise StreamError("the values take more memory than the body has bytes")


class _Parts:
    """The nodes and buffers of a batch, in their order."""

    def __init__(self, header: Table, content: memoryview) -> None:
        compression = header.table(3)
        if compression is not None:
            name = {0: "LZ4", 1: "Zstandard"}.get(compression.number(0, "b"), "an unknown method")
            raise StreamError(f"the record batches are compressed with {name}; write them without compression")
        self._nodes = iter(header.numbers(1, 2))
        self._buffers = iter(header.numbers(2, 2))
        self._further = iter(header.numbers(4))
        self._content = content

    def node(self) -> tuple[int, int]:
        """Number of values, number of missing ones."""
        found = next(self._nodes, None)
        if found is None or found[0] < 0 or not 0 <= found[1] <= found[0]:
            raise DamagedError("a column has no valid length")
        return found[0], found[1]

    def buffer(self) -> memoryview:
        """The bytes of the next buffer."""
        found = next(self._buffers, None)
        if found is None:
            raise DamagedError("a column has no bytes")
        start, length = found
        if start < 0 or length < 0 or start + length > len(self._content):
            raise DamagedError("a column is outside of the body")
        return self._content[start : start + length]

    def further_buffers(self) -> int:
        """Number of buffers that the next column of views has."""
        found = next(self._further, None)
        if found is None or found[0] < 0:
            raise DamagedError("a column has no number of buffers")
        return found[0]


def _messages(body: bytes) -> Iterator[tuple[int, Table, memoryview]]:
    """The messages: number of the content, header, body.

    Raises:
        DamagedError: the bytes are cut off, or are no messages.
    """
    whole, place = memoryview(body), 0
    while True:
        if len(body) - place < 8 or body[place : place + 4] != CONTINUATION:
            raise DamagedError("a message or the end of the stream is missing")
        size = int(struct.unpack_from("<i", body, place + 4)[0])
        place += 8
        if size == 0:
            if place != len(body):
                raise DamagedError("there are bytes after the end of the stream")
            return
        if size < 0 or size > len(body) - place:
            raise DamagedError("a message is cut off")
        message = Table.root(body[place : place + size])
        place += size
        length = message.number(3, "q")
        if not 0 <= length <= len(body) - place:
            raise DamagedError("a record batch is cut off")
        header = message.table(2)
        if header is None:
            raise DamagedError("a message is empty")
        yield message.number(1, "B"), header, whole[place : place + length]
        place += length


def _skip(column: Column, parts: _Parts) -> None:
    """Pass by a column that is not read."""
    parts.node()
    count = 2 if column.dictionary is not None else _BUFFERS.get(column.kind, 2) + column.dense
    count += parts.further_buffers() if column.kind in _VIEWS and column.dictionary is None else 0
    for _ in range(count):
        parts.buffer()
    if column.dictionary is None:
        for child in column.children:
            _skip(child, parts)


def _missing(validity: memoryview, length: int, nulls: int) -> np.ndarray | None:
    """Places of missing values; None if there are none."""
    return None if nulls == 0 else np.flatnonzero(_bits(validity, length) == 0)


def _bits(data: memoryview, length: int) -> np.ndarray:
    if 8 * len(data) < length:
        raise DamagedError("a column has fewer bits than rows")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=length, bitorder="little")


def _array(data: memoryview, form: str, length: int) -> np.ndarray:
    if np.dtype(form).itemsize * length > len(data):
        raise DamagedError("a column has fewer bytes than rows")
    return np.frombuffer(data, form, count=length)


def _offsets(data: memoryview, length: int, *, large: bool) -> list[int]:
    """Starts of `length` values, and the end of the last one; they never decrease."""
    if length == 0:
        return [0]
    found = _array(data, "<i8" if large else "<i4", length + 1)
    if found[0] < 0 or (found[1:] < found[:-1]).any():
        raise DamagedError("the offsets of a column decrease")
    offsets: list[int] = found.tolist()
    return offsets


def _decoded(column: Column, texts: Iterator[bytes]) -> list[Any]:
    try:
        return [one.decode() for one in texts]
    except UnicodeDecodeError:
        raise StreamError(f"the column {column.name} holds a text that is not UTF-8", column.name) from None
