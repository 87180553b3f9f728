"""The kind of a table file, by its content first and its name second. Unsupported formats are errors with a hint."""

from __future__ import annotations

import codecs
import json
from enum import StrEnum
from pathlib import Path

from adasparse_cli.errors import DataError
from adasparse_cli.raw.packing import EXPANSION, DamagedError, Unpacked

_HEAD_BYTES = 1 << 16
_AS_CSV = "save the table as CSV (UTF-8) or Parquet"
_FOREIGN = {
    b"ARROW1\0\0": ("an Arrow (Feather) file", "write the table as Parquet"),
    b"Obj\x01": ("an Avro file", "write the table as Parquet"),
    b"SQLite format 3\0": ("an SQLite database", _AS_CSV),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Office document", _AS_CSV),
    b"%PDF-": ("a PDF", _AS_CSV),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file", _AS_CSV),
    b"\x1f\x8b": ("packed twice", "unpack it once"),
    b"PK\x03\x04": ("packed twice", "unpack it once"),
    b"\x28\xb5\x2f\xfd": ("packed twice", "unpack it once"),
    b"\xfd7zXZ\0": ("packed twice", "unpack it once"),
}


class TableKind(StrEnum):
    """The supported kinds of tables."""

    text = "text"
    ndjson = "NDJSON"
    parquet = "Parquet"


_BY_SUFFIX = {
    ".parquet": TableKind.parquet,
    ".pq": TableKind.parquet,
    ".ndjson": TableKind.ndjson,
    ".jsonl": TableKind.ndjson,
    ".json": TableKind.ndjson,
    ".csv": TableKind.text,
    ".tsv": TableKind.text,
    ".tab": TableKind.text,
    ".txt": TableKind.text,
}


def table_suffix(path: Path) -> str:
    """The suffix that gives the kind of table, without the suffix of the compression: `.csv` for `a.csv.gz`; "" for none."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in EXPANSION]
    return suffixes[-1] if suffixes else ""


def kind_by_name(path: Path) -> TableKind | None:
    """The kind by the file's name; by its content for a name without a suffix (`part-00000`); otherwise None."""
    suffix = table_suffix(path)
    if suffix in _BY_SUFFIX or suffix[1:].isalpha():
        return _BY_SUFFIX.get(suffix)
    try:
        return table_kind(path)
    except DataError:
        return None


def table_kind(path: Path) -> TableKind:
    """The kind of table by the file's content.

    Raises:
        DataError: it is empty, damaged, or in an unsupported format; the message names the format and a remedy.
    """
    with Unpacked(path) as file:
        try:
            head = file.read(_HEAD_BYTES)
        except DamagedError as error:
            raise damaged(path, 1, error) from None
        packing = file.packing
    if not head:
        raise DataError(f"{path} is empty", hint="the file was not copied completely; get it again")
    kind = _BY_SUFFIX.get(table_suffix(path))
    # the header of a text may begin in the same way, but no text continues like this
    if head.startswith(b"PAR1") and head[4:5] < b" ":
        if packing:
            raise DataError(
                f"{path} is a Parquet file packed with {packing}", hint="unpack it; Parquet is compressed by itself"
            )
        return TableKind.parquet
    if kind is TableKind.parquet:
        raise DataError(f"{path} is not a readable Parquet file: its first bytes are wrong", hint="get the file again")
    _refuse_foreign(path, head, packing)
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if start == b"[" and kind is not TableKind.text and not _second_line_is_object(head):
        raise DataError(
            f"{path} is one JSON array; a table needs one object per line (NDJSON)",
            hint=f"jq -c '.[]' {path.name} > {path.name.split('.')[0]}.ndjson converts it",
        )
    if start == b"{" and kind is None:
        return TableKind.ndjson
    return kind or TableKind.text


def _second_line_is_object(head: bytes) -> bool:
    """Whether the first line is a bad NDJSON line, not the start of an array."""
    lines = [line for line in head.split(b"\n") if line.strip()]
    try:
        return len(lines) > 1 and lines[0].strip() != b"[" and isinstance(json.loads(lines[1]), dict)
    except (ValueError, RecursionError):
        return False


def require_utf8(path: Path, head: bytes, *, header: bool) -> None:
    """Check that a file's first line is UTF-8.

    Args:
        head: the first bytes. header: whether the first line names the columns. If not, only UTF-16 files are refused, because
            any other error concerns one row.

    Raises:
        DataError: it is not UTF-8; the message names the likely encoding.
    """
    line = head.partition(b"\n")[0]
    utf16 = {codecs.BOM_UTF16_LE: "UTF-16LE", codecs.BOM_UTF16_BE: "UTF-16BE"}
    name = next((name for mark, name in utf16.items() if head.startswith(mark)), None)
    if name is None and b"\0" in line:
        zeros = [line[k::2].count(0) / max(len(line[k::2]), 1) for k in (0, 1)]
        name = "UTF-16BE" if zeros[0] > 0.7 > zeros[1] else "UTF-16LE" if zeros[1] > 0.7 > zeros[0] else None
        if name is None and header:
            raise DataError(
                f"{path}:1: this is not text in UTF-8: the first line holds NUL bytes",
                hint="the file is binary or damaged; write the table as UTF-8, or as Parquet",
            )
    if name is None:
        if not header:
            return
        try:
            # the first bytes of a long line may end within a character
            codecs.getincrementaldecoder("utf-8")().decode(line, final=b"\n" in head)
        except UnicodeDecodeError:
            name = "WINDOWS-1252"
        else:
            return
    alike = "Latin-1 or Windows-1252" if name == "WINDOWS-1252" else name
    raise DataError(
        f"{path}:1: this is not text in UTF-8; it looks like {alike}",
        hint=f"iconv -f {name} -t UTF-8 {path.name} > NEW converts it, if the guess is correct",
    )


def damaged(path: Path, line: int, error: DamagedError) -> DataError:
    """The error for a compressed file whose content ends at `line`."""
    return DataError(
        f"{path} is damaged or cut off after line {line} (byte {error.position:,} of the packed file): {error}",
        hint="get the file again",
    )


def _refuse_foreign(path: Path, head: bytes, packing: str | None) -> None:
    for magic, (what, hint) in _FOREIGN.items():
        if head.startswith(magic) and (packing or "twice" not in what):
            raise DataError(f"{path} is {what}, not a table that can be read", hint=hint)
    if head[257:262] == b"ustar":
        raise DataError(f"{path} is a tar archive, not a table", hint=f"tar -xf {path.name} unpacks it; name the files")
