"""Checks of the machine and the installation."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from adasparse_cli.choices import MatmulPrecision
from adasparse_cli.config.compose import compose
from adasparse_cli.errors import AdasparseError
from adasparse_cli.machine.resources import matmul_precision

_GIB = 2**30


def examine() -> list[dict[str, Any]]:
    """One row per check: its name, its result, and whether it passed."""
    return [
        _check("python", platform.python_version(), sys.version_info >= (3, 11)),
        _check("system", platform.platform(), True),
        *(_check(name, version(name), True) for name in ("torch", "polars", "hydra-core")),
        _check("torch threads", torch.get_num_threads(), torch.get_num_threads() >= 1),
        _check("GPU", torch.cuda.get_device_name() if torch.cuda.is_available() else "none; the CPU is used", True),
        _memory(),
        _disk(),
        _writable(),
        _settings(),
        *(_check(f"matrix product ({name})", f"{_gigaflops(name):.0f} GFLOP/s", True) for name in MatmulPrecision),
    ]


def _check(name: str, result: Any, passed: bool) -> dict[str, Any]:
    return {"check": name, "result": str(result), "passed": passed}


def _memory() -> dict[str, Any]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return _check("memory", f"{total:.1f} GiB (the default data need 2 GiB)", total >= 2)


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    return _check("free disk space", f"{free:.1f} GiB (the default data need 1 GiB)", free >= 1)


def _writable() -> dict[str, Any]:
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            return _check("current folder", "writable", True)
    except OSError as error:
        return _check("current folder", f"not writable: {error}", False)


def _settings() -> dict[str, Any]:
    try:
        return _check("packaged settings", f"valid, default model {compose('train', [])['model']['name']}", True)
    except AdasparseError as error:
        return _check("packaged settings", error.message, False)


def _gigaflops(precision: MatmulPrecision, seconds: float = 0.4, width: int = 512) -> float:
    a, b = torch.randn(2048, width), torch.randn(width, width)
    with matmul_precision(precision):
        a @ b  # the first product also selects the kernel
        done, started = 0, time.monotonic()
        while time.monotonic() - started < seconds:
            a @ b
            done += 1
    return 2 * done * 2048 * width**2 / (time.monotonic() - started) / 1e9
