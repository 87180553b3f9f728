"""The matrix of input faults: each kind of fault, plain and packed, in the first, a middle and the last row.

Truth is written beside each fault: the line, the column and the value that rejects must name, or the value that must be
read where the row is no fault. All other rows must be there, each at its line.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from backports import zstd

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import tabular
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.raw import lines
from adasparse_cli.tables import ndjson, text
from adasparse_cli.typed import plain, typed

ROWS, PLACES = 31, {"first": 0, "middle": 15, "last": 30}
COLUMNS = ("y", "place", "price", "ts", "chance", "title")
HEADER = ",".join(COLUMNS)
WORDS = (
    "data=tabular", "data.label=y", "data.domain=[place]", "data.timestamp=ts", "data.propensity=chance",
    "data.kinds={price: numeric}", "data.max_rejected=0.5", "data.split=random", "data.missing=['',nan]",
)  # fmt: skip


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../a.csv", content)
    return file.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "gz": gzip.compress, "zip": zipped, "zst": zstd.compress
}  # fmt: skip


def named(name: str, packing: str) -> str:
    return name if packing == "plain" else f"{name}.{packing}"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What replaces one row, and the expected result.

    Args:
        lines: the bytes of its lines.
        rejected: column, start of the value, and a part of the reason, for each line that is rejected.
        value: where the row is read, a field and the value that it must have.
        extra: further rows that are good beside it.
        words: settings.
        end: what stands after the last line.
    """

    lines: tuple[bytes, ...]
    rejected: tuple[tuple[str, str, str], ...] = ()
    value: tuple[str, object] | None = None
    extra: int = 0
    words: tuple[str, ...] = ()
    end: bytes = b"\n"


def row(**values: str) -> bytes:
    own = {"y": "1", "place": "p1", "price": "2.5", "ts": "1537200000", "chance": "0.5", "title": "odd"} | values
    return ",".join(own.values()).encode()


def bad(line: bytes, column: str, value: str, reason: str) -> Fault:
    return Fault(lines=(line,), rejected=((column, value, reason),))


FAULTS = {
    "too few columns": bad(b"1,p1,2.5", "", "1,p1,2.5", "too few columns: 3 where the header has 6"),
    "too many columns": bad(row(title="a,b"), "", "1,p1,2.5,1537200000,0.5,a,b", "too many columns: 7"),
    "separator at the end": bad(row() + b",", "", "1,p1,2.5,1537200000,0.5,odd,", "too many columns: 7"),
    "tabs for commas": bad(row().replace(b",", b"\t"), "", "1\tp1\t2.5", "too few columns: 1"),
    "bad label": bad(row(y="2"), "y", "2", "neither 0 nor 1"),
    "no label": bad(row(y=""), "y", "", "neither 0 nor 1"),
    "bad number": bad(row(price="cheap"), "price", "cheap", "is no number"),
    "infinity": bad(row(price="inf"), "price", "inf", "is no number"),
    "number overflow": bad(row(price="1e999"), "price", "1e999", "is no number"),
    "nan is missing": Fault(lines=(row(price="nan"),), value=("price", None)),
    "bad time": bad(row(ts="soon"), "ts", "soon", "time"),
    "bad propensity": bad(row(chance="1.5"), "chance", "1.5", "chance in (0, 1]"),
    "NUL byte": bad(row(title="a\0b"), "", "1,p1,2.5,1537200000,0.5,a\0b", "NUL byte"),
    "invalid UTF-8": bad(row().replace(b"odd", b"caf\xe9"), "", "1,p1,2.5,1537200000,0.5,caf", "is not UTF-8"),
    "quote not closed": bad(row(title='"odd'), "", '1,p1,2.5,1537200000,0.5,"odd', "quote that does not close"),
    "quote closed too early": bad(row(title='"odd"x'), "", '1,p1,2.5,1537200000,0.5,"odd"x', "closes too early"),
    "stray quote": Fault(lines=(row(title='5" nail'),), value=("title", '5" nail')),
    "line break in quotes": Fault(
        lines=(row(title='"two'), b'lines"'),
        rejected=(("", "1,p1", "quote that does not close"), ("", 'lines"', "too few columns: 1")),
    ),
    "line break in quotes, read": Fault(
        lines=(row(title='"two'), b"", b'lines"'), value=("title", "two\n\nlines"), words=("data.quoted_newlines=true",)
    ),
    "quote not closed, line breaks read": Fault(
        lines=(row(title='"odd'),),
        rejected=(("", '1,p1,2.5,1537200000,0.5,"odd', "quote that does not close"),),
        words=("data.quoted_newlines=true",),
    ),
    "blank line": Fault(lines=(row(), b"", b"\r"), value=("title", "odd")),
    "line of blanks": bad(b"  ", "", "  ", "too few columns: 1"),
    "CRLF among LF": Fault(lines=(row() + b"\r",), value=("title", "odd")),
    "lone CR": bad(row(title="a\rb"), "", "1,p1,2.5,1537200000,0.5,a\rb", "carriage return"),
    "too long line": bad(row(title="x" * 5000), "", "1,p1,2.5,1537200000,0.5,xxx", "longer than 4,000 bytes"),
    "BOM in the middle": bad(b"\xef\xbb\xbf" + row(), "", "\ufeff1,p1", "byte order mark"),
    "control characters": Fault(lines=(row(title="a\x01\x1b[31mb"),), value=("title", "a\x01\x1b[31mb")),
    "header again": bad(HEADER.encode(), "", HEADER, "repeats the header"),
    "no newline at the end": Fault(lines=(row(),), value=("title", "odd"), end=b""),
    "cut off": Fault(
        lines=(b"1,p1,2.",), rejected=(("", "1,p1,2.", "too few columns: 3 where the header has 6"),), end=b""
    ),
}


@cache
def settings_of(*words: str) -> tabular.Settings:
    return typed(compose("prep", [*WORDS, *words])["data"], tabular.Settings, "data")


def good(k: int) -> bytes:
    return f"{k % 2},p{k % 3},{k / 4},{1537200000 + k},0.{k % 9 + 1},t{k}".encode()


def check(folder: Path, content: bytes, name: str, fault: Fault, line: int, height: int) -> None:
    """Read the file; compare rows, lines and rejects with what the fault says."""
    path = folder / name
    path.write_bytes(content)
    data = tabular.read(settings_of(*fault.words), [path])
    frame = pl.concat(list(data.frames))
    at = [line + k for k in range(len(fault.lines))]
    assert [(one.source, one.line, one.column) for one in data.rejects] == [
        (name, place, column) for place, (column, _, _) in zip(at, fault.rejected, strict=False)
    ]
    for reject, (_, value, reason) in zip(data.rejects, fault.rejected, strict=True):
        assert reject.value.startswith(value)
        assert reason in reject.reason
    others = [k for k in range(line - ROWS, line + ROWS + len(fault.lines)) if k not in at]
    assert frame.filter(~pl.col("__line").is_in(at)).height == ROWS - 1
    assert set(frame["__line"]) <= {*others, line}
    here = frame.filter(pl.col("__line") == line)
    assert here.height == (fault.value is not None)
    if fault.value is not None:
        field, value = fault.value
        assert here[field].to_list() == [value]
    assert frame.height + len(data.rejects) == height


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_row_of_text_is_named_and_no_other_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, packing: str
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 4000)
    fault = FAULTS[kind]
    for block_bytes in (1 << 20, 200):
        monkeypatch.setattr(text, "BLOCK_BYTES", block_bytes)
        for place, k in PLACES.items():
            if fault.end == b"" and place != "last":
                continue
            rows = [good(j) for j in range(ROWS)]
            content = b"\n".join([HEADER.encode(), *rows[:k], *fault.lines, *rows[k + 1 :]]) + fault.end
            height = ROWS - 1 + max(len(fault.rejected), fault.value is not None)
            check(tmp_path, PACKED[packing](content), named("a.csv", packing), fault, k + 2, height)
    assert not (tmp_path.parent / "a.csv").exists()


def json_row(**values: object) -> bytes:
    own = {"y": 1, "place": "p1", "price": 2.5, "ts": 1537200000, "chance": 0.5, "title": "odd"} | values
    return json.dumps(own).encode()


JSON_FAULTS = {
    "no JSON": bad(b'{"y": 1', "", '{"y": 1', "is no JSON"),
    "no object": bad(b"[1, 2]", "", "[1, 2]", "is not a JSON object"),
    "missing key": Fault(lines=(b'{"y": 1, "place": "p1", "ts": 1537200000, "chance": 1}',), value=("title", None)),
    "missing label": bad(b'{"place": "p1", "ts": 1537200000, "chance": 1}', "y", "", "neither 0 nor 1"),
    "unknown key": bad(json_row(more=1), "more", "1", "key that the first rows do not have"),
    "key twice": bad(json_row()[:-1] + b', "y": 0}', "y", '{"y": 1', "key that appears twice in the object"),
    "lone surrogate twice": bad(
        json_row()[:-1] + b', "\\ud83d": 1, "\\ud83d": 2}', "\\ud83d", '{"y": 1', "key that appears twice in the object"
    ),
    "lone surrogate nested": bad(json_row()[:-1] + b', "\\ud83d": {}}', "\\ud83d", "{}", "is nested"),
    "nested": bad(json_row(title={"a": 1}), "title", '{"a": ', "is nested"),
    "wrong type": bad(json_row(price="cheap"), "price", "cheap", "is no number"),
    "list with its separator": bad(json_row(title=["a|b", "c"]), "title", '["a|b", "c"]', "has the list separator"),
    "lone surrogate": bad(json_row(title="\ud83d"), "title", '{"y": 1', "half of a surrogate pair"),
    "NUL character": bad(json_row(title="\0"), "title", '{"y": 1', "NUL character"),
    "NUL byte": bad(b'{"y": "\0"}', "", '{"y": "\0"}', "NUL byte"),
    "invalid UTF-8": bad(b'{"y": "\xff"}', "", '{"y": "', "is not UTF-8"),
    "deep": bad(b"[" * 3900, "", "[[[", "is no JSON"),
    "too long line": bad(json_row(title="x" * 5000), "", '{"y": 1', "longer than 4,000 bytes"),
    "large number": Fault(lines=(json_row(title=10**40),), value=("title", "1" + "0" * 40)),
    "blank line": Fault(lines=(json_row(), b""), value=("title", "odd")),
    "cut off": Fault(lines=(json_row()[:-9],), rejected=(("", '{"y": 1', "is no JSON"),), end=b""),
}


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("kind", JSON_FAULTS)
def test_a_faulty_line_of_ndjson_is_named_and_no_other_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, packing: str
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 4000)
    # the keys of the first rows are the columns, so they must be good ones
    monkeypatch.setattr(ndjson, "SAMPLE_BYTES", 400)
    fault = JSON_FAULTS[kind]
    places = PLACES if kind != "unknown key" else {"middle": 15, "last": 30}
    for place, k in places.items():
        if fault.end == b"" and place != "last":
            continue
        rows = [
            json_row(y=j % 2, place=f"p{j % 3}", price=j / 4, title=f"t{j}", chance=(j % 9 + 1) / 10)
            for j in range(ROWS)
        ]
        content = b"\n".join([*rows[:k], *fault.lines, *rows[k + 1 :]]) + fault.end
        height = ROWS - 1 + max(len(fault.rejected), fault.value is not None)
        check(tmp_path, PACKED[packing](content), named("a.ndjson", packing), fault, k + 1, height)


@pytest.mark.parametrize("packing", PACKED)
def test_many_faults_at_once_are_counted_and_named_in_the_prepared_data(tmp_path: Path, packing: str) -> None:
    """Every kind that rejects one line, in one file."""
    single = [fault for fault in FAULTS.values() if len(fault.lines) == 1 and fault.rejected and not fault.words]
    single = [fault for fault in single if "longer" not in fault.rejected[0][2]]
    content = [HEADER.encode()]
    for k, fault in enumerate(single):
        content += [good(3 * k), good(3 * k + 1), *fault.lines, good(3 * k + 2)]
    path = tmp_path / named("a.csv", packing)
    path.write_bytes(PACKED[packing](b"\n".join(content) + b"\n"))
    own = settings_of()
    manifest = prepare(own, plain(own), [path], tmp_path / "data", Silent())
    table = pl.read_parquet(tmp_path / "data" / "rejects.parquet")
    assert table["line"].to_list() == [4 * k + 4 for k in range(len(single))]
    assert table["column"].to_list() == [fault.rejected[0][0] for fault in single]
    assert all(fault.rejected[0][2] in reason for fault, reason in zip(single, table["reason"], strict=True))
    assert sum(counts.rows for counts in manifest.splits.values()) == 3 * len(single)
