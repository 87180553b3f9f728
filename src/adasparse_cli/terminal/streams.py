"""Standard output and error that survive unencodable characters and readers that close early."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

# Replacements for the non-ASCII characters of our texts, if the encoding of the output lacks them.
_PLAIN = {"±": "+/-", "×": "x", "–": "-", "−": "-", "…": "...", "·": "|", "→": "->", "≤": "<=", "≥": ">="}


def _encodable(error: UnicodeError) -> tuple[str, int]:
    """Replacement for characters that the encoding of the output lacks."""
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in missing), error.end


class _UnreadStream(io.FileIO):
    """A file descriptor whose reader may close (`adasparse … | head`, a closed terminal). The work continues without it.

    Any other error, such as a full disk, is raised once. Buffered output is dropped after it.
    """

    _failed = False

    def write(self, data: Buffer, /) -> int:
        try:
            if not self._failed:
                return super().write(data)
        except OSError as error:
            self._failed = True
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Replace standard output and error by streams that survive unencodable characters and closed readers."""
    codecs.register_error("adasparse", _encodable)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller; a file opened later must not get its descriptor
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # open until the process ends
        elif stream is getattr(sys, f"__{name}__"):
            stream.flush()
            binary = io.BufferedWriter(_UnreadStream(descriptor, "w", closefd=False))
            lines = stream.line_buffering or name == "stderr"
            wrapped = io.TextIOWrapper(binary, stream.encoding, errors="adasparse", line_buffering=lines)
            setattr(sys, name, wrapped)
