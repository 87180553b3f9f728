"""How the C library hands out memory. Floor 0: neither torch nor NumPy."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_large_blocks() -> None:
    """Let the C library reuse large temporary blocks instead of returning them at once.

    By default each block of a step is mapped anew, and its first touch costs a page fault per 4 KiB. Blocks of any
    size are meant: the gradients of hundreds of domains' own weights are hundreds of megabytes.
    Without effect where the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
