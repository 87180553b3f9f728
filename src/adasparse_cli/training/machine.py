"""The machine that training runs on: device, threads, pages of memory."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from adasparse_cli.choices import MatmulPrecision
from adasparse_cli.errors import UsageError

_MADV_HUGEPAGE, _MADV_COLLAPSE, _LARGE_PAGE = 14, 25, 2 << 20


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
    found = _cores_found()  # before it is changed: a later run may ask for all
    torch.set_num_threads(threads or found)
    return torch.get_num_threads()


def busy_warning(threads: int) -> str | None:
    """What to say where threads of one run will wait for cores that other processes use; None where they will not.

    Threads wait for one another at the end of each product. Unless they were asked to sleep, they spin: with more threads
    than free cores a step can take several times as long as with one thread.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    if threads == 1 or load <= cores:
        return None
    waits = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    faster = "" if waits else "; OMP_WAIT_POLICY=PASSIVE in the environment, or threads=1, is faster then"
    return (
        f"warning: the load of this machine is {load:.1f}, with {cores} cores, and this run uses {threads} threads: it is slow as "
        f"long as other processes use the cores{faster}"
    )


@functools.cache
def _cores_found() -> int:
    return torch.get_num_threads()


@contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Compute matrix products of fp32 numbers with this precision inside the context.

    Without effect where the device has no units for TF32 or bf16.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def prefer_large_pages(table: Tensor) -> None:
    """Ask for pages of 2 MiB under a table whose rows are read here and there.

    On pages of 4 KiB nearly every row read costs the processor a look for its page as well.
    Without effect where the system has no such pages, or for a table on another device.
    """
    if sys.platform != "linux" or table.device.type != "cpu":
        return
    first = -(-table.data_ptr() // _LARGE_PAGE) * _LARGE_PAGE
    length = table.data_ptr() + table.nbytes - first
    if length < _LARGE_PAGE:
        return
    library = ctypes.CDLL(None)
    # what has been written already is moved at once where the kernel can (6.1), else as time allows
    for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
        library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), advice)


def free_memory(device: torch.device) -> float:
    """Bytes that can still be had on the device; infinity where nobody says."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else ():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float("inf")
