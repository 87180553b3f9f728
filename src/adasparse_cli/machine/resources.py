"""The machine that training runs on: device, threads, memory pages."""

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
    """The device of a name. `auto` is a GPU if one is available, else the CPU.

    Raises:
        UsageError: the device is unknown or not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device: device={name}", hint="use auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device={name}: no GPU is available", hint="use device=cpu or device=auto")
    return device


def set_threads(threads: int | None) -> int:
    """Set the number of torch threads (None: all cores that torch finds), and return it."""
    cores = _cores_found()  # must be read before the first change
    torch.set_num_threads(threads or cores)
    return torch.get_num_threads()


def busy_warning(threads: int) -> str | None:
    """A warning if other processes use the cores that the threads of a run need; None otherwise.

    Threads wait for each other at the end of each matrix product. By default they spin: with more threads than free cores,
    a step can take several times as long as with one thread.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    if threads == 1 or load <= cores:
        return None
    sleeps = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    faster = "" if sleeps else "; set OMP_WAIT_POLICY=PASSIVE in the environment, or threads=1"
    return (
        f"warning: other processes use the cores (load {load:.1f} on {cores} cores), so this run with {threads} threads "
        f"will be slow{faster}"
    )


@functools.cache
def _cores_found() -> int:
    return torch.get_num_threads()


@contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Compute matrix products of fp32 numbers with this precision inside the context.

    No effect if the device has no units for TF32 or bf16.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def prefer_large_pages(table: Tensor) -> None:
    """Request pages of 2 MiB for a table with random row access.

    With pages of 4 KiB, nearly every row access also misses the processor's page cache (TLB).
    No effect if the system has no such pages, or for a table on another device.
    """
    if sys.platform != "linux" or table.device.type != "cpu":
        return
    first = -(-table.data_ptr() // _LARGE_PAGE) * _LARGE_PAGE
    length = table.data_ptr() + table.nbytes - first
    if length < _LARGE_PAGE:
        return
    library = ctypes.CDLL(None)
    # kernels from 6.1 move written pages at once, older kernels in the background
    for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
        library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), advice)


def free_memory(device: torch.device) -> float:
    """Bytes of memory available on the device; infinity if unknown."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else ():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float("inf")
