"""Settings of the C library's memory allocator. Floor 0: neither torch nor NumPy."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_large_blocks() -> None:
    """Let the C library reuse large temporary blocks instead of returning them at once.

    By default each block of a step is mapped again, and its first use costs a page fault per 4 KiB. This applies to blocks
    of any size: the gradients of the private weights of hundreds of domains are hundreds of megabytes.
    It has no effect if the C library is not glibc.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
