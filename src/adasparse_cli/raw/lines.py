"""Raw text as blocks of complete, well-formed lines, from plain or compressed files.

A CSV reader may silently pad or truncate ragged rows. Fields can therefore be counted here, on the raw bytes, before
parsing. Each line keeps its number, so that an error can name its position.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adasparse_cli.choices import Encoding
from adasparse_cli.errors import DataError
from adasparse_cli.raw.file_kind import damaged, require_utf8
from adasparse_cli.raw.packing import DamagedError, Unpacked
from adasparse_cli.raw.ranges import next_lines, to_range
from adasparse_cli.raw.rejected import NOT_UTF8, Reject
from adasparse_cli.raw.shards import Shard

# Below the allocator's threshold above which each block would be mapped, and its pages zeroed, again.
BLOCK_BYTES = 16 << 20
BOM = codecs.BOM_UTF8
# Longer lines are rejected: a file without line breaks must not be read into memory as one line.
LONGEST_LINE = 8 << 20
# A quote that is still open after this many lines is treated as an error of its line.
LONGEST_RECORD = 1000
# Replaces a separator of several characters while a file is read; a line that contains this byte has too many columns.
_ONE_BYTE = b"\x1f"
# the limit of Python's csv module applies to all readers of the process; this package limits lines
csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))


@dataclass(frozen=True, slots=True)
class Block:
    """Complete rows and the line where each begins (the header is line 1). Each row ends with one newline, at `ends`."""

    data: bytes
    numbers: np.ndarray
    ends: np.ndarray

    def texts(self) -> Iterator[str]:
        """The rows as texts, without the newline at the end."""
        start = 0
        for end in self.ends.tolist():
            yield self.data[start:end].decode("utf-8")
            start = end + 1


@dataclass(frozen=True, slots=True)
class Lines:
    """Raw lines as in the file and their numbers; the last one ends with a newline.

    Args:
        ends: positions of the newlines that end rows, if rows may contain newlines and have been found already. `numbers` are
            then the numbers of the rows' first lines. None if each line is a row.
    """

    data: bytes
    numbers: np.ndarray
    ends: np.ndarray | None = None


@dataclass
class TextFile:
    """A text file, plain or compressed.

    Args:
        path: path of the file.
        separator: between fields; None if lines have no fields (NDJSON). A separator of several bytes, for example `::`,
            becomes one byte, which is then the `separator` of the blocks.
        rejects: rejected rows are added here.
        quoted: whether fields may be in double quotes. The caller then counts the fields of blocks with quotes,
            row by row.
        quoted_newlines: whether fields in double quotes may contain line breaks.
        name: name of the file in rejected rows; the file's name if empty.
        names: the columns of a file without a header line; empty if the first line names them.
        encoding: of the file; blocks are in UTF-8.
    """

    path: Path
    separator: bytes | None
    rejects: list[Reject]
    quoted: bool = False
    quoted_newlines: bool = False
    name: str = ""
    names: tuple[str, ...] = ()
    encoding: Encoding = Encoding.utf_8
    header: bytes = b""
    consumed: int = 0
    _counted: int = field(default=0, init=False)
    _written: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self.name = self.name or self.path.name
        if self.separator is not None and len(self.separator) > 1:
            self.separator, self._written = _ONE_BYTE, self.separator
        self.first_line = self._read_first_line()
        if self.separator is not None:
            self.header = b"" if self.names else self.first_line
            self._counted = len(self.columns) - 1
            if self.names:
                self._require_columns(self.separator)

    @property
    def columns(self) -> list[str]:
        """The column names in the header."""
        assert self.separator is not None
        if self.names:
            return list(self.names)
        text, separator = self.header.decode("utf-8", "replace"), self.separator.decode()
        if not self.quoted:
            return [name.strip() for name in text.split(separator)]
        try:
            return [name.strip() for name in next(csv.reader([text], delimiter=separator, strict=True))]
        except csv.Error:
            raise DataError(
                f"{self.path}:1: the header has a quote that does not close, or closes too early",
                hint="correct the first line; names of columns cannot hold line breaks",
            ) from None

    def blocks(self, block_bytes: int = BLOCK_BYTES, shard: Shard | None = None) -> Iterator[Block]:
        """The rows after the header, in order; bad rows are rejected, blank lines skipped.

        Args:
            shard: only the rows of this part; None for all rows.
        """
        parts = self.parts(block_bytes) if shard is None or shard.end is None else self.part(shard)
        for lines in self._joined(parts) if self.quoted_newlines else parts:
            block = self.checked(lines)
            if len(block.numbers):
                yield block

    def parts(self, block_bytes: int = BLOCK_BYTES) -> Iterator[Lines]:
        """The entire file in order, in parts that `checked` can process in parallel.

        A part has the lines that begin in `block_bytes` of the content; the ranges are the same in every reading.
        """
        place, line = 0, 1
        with Unpacked(self.path) as file:
            while (part := self._lines(file, block_bytes - place % block_bytes, line)) is not None:
                lines, read, count = part
                self.consumed = file.position
                if lines.data:
                    yield lines
                place, line = place + read, line + count
            self.consumed = file.position

    def part(self, shard: Shard) -> Iterator[Lines]:
        """The lines of one range of the file, as `parts` yields them; all parts if the shard is the entire file."""
        if shard.end is None:
            yield from self.parts()
            return
        with Unpacked(self.path) as file:
            place = to_range(file, shard.start)
            if place < shard.end and (part := self._lines(file, shard.end - place, shard.line)) is not None:
                lines, _, _ = part
                if lines.data:
                    yield lines

    @property
    def divisible(self) -> bool:
        """Whether ranges of bytes can be read on their own: the file is not compressed, and each line is a row."""
        with Unpacked(self.path) as file:
            return file.packing is None and not self.quoted_newlines

    def _lines(self, file: Unpacked, size: int, line: int) -> tuple[Lines, int, int] | None:
        """The lines that begin in the next `size` bytes, their bytes and number in the file; None at the end."""
        try:
            data, read, too_long = next_lines(file, size, LONGEST_LINE)
        except DamagedError as error:
            raise damaged(self.path, line, error) from None
        if not read:
            return None
        if line == 1:
            data = data.removeprefix(BOM)
        data = self._plain(data)
        # several times as fast as bytes.count if there are many matches
        count = int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == 10))
        lines = Lines(data, np.arange(line, line + count))
        if too_long is not None:
            self.reject(line + count, "", too_long.decode("utf-8", "replace"), _too_long())
            count += 1
        return lines, read, count

    def reject(self, line: int, column: str, value: str, reason: str) -> None:
        """Reject a row."""
        if self._written:
            value = value.replace(_ONE_BYTE.decode(), self._written.decode())
        self.rejects.append(Reject(source=self.name, line=line, column=column, value=value[:80], reason=reason))

    def checked(self, lines: Lines) -> Block:
        """Remove lines that are not rows. Thread-safe."""
        data, numbers = lines.data, lines.numbers
        if lines.ends is None and b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        codes = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(codes == 10) if lines.ends is None else lines.ends
        starts = np.concatenate([[0], ends[:-1] + 1])
        keep = ends > starts

        def drop(rows: np.ndarray, reason: str) -> None:
            for k in rows[keep[rows]].tolist():
                keep[k] = False
                start = int(starts[k])
                text = data[start : min(int(ends[k]), start + 400)].decode("utf-8", "replace")
                self.reject(int(numbers[k]), "", text, reason)

        def rows_with(byte: int) -> np.ndarray:
            return np.unique(np.searchsorted(ends, np.flatnonzero(codes == byte)))

        drop(np.flatnonzero(ends - starts > LONGEST_LINE), _too_long())
        if b"\r" in data:
            rows = rows_with(13)
            if self.quoted_newlines:
                rows = np.setdiff1d(rows, rows_with(34))
            drop(rows, "has a carriage return inside a line")
        if self.separator is not None:
            if self.header:
                if numbers[0] == 1:
                    keep[0] = False
                drop(self._headers(data, starts, ends, keep), "repeats the header")
            if not (self.quoted and b'"' in data):
                counts = _separators(codes, self.separator[0], ends)
                for count in np.unique(counts[keep & (counts != self._counted)]).tolist():
                    drop(np.flatnonzero(counts == count), self._ragged(count))
        if b"\0" in data:
            drop(rows_with(0), "holds a NUL byte")
        if not data.isascii():
            if BOM in data:
                marked = [k for k in np.flatnonzero(keep).tolist() if data.startswith(BOM, starts[k], ends[k])]
                drop(np.array(marked, dtype=np.int64), "begins with a byte order mark")
            if not _is_utf8(data):
                wrong = [k for k in np.flatnonzero(keep).tolist() if not _is_utf8(data[starts[k] : ends[k]])]
                drop(np.array(wrong, dtype=np.int64), NOT_UTF8)
        if keep.all():
            return Block(data, numbers, ends)
        kept = b"".join(data[start : end + 1] for start, end in zip(starts[keep], ends[keep], strict=True))
        numbers, ends = numbers[keep], np.cumsum((ends - starts + 1)[keep]) - 1
        if self.quoted and len(numbers) and b'"' in data and b'"' not in kept:
            # rows with quotes have been removed, so the others are counted here
            return self.checked(Lines(kept, numbers, ends))
        return Block(kept, numbers, ends)

    def _headers(self, data: bytes, starts: np.ndarray, ends: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """The rows that repeat the header."""
        codes = np.frombuffer(data, dtype=np.uint8)
        alike = keep & (ends - starts == len(self.header))
        alike[alike] = codes[starts[alike]] == self.header[0]
        found = [k for k in np.flatnonzero(alike).tolist() if data[starts[k] : ends[k]] == self.header]
        return np.array(found, dtype=np.int64)

    def _ragged(self, separators: int) -> str:
        many = "too many" if separators > self._counted else "too few"
        where = "are expected" if self.names else "the header has"
        expected = f"{self._counted + 1} {where}" if self.names else f"{where} {self._counted + 1}"
        return f"{many} columns: {separators + 1} where {expected}"

    def _plain(self, data: bytes) -> bytes:
        """Whole lines in UTF-8, with one byte between fields."""
        if self.encoding is Encoding.latin_1 and not data.isascii():
            data = data.decode("latin-1").encode("utf-8")
        return data.replace(self._written, _ONE_BYTE) if self._written else data

    def _require_columns(self, separator: bytes) -> None:
        """Check that the first line of a file without header line has the expected number of columns."""
        found = self.first_line.count(separator) + 1
        if found != len(self.names) and not (self.quoted and b'"' in self.first_line):
            shown = ", ".join(self.names[:5]) + (", …" if len(self.names) > 5 else "")
            raise DataError(
                f"{self.path}:1: {found} columns, where {len(self.names)} are expected ({shown})",
                hint="check that it is the right file and version; the setting `header` names the columns",
            )

    def _joined(self, parts: Iterator[Lines]) -> Iterator[Lines]:
        """The same lines, with the lines of a record joined to one row; a record that continues in the next part is moved there."""
        waiting = Lines(b"", np.zeros(0, dtype=np.int64))
        part = next(parts, None)
        while part is not None:
            upcoming = next(parts, None)
            data = waiting.data + part.data.replace(b"\r\n", b"\n")
            numbers = np.concatenate([waiting.numbers, part.numbers])
            ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10)
            inside, whole = self._inside_records(data, ends, last=upcoming is None)
            last = int(ends[whole - 1]) + 1 if whole else 0
            waiting = Lines(data[last:], numbers[whole:])
            if whole:
                closing = ~inside[:whole]
                opening = np.concatenate([[True], closing[:-1]])
                yield Lines(data[:last], numbers[:whole][opening], ends[:whole][closing])
            part = upcoming

    def _inside_records(self, data: bytes, ends: np.ndarray, *, last: bool) -> tuple[np.ndarray, int]:
        """For each line, whether its row continues in the next one; and the number of lines that form complete rows.

        A line with an odd number of quotes opens a record, and the next such line closes it, if together they are a row.
        Otherwise the quote is an error of its line only.
        """
        starts = np.concatenate([[0], ends[:-1] + 1])
        odd = np.flatnonzero(_separators(np.frombuffer(data, dtype=np.uint8), 34, ends) % 2).tolist()
        inside, k = np.zeros(len(ends), dtype=bool), 0
        while k < len(odd):
            first = odd[k]
            if self._fields(data[starts[first] : ends[first]]) is None:
                if k + 1 == len(odd):
                    if not last and len(ends) - first < LONGEST_RECORD and len(data) - starts[first] < LONGEST_LINE:
                        return inside, first
                else:
                    closing = odd[k + 1]
                    near = closing - first < LONGEST_RECORD and ends[closing] - starts[first] < LONGEST_LINE
                    if near and self._fields(data[starts[first] : ends[closing]]) == self._counted + 1:
                        inside[first:closing] = True
                        k += 1
            k += 1
        return inside, len(ends)

    def _fields(self, row: bytes) -> int | None:
        """The number of fields in a row; None if a quote is not closed."""
        assert self.separator is not None
        try:
            text = row.decode("utf-8", "replace")
            return len(next(csv.reader([text], delimiter=self.separator.decode(), strict=True)))
        except csv.Error:
            return None

    def _read_first_line(self) -> bytes:
        with Unpacked(self.path) as file:
            head = self._read(file, 1 << 16)
            if head and b"\n" not in head:
                head += self._read(file, LONGEST_LINE, to_line_end=True)
        if not head:
            raise DataError(f"{self.path} is empty", hint="the file was not copied completely; get it again")
        if self.encoding is Encoding.utf_8:
            require_utf8(self.path, head, header=self.separator is not None)
        line = self._plain(head.removeprefix(BOM).partition(b"\n")[0].removesuffix(b"\r"))
        if self.separator is None:
            return line
        if b"\r" in line:
            raise DataError(
                f"{self.path}:1: lines end with a carriage return alone, as on old Macs",
                hint=f"tr '\\r' '\\n' < {self.path.name} > NEW converts it",
            )
        if len(head) > LONGEST_LINE and b"\n" not in head:
            raise DataError(
                f"{self.path}:1: the header {_too_long()}", hint="the file has no line breaks; get it again"
            )
        if not line.strip():
            what, hint = (
                ("the first line is empty", "get the file again")
                if self.names
                else (
                    "the header line is missing",
                    "the first line must name the columns",
                )
            )
            raise DataError(f"{self.path}:1: {what}", hint=hint)
        return line

    def _read(self, file: Unpacked, size: int, *, to_line_end: bool = False) -> bytes:
        try:
            return file.readline(size) if to_line_end else file.read(size)
        except DamagedError as error:
            raise damaged(self.path, 1, error) from None


def _too_long() -> str:
    return f"is longer than {LONGEST_LINE:,} bytes"


def _separators(codes: np.ndarray, separator: int, ends: np.ndarray) -> np.ndarray:
    """The number of separators in each line."""
    return np.diff(np.searchsorted(np.flatnonzero(codes == separator), ends), prepend=0)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
