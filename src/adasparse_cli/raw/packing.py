"""The content of a file, decompressed while it is read: gzip, zip, bzip2, xz, Zstandard, or uncompressed.

The compression is recognised by the first bytes, not by the file's name. Content is produced on demand, so an
archive of any uncompressed size needs bounded memory. Nothing from an archive is written to disk.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from adasparse_cli.errors import DataError

# Uncompressed bytes per compressed byte in tables of text; used to estimate disk space.
EXPANSION = {".gz": 8, ".zip": 8, ".bz2": 10, ".xz": 10, ".zst": 8}
_GZIP, _ZIP, _EMPTY_ZIP, _XZ, _ZSTD = b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_BZIP2, _BZIP2_BLOCKS = b"BZh", (b"1AY&SY", b"\x17rE8P\x90")
_UNREADABLE = {
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x1f\x9d": "compress (.Z)",
    b"\xff\x06\0\0sNaPpY": "Snappy",
}
_CHUNK = 1 << 18
# Far above the need of any preset of xz (65 MiB); a header may claim gigabytes.
XZ_MEMORY = 512 << 20


class DamagedError(Exception):
    """The compressed bytes are damaged or incomplete; `position` is the byte of the file that reading has reached."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Unpacked:
    """A file opened for reading its content from the start. Use it as a context manager.

    Args:
        path: the file.

    Raises:
        DataError: on entering, if the file does not exist or its compression is not supported.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.packing: str | None = None

    def __enter__(self) -> Self:
        if not self.path.exists():
            raise DataError(f"{self.path} does not exist", hint="check the path; it is relative to the current folder")
        if not self.path.is_file():
            raise DataError(f"{self.path} is not a regular file", hint="name a file, or a folder of files")
        self._raw = self.path.open("rb")
        try:
            self.content = self._opened()
        except BaseException:
            self._raw.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    @property
    def position(self) -> int:
        """Bytes of the file on disk that reading has consumed."""
        return self._raw.tell()

    def read(self, size: int) -> bytes:
        """The next `size` bytes of content, fewer only at the end.

        Raises:
            DamagedError: the bytes cannot be decompressed.
        """
        return self._try(lambda: self.content.read(size))

    def readline(self, limit: int) -> bytes:
        """The content up to and including the next line break, at most `limit` bytes.

        Raises:
            DamagedError: the bytes cannot be decompressed.
        """
        return self._try(lambda: self.content.readline(limit))

    def _try(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except Exception as error:
            if self.packing is None or _is_of_the_machine(error):
                raise
            raise DamagedError(str(error) or type(error).__name__, self.position) from None

    def _opened(self) -> IO[bytes]:
        magic = self._raw.read(10)
        self._raw.seek(0)
        for start, name in _UNREADABLE.items():
            if magic.startswith(start):
                raise DataError(
                    f"{self.path} is compressed with {name}, which is not supported",
                    hint="unpack it, or compress it with gzip, zip, bzip2, xz or zstd",
                )
        if magic.startswith(_GZIP):
            self.packing = "gzip"
            return gzip.open(self._raw)  # type: ignore[return-value]
        if magic.startswith((_ZIP, _EMPTY_ZIP)):
            self.packing = "zip"
            return self._member()
        if magic.startswith(_BZIP2) and magic[4:10] in _BZIP2_BLOCKS:
            self.packing = "bzip2"
            return _buffered(self._raw, bz2.BZ2Decompressor)
        if magic.startswith(_XZ):
            self.packing = "xz"
            return _buffered(self._raw, lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY))
        if magic.startswith(_ZSTD) or (magic[1:4] == b"\x2a\x4d\x18" and 0x50 <= magic[0] <= 0x5F):
            self.packing = "zstd"
            return _buffered(self._raw, _zstd_decoder())
        return self._raw

    def _member(self) -> IO[bytes]:
        try:
            archive = zipfile.ZipFile(self._raw)
            members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
            if len(members) == 1:
                return archive.open(members[0])
        except Exception as error:
            if _is_of_the_machine(error):
                raise
            raise DataError(f"{self.path} is not a readable zip file: {error}", hint="get the file again") from None
        names = ", ".join(info.filename[:80] for info in members[:5]) or "none"
        if any(info.filename == "[Content_Types].xml" for info in members):
            raise DataError(f"{self.path} is an Office document, not a table", hint="save the sheet as CSV (UTF-8)")
        raise DataError(
            f"{self.path} holds {len(members)} files ({names}), but must hold one",
            hint="unpack it and name the file, or the folder",
        )


def _is_of_the_machine(error: Exception) -> bool:
    """Whether disk or memory failed. The libraries raise a dozen other types for damaged bytes, and seek anywhere."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in (None, errno.EINVAL))


class _Decoder(Protocol):
    """The common interface of the decompressors of bz2, lzma and zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Stream(io.RawIOBase):
    """Consecutive compressed streams; a stream that ends too early is an error."""

    def __init__(self, raw: IO[bytes], decoder: Callable[[], _Decoder]) -> None:
        self._raw, self._new = raw, decoder
        self._decoder = decoder()
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._decoder.eof:
                data = self._decoder.unused_data or self._raw.read(_CHUNK)
                if not data:
                    return 0
                self._decoder, self._begun = self._new(), False
            elif self._decoder.needs_input:
                data = self._raw.read(_CHUNK)
                if not data:
                    if self._begun:
                        raise EOFError("the packed data end too early")
                    return 0
            else:
                data = b""
            self._begun = True
            found = self._decoder.decompress(data, len(buffer))
            if found:
                buffer[: len(found)] = found
                return len(found)


def _buffered(raw: IO[bytes], decoder: Callable[[], _Decoder]) -> IO[bytes]:
    return io.BufferedReader(_Stream(raw, decoder), buffer_size=_CHUNK)


def _zstd_decoder() -> Callable[[], _Decoder]:
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdDecompressor
    else:
        from backports.zstd import ZstdDecompressor

    return ZstdDecompressor
