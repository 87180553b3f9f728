"""The machine that training runs on: device, threads, memory allocation."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import torch

from adasparse_cli.errors import UsageError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def chosen_device(name: str) -> torch.device:
    """`auto` is a GPU when there is one, else the CPU.

    Raises:
        UsageError: the device asked for is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device={name} is no device", hint="use auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device={name}: no GPU can be used here", hint="use device=cpu, or auto")
    return device


def set_threads(threads: int | None) -> int:
    """Use `threads` cores for arithmetic (None: all that torch finds) and say how many."""
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


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


def free_memory(device: torch.device) -> float:
    """Bytes that can still be had on the device; infinity where nobody says."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else ():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float("inf")
