"""Raw text as blocks of whole, well-formed lines, whatever it is packed in.

A CSV reader may fill or cut ragged rows in silence, so fields can be counted here, on the raw bytes, before
anything is parsed; and each line keeps its number, so that a fault can be named by its place.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from adasparse_cli.errors import DataError
from adasparse_cli.prep.recipe import Reject

# Below the size from which each block would be mapped, and its pages zeroed, anew.
BLOCK_BYTES = 16 << 20
# A file without line breaks must not be read into memory as one line.
LONGEST_LINE = 8 << 20
_GZIP, _ZIP, BOM = b"\x1f\x8b", b"PK\x03\x04", b"\xef\xbb\xbf"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, each ended by one newline, and the number of each in its file (the header is line 1)."""

    data: bytes
    numbers: np.ndarray


@dataclass(frozen=True, slots=True)
class Lines:
    """Raw lines as they stand in the file, the last one ended by a newline, and the number of each."""

    data: bytes
    numbers: np.ndarray


@dataclass
class TextFile:
    """A text file with a header line, plain or in gzip or zip.

    Args:
        path: where it lies.
        separator: one byte between fields; None where lines are no fields (NDJSON).
        rejects: rows set aside are added here.
        quoted: whether fields may stand in double quotes; blocks that hold one are then left for the
            caller to count, line by line.
    """

    path: Path
    separator: bytes | None
    rejects: list[Reject]
    quoted: bool = False
    header: bytes = b""
    consumed: int = 0
    _counted: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.path.stat().st_size == 0:
            raise DataError(f"{self.path} is empty", hint="the file was not copied whole; get it again")
        if self.separator is not None:
            self.header = self._read_header()
            self._counted = len(self.columns) - 1

    @property
    def columns(self) -> list[str]:
        """The header's names."""
        assert self.separator is not None
        text, separator = self.header.decode("utf-8", "replace"), self.separator.decode()
        names = next(csv.reader([text], delimiter=separator)) if self.quoted else text.split(separator)
        return [name.strip() for name in names]

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
        """The lines after the header, in order; bad ones are rejected, blank ones left out."""
        for lines in self.parts(block_bytes):
            block = self.checked(lines)
            if len(block.numbers):
                yield block

    def parts(self, block_bytes: int = BLOCK_BYTES) -> Iterator[Lines]:
        """The whole file in order, in parts of about so many bytes that `checked` can be asked about side by side."""
        line = 1
        with self._open() as (file, raw):
            while data := self._read(file, block_bytes + _to_line_end(file, block_bytes), line):
                if not data.endswith(b"\n"):
                    rest = self._read_line(file, line)
                    data += rest if rest.endswith(b"\n") else rest + b"\n"
                if line == 1:
                    data = data.removeprefix(BOM)
                self.consumed = raw.tell()
                # several times as fast as bytes.count where hits are many
                count = int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == 10))
                yield Lines(data, np.arange(line, line + count))
                line += count
            self.consumed = raw.tell()

    def reject(self, line: int, column: str, value: str, reason: str) -> None:
        """Set a row aside."""
        self.rejects.append(Reject(source=self.path.name, line=line, column=column, value=value[:80], reason=reason))

    def checked(self, lines: Lines) -> Block:
        """Take out what is no row. May be called from several threads at once."""
        data, numbers = lines.data, lines.numbers
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        codes = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(codes == 10)
        starts = np.concatenate([[0], ends[:-1] + 1])
        keep = ends > starts
        if self.separator is not None:
            if numbers[0] == 1:
                keep[0] = False
            self._drop_headers(data, starts, ends, keep, numbers)
            if not (self.quoted and b'"' in data):
                counts = _separators(codes, self.separator[0], ends)
                for k in np.flatnonzero(keep & (counts != self._counted)):
                    self._drop(data, starts, ends, keep, numbers, int(k), self._ragged(int(counts[k])))
        if b"\0" in data:
            for k in np.unique(np.searchsorted(ends, np.flatnonzero(codes == 0))):
                self._drop(data, starts, ends, keep, numbers, int(k), "holds a NUL byte")
        if not data.isascii():
            if BOM in data:
                for k in np.flatnonzero(keep):
                    if data.startswith(BOM, starts[k], ends[k]):
                        self._drop(data, starts, ends, keep, numbers, int(k), "begins with a byte order mark")
            if not _is_utf8(data):
                for k in np.flatnonzero(keep):
                    if not _is_utf8(data[starts[k] : ends[k]]):
                        self._drop(data, starts, ends, keep, numbers, int(k), "is no UTF-8")
        if not keep.all():
            data = b"".join(data[start : end + 1] for start, end in zip(starts[keep], ends[keep], strict=True))
        return Block(data, numbers[keep])

    def _drop_headers(
        self, data: bytes, starts: np.ndarray, ends: np.ndarray, keep: np.ndarray, numbers: np.ndarray
    ) -> None:
        codes = np.frombuffer(data, dtype=np.uint8)
        alike = keep & (ends - starts == len(self.header))
        alike[alike] = codes[starts[alike]] == self.header[0]
        for k in np.flatnonzero(alike):
            if data[starts[k] : ends[k]] == self.header:
                self._drop(data, starts, ends, keep, numbers, int(k), "repeats the header")

    def _drop(
        self,
        data: bytes,
        starts: np.ndarray,
        ends: np.ndarray,
        keep: np.ndarray,
        numbers: np.ndarray,
        k: int,
        reason: str,
    ) -> None:
        if keep[k]:
            keep[k] = False
            start = int(starts[k])
            self.reject(
                int(numbers[k]), "", data[start : min(int(ends[k]), start + 80)].decode("utf-8", "replace"), reason
            )

    def _ragged(self, separators: int) -> str:
        many = "too many" if separators > self._counted else "too few"
        return f"{many} columns: {separators + 1} where the header has {self._counted + 1}"

    def _read_header(self) -> bytes:
        with self._open() as (file, _):
            head = self._read(file, 1 << 16, 1).removeprefix(BOM)
        line = head.partition(b"\n")[0].removesuffix(b"\r")
        if not line.strip():
            raise DataError(f"{self.path}:1: there is no header line", hint="the first line must name the columns")
        if b"\0" in line or not _is_utf8(line):
            raise DataError(f"{self.path}:1: this is no text in UTF-8", hint="write the table as UTF-8, or as Parquet")
        return line

    def _read(self, file: IO[bytes], size: int, line: int) -> bytes:
        try:
            return file.read(size)
        except _DAMAGED as error:
            raise self._damaged(line, error) from None

    def _read_line(self, file: IO[bytes], line: int) -> bytes:
        try:
            found = file.readline(LONGEST_LINE)
        except _DAMAGED as error:
            raise self._damaged(line, error) from None

        if len(found) == LONGEST_LINE and not found.endswith(b"\n"):
            raise DataError(
                f"{self.path}: a line after line {line} is longer than {LONGEST_LINE:,} bytes",
                hint="get the file again",
            )
        return found

    def _damaged(self, line: int, error: Exception) -> DataError:
        return DataError(f"{self.path} is damaged or cut off after line {line}: {error}", hint="get the file again")

    def _open(self) -> _Opened:
        return _Opened(self.path)


class _Opened:
    """A file's text, unpacked, together with the packed file, whose position tells how far reading has come."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> tuple[IO[bytes], IO[bytes]]:
        self.raw = self.path.open("rb")
        try:
            return self._unpacked(), self.raw
        except BaseException:
            self.raw.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def _unpacked(self) -> IO[bytes]:
        magic = self.raw.read(4)
        self.raw.seek(0)
        if magic.startswith(_GZIP):
            return gzip.open(self.raw)  # type: ignore[return-value]
        if magic == _ZIP:
            return self._member()
        if self.path.suffix in (".gz", ".zip"):
            kind = "gzip" if self.path.suffix == ".gz" else "zip"
            raise DataError(
                f"{self.path} is no {kind} file, in spite of its name", hint="get the file again, or rename it"
            )
        return self.raw

    def _member(self) -> IO[bytes]:
        try:
            archive = zipfile.ZipFile(self.raw)
            members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
            if len(members) != 1:
                names = ", ".join(info.filename for info in members[:5]) or "none"
                raise DataError(
                    f"{self.path} holds {len(members)} files ({names}), one is needed",
                    hint="unpack it and name the file",
                )
            return archive.open(members[0])
        except _DAMAGED as error:
            raise DataError(f"{self.path} is no readable zip file: {error}", hint="get the file again") from None


def _to_line_end(file: IO[bytes], ahead: int) -> int:
    """How far the first line end lies behind the next `ahead` bytes, so that they need not be copied together; 0 if unknown."""
    if not isinstance(file, io.BufferedReader):
        return 0
    return os.pread(file.fileno(), 1 << 16, file.tell() + ahead).find(b"\n") + 1


def _separators(codes: np.ndarray, separator: int, ends: np.ndarray) -> np.ndarray:
    """How many separators stand in each line."""
    return np.diff(np.searchsorted(np.flatnonzero(codes == separator), ends), prepend=0)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
