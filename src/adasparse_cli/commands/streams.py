"""Standard output and error that fail neither for a character that their encoding lacks nor for a reader that went away."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

# What our own texts hold beyond ASCII, where the output's encoding has no such character.
_PLAIN = {"±": "+/-", "×": "x", "–": "-", "−": "-", "…": "...", "·": "|", "→": "->", "≤": "<=", "≥": ">="}


def _encodable(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that the output's encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking), error.end


class _UnreadStream(io.FileIO):
    """A file descriptor whose reader may go away (`adasparse … | head`, a closed terminal): the work continues unread.

    Any other fault, such as a full disk, is raised once; what is left in buffers is dropped then.
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
    """Make output fail neither for a character that its encoding lacks nor for a reader that has gone away."""
    codecs.register_error("adasparse", _encodable)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller; a file opened later must not take its place
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # as long as the process
        elif stream is getattr(sys, f"__{name}__"):
            stream.flush()
            binary = io.BufferedWriter(_UnreadStream(descriptor, "w", closefd=False))
            lines = stream.line_buffering or name == "stderr"
            wrapped = io.TextIOWrapper(binary, stream.encoding, errors="adasparse", line_buffering=lines)
            setattr(sys, name, wrapped)
