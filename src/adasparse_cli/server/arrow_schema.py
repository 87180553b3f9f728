"""The columns that the schema of an Arrow stream names, and whether a model can read them.

Source: the Arrow columnar format, version 1.5, Schema.fbs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from adasparse_cli.server.flatbuffers import DamagedError, Table

# Names of the types by their number.
TYPES = (
    "none", "Null", "Int", "FloatingPoint", "Binary", "Utf8", "Bool", "Decimal", "Date", "Time", "Timestamp", "Interval",
    "List", "Struct", "Union", "FixedSizeBinary", "FixedSizeList", "Map", "Duration", "LargeBinary", "LargeUtf8", "LargeList",
    "RunEndEncoded", "BinaryView", "Utf8View", "ListView", "LargeListView",
)  # fmt: skip
# Columns and their parts, in all: a schema can name one part many times.
MOST_PARTS = 10_000
# Size of a schema message up to which its columns are remembered.
REMEMBERED_BYTES = 64 << 10


class StreamError(ValueError):
    """A stream that cannot be read; the text is the reason, for a person.

    Args:
        column: the column that is at fault, if it is one.
    """

    def __init__(self, message: str, column: str | None = None) -> None:
        super().__init__(message)
        self.column = column


@dataclass(frozen=True)
class Column:
    """The type of a column.

    Args:
        kind: one of TYPES. form: number type of `numpy` for Int and FloatingPoint. size: of a fixed-size list.
        dense: whether a union has offsets. dictionary: its id, with the number type of its indices.
    """

    name: str
    kind: str
    form: str = ""
    size: int = 0
    dense: bool = False
    dictionary: tuple[int, str] | None = None
    children: tuple[Column, ...] = ()


def columns_of(metadata: bytes, inputs: tuple[str, ...]) -> tuple[Column, ...]:
    """The columns of a schema message. Clients send the same schema each time, so short ones are remembered.

    Args:
        inputs: names of the columns that are read.

    Raises:
        StreamError: an input is missing, is there twice, or has a type that no field has.
        DamagedError: the message is no schema.
    """
    return (_remembered if len(metadata) <= REMEMBERED_BYTES else _columns_of)(metadata, inputs)


def _columns_of(metadata: bytes, inputs: tuple[str, ...]) -> tuple[Column, ...]:
    header = Table.root(metadata).table(2)
    assert header is not None
    if header.number(0, "h") != 0:
        raise StreamError("the stream is big-endian; write it on a little-endian machine")
    parts: list[None] = []
    columns = tuple(column_of(one, parts) for one in header.tables(1))
    names = [column.name for column in columns]
    for name in inputs:
        if name not in names:
            raise StreamError(f"the stream lacks the column {name}; null is a missing value", name)
        if names.count(name) > 1:
            raise StreamError(f"the stream has the column {name} twice", name)
        require_readable(columns[names.index(name)])
    return columns


_remembered = lru_cache(maxsize=16)(_columns_of)


def column_of(field_table: Table, parts: list[None], depth: int = 0) -> Column:
    """A column of the schema.

    Args:
        parts: grows by one for each part of any column.

    Raises:
        DamagedError: the type is unknown, or there are too many parts.
    """
    parts.append(None)
    if len(parts) > MOST_PARTS or depth > 32:
        raise DamagedError(f"the schema has more than {MOST_PARTS:,} parts, or lists in lists in lists")
    number, own = field_table.number(2, "B"), field_table.table(3)
    if not 0 < number < len(TYPES) or own is None:
        raise DamagedError("a column has an unknown type")
    kind = TYPES[number]
    dictionary = field_table.table(4)
    of_dictionary = None
    if dictionary is not None:
        of_dictionary = dictionary.number(0, "q"), _form("Int", dictionary.table(1))
    return Column(
        field_table.text(0),
        kind,
        _form(kind, own),
        own.number(0, "i") if kind == "FixedSizeList" else 0,
        kind == "Union" and own.number(0, "h") == 1,
        of_dictionary,
        tuple(column_of(one, parts, depth + 1) for one in field_table.tables(5)),
    )


def _form(kind: str, own: Table | None) -> str:
    """The number type of numpy; empty for other types, or for an unknown width."""
    if kind == "FloatingPoint" and own is not None:
        return {0: "<f2", 1: "<f4", 2: "<f8"}.get(own.number(0, "h"), "")
    if kind != "Int":
        return ""
    width, signed = (32, True) if own is None else (own.number(0, "i"), bool(own.number(1, "B")))
    return f"<{'i' if signed else 'u'}{width // 8}" if width in (8, 16, 32, 64) else ""


def require_readable(column: Column) -> None:
    """Check that a column's values are texts, numbers, truth values, or lists of them.

    Raises:
        StreamError: they are not.
    """
    several = column.kind in ("List", "LargeList", "FixedSizeList")
    one = column.children[0] if several and len(column.children) == 1 else column
    plain = one.kind in ("Null", "Bool", "Utf8", "LargeUtf8", "Utf8View") or one.form != ""
    indices = [part.dictionary[1] for part in (column, one) if part.dictionary is not None]
    if not plain or "" in indices or column.size < 0:
        raise StreamError(
            f"the column {column.name} has the type {_type_name(column)}, a text, a number or a list of them is needed",
            column.name,
        )


def _type_name(column: Column) -> str:
    return f"{column.kind} of {_type_name(column.children[0])}" if column.children else column.kind


def parts_of(column: Column) -> Iterator[Column]:
    """A column and its parts."""
    yield column
    for child in column.children:
        yield from parts_of(child)
