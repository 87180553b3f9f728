"""How threads wait for each other. This must be chosen before torch is loaded."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
# Threads sleep from this load per core on. At 0.65 busy cores per core, spinning took 1.6 to 2.7 times as long as sleeping
# (benchmarks/waiting.py).
BUSY_LOAD = 0.5


def wait_quietly_when_busy(environment: MutableMapping[str, str]) -> bool:
    """Let waiting threads sleep if other processes use the cores, because spinning threads take the cores that they wait for.

    Values that the environment already has are kept. Results do not depend on the policy.

    Returns:
        Whether the policy was set.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if environment.keys() & _POLICY.keys() or os.getloadavg()[0] < BUSY_LOAD * cores:
        return False
    environment.update(_POLICY)
    return True
