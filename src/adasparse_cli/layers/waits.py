"""Whether the host may wait for the device in a training step.

On a GPU the host runs ahead of the device, unless it asks for a number that the device computes: how many distinct ids a
batch has, whether a loss is finite. On a CPU such a question costs nothing, and its answer saves work. Where both ways are
written, `may_wait` chooses. docs/scaling.md lists what waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_forbidden = False


def may_wait(device: torch.device) -> bool:
    """Whether numbers on this device can be asked for at no cost."""
    return device.type == "cpu" and not _forbidden


@contextlib.contextmanager
def without_waits() -> Iterator[None]:
    """Inside, a CPU is treated like a GPU, for tests of the code that GPUs run."""
    global _forbidden
    before, _forbidden = _forbidden, True
    try:
        yield
    finally:
        _forbidden = before
