"""Streams of Arrow record batches: polars is the independent reader and writer; damaged ones are named, never worse."""

from __future__ import annotations

import io
import struct
import time
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.server.arrow_answer import answer_stream
from adasparse_cli.server.arrow_schema import TYPES, StreamError
from adasparse_cli.server.arrow_stream import BATCH, CONTINUATION, SCHEMA, ArrowReader
from adasparse_cli.server.flatbuffers import Fields, Number, Structs, written

LONG = "a text of more than twelve bytes, so that a view points to it"


def stream(frame: pl.DataFrame, *, old: bool = False, **words: Any) -> bytes:
    """A frame as polars writes it; `old` is for readers without views."""
    file = io.BytesIO()
    frame.write_ipc_stream(file, compat_level=pl.CompatLevel.oldest() if old else None, **words)
    return file.getvalue()


def read(body: bytes, *names: str, most_rows: int = 10_000) -> dict[str, list[Any]]:
    return ArrowReader(names, most_rows).columns(body)


texts = st.text(max_size=30) | st.just(LONG)
columns = st.one_of(
    st.lists(st.none() | texts, max_size=20).map(lambda v: pl.Series("x", v, dtype=pl.String)),
    st.lists(st.none() | texts, max_size=20).map(lambda v: pl.Series("x", v, dtype=pl.Categorical)),
    st.lists(st.none() | st.booleans(), max_size=20).map(lambda v: pl.Series("x", v, dtype=pl.Boolean)),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20).map(
        lambda v: pl.Series("x", v, dtype=pl.Int64)
    ),
    st.lists(st.none() | st.integers(0, 255), max_size=20).map(lambda v: pl.Series("x", v, dtype=pl.UInt8)),
    st.lists(st.none() | st.integers(-(2**15), 2**15 - 1), max_size=20).map(
        lambda v: pl.Series("x", v, dtype=pl.Int16)
    ),
    st.lists(st.none() | st.floats(allow_nan=False), max_size=20).map(lambda v: pl.Series("x", v, dtype=pl.Float64)),
    st.lists(st.none() | st.lists(st.none() | texts, max_size=5), max_size=20).map(
        lambda v: pl.Series("x", v, dtype=pl.List(pl.String))
    ),
    st.lists(st.none() | st.lists(st.integers(0, 99), max_size=5), max_size=20).map(
        lambda v: pl.Series("x", v, dtype=pl.List(pl.Int32))
    ),
    st.lists(st.none() | st.lists(texts, min_size=2, max_size=2), max_size=20).map(
        lambda v: pl.Series("x", v, dtype=pl.Array(pl.String, 2))
    ),
    st.lists(st.none() | st.lists(texts, max_size=4), max_size=20).map(
        lambda v: pl.Series("x", v, dtype=pl.List(pl.Categorical))
    ),
    st.integers(0, 9).map(lambda n: pl.Series("x", [None] * n, dtype=pl.Null)),
)


@given(columns, st.booleans())
def test_values_are_those_of_the_frame(column: pl.Series, old: bool) -> None:
    assert read(stream(column.to_frame(), old=old), "x") == {"x": column.to_list()}


def test_a_schema_that_is_remembered_gives_the_same_answers_and_the_same_errors() -> None:
    frame = pl.DataFrame({"x": ["a"], "y": [1]})
    for _ in range(2):
        assert read(stream(frame), "x", "y") == {"x": ["a"], "y": [1]}
        assert read(stream(frame), "y") == {"y": [1]}
        with pytest.raises(StreamError, match="lacks the column z"):
            read(stream(frame), "z")


def test_other_columns_of_any_type_are_passed_by() -> None:
    others = pl.DataFrame(
        {
            "time": [datetime(2026, 1, 1), None],
            "day": [date(2026, 1, 1), None],
            "struct": [{"a": 1, "b": [LONG]}, None],
            "binary": [b"x" * 40, None],
            "decimal": pl.Series([Decimal("1.5"), None], dtype=pl.Decimal(10, 2)),
            "lists": [[[1], []], None],
            "array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
            "enum": pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
            "categories": pl.Series([LONG, None], dtype=pl.Categorical),
            "nothing": [None, None],
            "text": [LONG, None],
        }
    )
    for old in (False, True):
        frame = pl.concat(
            [pl.DataFrame({"x": ["1", LONG]}), others, pl.DataFrame({"y": [[1.5], []]})], how="horizontal"
        )
        assert read(stream(frame, old=old), "y", "x") == {"y": [[1.5], []], "x": ["1", LONG]}


def test_several_batches_follow_each_other() -> None:
    frame = pl.DataFrame({"x": [f"{LONG}{k}" for k in range(50)], "n": range(50)})
    parts = [stream(frame[k : k + 7]) for k in range(0, 50, 7)]
    empty = stream(frame.clear())
    schema = empty[: 8 + struct.unpack_from("<i", empty, 4)[0]]
    whole = schema + b"".join(part[len(schema) : -8] for part in parts) + parts[0][-8:]
    assert read(whole, "x", "n") == frame.to_dict(as_series=False)
    assert pl.read_ipc_stream(io.BytesIO(whole)).equals(frame)  # the truth reads the same bytes


def test_a_narrow_number_is_the_decimal_that_it_stands_for() -> None:
    column = pl.Series("x", [10.12, 2.5, None, 1e-8], dtype=pl.Float32)
    assert read(stream(column.to_frame()), "x") == {"x": [10.12, 2.5, None, 1e-8]}


@given(
    st.lists(
        st.tuples(st.floats(width=32, allow_nan=False), st.floats(0, 1), st.none() | texts, st.booleans()), max_size=20
    )
)
def test_polars_reads_the_answer(rows: list[tuple[float, float, str | None, bool]]) -> None:
    logits = np.array([row[0] for row in rows], dtype=np.float32)
    chances, seen = np.array([row[1] for row in rows]), np.array([row[3] for row in rows], dtype=bool)
    body = answer_stream(logits, chances, [row[2] for row in rows], seen, {"model": '{"name": "é"}'})
    found = pl.read_ipc_stream(io.BytesIO(body))
    assert found.schema == {
        "logit": pl.Float32, "probability": pl.Float64, "domain": pl.String, "domain_seen_in_training": pl.Boolean
    }  # fmt: skip
    assert found.rows() == [(float(np.float32(a)), b, c, d) for a, b, c, d in rows]
    again = read(body, "probability", "domain", "domain_seen_in_training")
    assert again == found.drop("logit").to_dict(as_series=False)


FRAME = pl.DataFrame(
    {
        "x": ["a", None, LONG, "b"],
        "n": [1, 2, None, 4],
        "l": [["t", LONG], [], None, ["u"]],
        "c": pl.Series(["p", "q", None, "p"], dtype=pl.Categorical),
        "b": [True, None, False, True],
    }
)


@pytest.mark.parametrize("old", [False, True])
def test_damaged_bytes_are_named_or_read_and_nothing_else(old: bool) -> None:
    """Every prefix, and flips of every kind at every byte: never another error, never for long."""
    body = stream(FRAME, old=old)
    for end in range(len(body)):
        with pytest.raises(StreamError):
            read(body[:end], *FRAME.columns)
    with pytest.raises(StreamError, match="after the end"):
        read(body + b"\0", *FRAME.columns)
    draw = np.random.default_rng(0)
    refused, started = 0, time.process_time()
    for place in range(len(body)):
        for value in {body[place] ^ 0xFF, body[place] ^ 1, body[place] ^ 0x80, 0, int(draw.integers(256))}:
            damaged = bytearray(body)
            damaged[place] = value
            try:
                found = read(bytes(damaged), *FRAME.columns)
                assert {len(values) for values in found.values()} <= {0, 4}
            except StreamError:
                refused += 1
    assert refused > len(body) // 2
    assert time.process_time() - started < 60
    for _ in range(2000):
        damaged = bytearray(body)
        for place in draw.integers(0, len(body), 4):
            damaged[place] = draw.integers(256)
        try:
            read(bytes(damaged), *FRAME.columns)
        except StreamError:
            refused += 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "a message or the end of the stream is missing"),
        (b'{"rows": []}', "a message or the end of the stream is missing"),
        (CONTINUATION + bytes(4), "it has no schema"),
        (CONTINUATION + b"\xff\xff\xff\x7f", "a message is cut off"),
        (stream(FRAME, compression="zstd"), "compressed with Zstandard"),
        (stream(FRAME, compression="lz4"), "compressed with LZ4"),
        (stream(FRAME.drop("x")), "lacks the column x"),
        (stream(FRAME.with_columns(x=pl.lit(date(2026, 1, 1)))), "the column x has the type Date"),
        (stream(FRAME.with_columns(x=pl.lit(b"a"))), "the column x has the type Binary"),
        (stream(FRAME.with_columns(x=pl.struct("n"))), "the column x has the type Struct"),
        (
            stream(FRAME.with_columns(x=pl.struct("n").implode().over("n"))),
            "the column x has the type LargeList of Struct of Int",
        ),
        (stream(pl.concat([FRAME] * 5)), "20 rows in one request, at most 10"),
    ],
)
def test_a_wrong_stream_is_named(body: bytes, said: str) -> None:
    with pytest.raises(StreamError, match=said):
        read(body, "x", most_rows=10)


def message(kind: int, header: Fields, body: bytes = b"") -> bytes:
    metadata = written(Fields([Number(4, "h"), Number(kind, "B"), header, Number(len(body), "q")]))
    metadata += bytes(-len(metadata) % 8)
    return CONTINUATION + struct.pack("<i", len(metadata)) + metadata + body


def field_of(name: str, kind: str, own: Fields, *children: Fields) -> Fields:
    return Fields([name, Number(1, "B"), Number(TYPES.index(kind), "B"), own, None, list(children)])


def crafted(fields: list[Fields], batch: Fields, body: bytes = b"") -> bytes:
    schema = Fields([Number(0, "h"), fields])
    return message(SCHEMA, schema) + message(BATCH, batch, body) + CONTINUATION + bytes(4)


def test_a_few_bytes_cannot_ask_for_much_memory() -> None:
    """Texts that share their bytes, lists of nothing, fixed lists of any length, a schema that names one part often."""
    rows = 4000
    long = b"x" * 100_000
    views = struct.pack("<iiii", len(long), 0, 0, 0) * rows
    shared = crafted(
        [field_of("x", "Utf8View", Fields([]))],
        Fields(
            [
                Number(rows, "q"),
                Structs([(rows, 0)]),
                Structs([(0, 0), (0, len(views)), (len(views), len(long))]),
                None,
                Structs([(1,)]),
            ]
        ),
        views + long,
    )
    nothing = field_of("item", "Null", Fields([]))
    lists = crafted(
        [field_of("x", "List", Fields([]), nothing)],
        Fields([Number(1, "q"), Structs([(1, 0), (2**31 - 1, 0)]), Structs([(0, 0), (0, 8)])]),
        struct.pack("<ii", 0, 2**31 - 1),
    )
    fixed = crafted(
        [field_of("x", "FixedSizeList", Fields([Number(2**31 - 1, "i")]), nothing)],
        Fields([Number(9, "q"), Structs([(9, 0), (9 * (2**31 - 1), 0)]), Structs([(0, 0)])]),
    )
    for body in (shared, lists, fixed):
        started = time.process_time()
        with pytest.raises(StreamError, match="more memory than the body has bytes"):
            read(body, "x")
        assert time.process_time() - started < 2
    child = field_of("item", "Null", Fields([]))
    for _ in range(40):
        child = field_of("x", "List", Fields([]), child)
    with pytest.raises(StreamError, match="lists in lists"):
        read(crafted([child], Fields([Number(0, "q"), Structs([]), Structs([])])), "x")
    with pytest.raises(StreamError, match="a name is longer"):
        read(crafted([field_of("x" * 2000, "Null", Fields([]))], Fields([Number(0, "q")])), "x")
    many = crafted([field_of("y", "Null", Fields([]))] * 10_001, Fields([Number(0, "q")]))
    with pytest.raises(StreamError, match="more than 10,000 parts"):
        read(many, "x")
