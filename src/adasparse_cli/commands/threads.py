"""How threads wait for one another, which must be decided before torch is loaded."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}


def wait_quietly_when_busy(environment: MutableMapping[str, str]) -> bool:
    """Let waiting threads sleep where other processes use the cores. Threads that spin take the core from what they wait for.

    What the environment says already stays; results do not depend on it.

    Returns:
        Whether it was set.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if environment.keys() & _POLICY.keys() or os.getloadavg()[0] < cores:
        return False
    environment.update(_POLICY)
    return True
