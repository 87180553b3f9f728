"""Complete lines from ranges of a file's content. A line belongs to the range in which it begins."""

from __future__ import annotations

import io
import os

from adasparse_cli.raw.packing import Unpacked

_CHUNK = 1 << 20


def next_lines(file: Unpacked, size: int, longest: int) -> tuple[bytes, int, bytes | None]:
    """The lines that begin in the next `size` bytes, if a line begins at the current place.

    Args:
        longest: number of bytes that a line may have.

    Returns:
        Their text, with a newline at the end; the number of bytes that were read, 0 at the end of the file; the start of a
        last line that is longer, or None. The text does not have that line.

    Raises:
        DamagedError: the bytes cannot be decompressed.
    """
    # reading up to the line end at once avoids copying
    ahead = _to_line_end(file, size - 1)
    data = file.read(size - 1 + ahead if ahead else size)
    read = len(data)
    if not data or data.endswith(b"\n"):
        return data, read, None
    rest = file.readline(longest + 1)
    read += len(rest)
    if len(rest) <= longest or rest.endswith(b"\n"):
        return data + (rest if rest.endswith(b"\n") else rest + b"\n"), read, None
    whole = data.rfind(b"\n") + 1
    return data[:whole], read + skip_line(file), (data[whole:] + rest)[:400]


def skip_line(file: Unpacked) -> int:
    """Read to the end of the current line; the number of bytes that were read."""
    read = 0
    while rest := file.readline(_CHUNK):
        read += len(rest)
        if rest.endswith(b"\n"):
            break
    return read


def to_range(file: Unpacked, start: int) -> int:
    """Go to the first line that begins at byte `start` of an uncompressed file or later; the place of that line."""
    if start:
        file.content.seek(start - 1)
        return start - 1 + skip_line(file)
    return 0


def _to_line_end(file: Unpacked, ahead: int) -> int:
    """The distance to the first line end after the next `ahead` bytes, which avoids copying them together; 0 if unknown."""
    content = file.content
    if file.packing is not None or not isinstance(content, io.BufferedReader):
        return 0
    return os.pread(content.fileno(), 1 << 16, content.tell() + ahead).find(b"\n") + 1
