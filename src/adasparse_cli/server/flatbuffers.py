"""FlatBuffers, as far as messages of Arrow need them: tables that are read with every offset checked, and tables that are written.

A table is an offset to its vtable and the values themselves; the vtable has the position of each field in the table. Offsets
to other objects are unsigned and point forward, so a read never runs in a circle.

Source: the FlatBuffers binary format, flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Bytes of a text: thousands of tables can share one.
LONGEST_NAME = 1000


class DamagedError(ValueError):
    """An offset or a length that points outside of the bytes."""


class Table:
    """A table in untrusted bytes; fields are named by their number in the schema.

    Raises:
        DamagedError: a part is outside of the bytes.
    """

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self._vtable = place - int(_read(data, place, "i"))
        self._size = int(_read(data, self._vtable, "H"))

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table that a buffer starts with."""
        return cls(data, int(_read(data, 0, "I")))

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A number of a struct format such as `q`."""
        place = self._offset(field)
        return default if place is None else int(_read(self.data, place, kind))

    def table(self, field: int) -> Table | None:
        """A table, None if it is absent."""
        place = self._offset(field)
        return None if place is None else Table(self.data, place + int(_read(self.data, place, "I")))

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a list, one after the other: a list can name one table millions of times."""
        start, length = self._vector(field, 4)
        for place in range(start, start + 4 * length, 4):
            yield Table(self.data, place + int(_read(self.data, place, "I")))

    def text(self, field: int) -> str:
        """A text, empty if it is absent."""
        start, length = self._vector(field, 1)
        if length > LONGEST_NAME:
            raise DamagedError(f"a name is longer than {LONGEST_NAME:,} bytes")
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError as error:
            raise DamagedError("a name is not UTF-8") from error

    def numbers(self, field: int, width: int = 1) -> list[tuple[int, ...]]:
        """A list of structs of `width` 64-bit integers each."""
        start, length = self._vector(field, 8 * width)
        return list(struct.iter_unpack(f"<{width}q", self.data[start : start + 8 * width * length]))

    def _offset(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._size:
            return None
        offset = int(_read(self.data, self._vtable + slot, "H"))
        return self.place + offset if offset else None

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """Start and number of elements of `width` bytes."""
        place = self._offset(field)
        if place is None:
            return 0, 0
        start = place + int(_read(self.data, place, "I"))
        length = int(_read(self.data, start, "I"))
        if start + 4 + width * length > len(self.data):
            raise DamagedError("a list is longer than its bytes")
        return start + 4, length


def _read(data: bytes, place: int, kind: str) -> int:
    if place < 0:  # would count from the end
        raise DamagedError("an offset is negative")
    try:
        found: int = struct.unpack_from(f"<{kind}", data, place)[0]
    except struct.error:
        raise DamagedError("an offset is outside of the bytes") from None
    return found


@dataclass(frozen=True)
class Number:
    """A number of a struct format such as `q`."""

    value: int
    kind: str


@dataclass(frozen=True)
class Structs:
    """A list of structs of 64-bit integers."""

    values: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Fields:
    """A table to write: the values of fields 0, 1, …; None for an absent one."""

    values: Sequence[Value | None]


Value = Number | str | Structs | Fields | Sequence["Fields"]


def written(root: Fields) -> bytes:
    """The buffer of a table."""
    data = bytearray(4)
    struct.pack_into("<I", data, 0, _table(data, root))
    return bytes(data)


def _table(data: bytearray, fields: Fields) -> int:
    """Append a table, then what it points to. Returns its place."""
    kinds = ["" if one is None else one.kind if isinstance(one, Number) else "I" for one in fields.values]
    offsets, size = [], 4  # behind the offset to the vtable
    for kind in kinds:
        width = struct.calcsize(f"<{kind}")
        size += -size % width if width else 0
        offsets.append(size if kind else 0)
        size += width
    vtable = _aligned(data, 2)
    data += struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), size, *offsets)
    place = _aligned(data, 8)
    data += bytes(size)
    struct.pack_into("<i", data, place, place - vtable)
    for value, kind, offset in zip(fields.values, kinds, offsets, strict=True):
        if value is None:
            continue
        own = place + offset
        struct.pack_into(
            f"<{kind}", data, own, value.value if isinstance(value, Number) else _object(data, value) - own
        )
    return place


def _object(data: bytearray, value: str | Structs | Fields | Sequence[Fields]) -> int:
    """Append what an offset points to. Returns its place."""
    if isinstance(value, Fields):
        return _table(data, value)
    if isinstance(value, str):
        place = _aligned(data, 4)
        text = value.encode()
        data += struct.pack("<I", len(text)) + text + b"\0"
        return place
    if isinstance(value, Structs):
        place = _aligned(data, 8, behind=4)  # the elements are aligned, not their number
        data += struct.pack("<I", len(value.values))
        data += b"".join(struct.pack(f"<{len(one)}q", *one) for one in value.values)
        return place
    place = _aligned(data, 4)
    data += struct.pack("<I", len(value)) + bytes(4 * len(value))
    for number, one in enumerate(value):
        own = place + 4 + 4 * number
        struct.pack_into("<I", data, own, _table(data, one) - own)
    return place


def _aligned(data: bytearray, width: int, *, behind: int = 0) -> int:
    """Fill up with zeros until the place `behind` bytes after the end is a multiple of `width`. Returns the end."""
    data += bytes(-(len(data) + behind) % width)
    return len(data)
