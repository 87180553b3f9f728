"""Ports for programs of others that must be told one, and open it themselves a moment later."""

from __future__ import annotations

import contextlib
import os
import socket

# Below the range from which Linux takes ports for connections (32768 and up), so that no connection can take a port
# between its choice and its use. Test processes that run at once take them from different hundreds.
FIRST, EACH = 21000, 100


def free_ports(number: int) -> list[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = FIRST + EACH * (worker % 100)
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in range(start, start + EACH):
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == number:
                return found
    raise OSError(f"fewer than {number} free ports from {start} to {start + EACH}")
