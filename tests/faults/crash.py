"""Ends a process by SIGKILL just before its nth file event: open for writing, rename, remove, make or remove a folder.
Or ends it by SIGTERM, or fills its disk then.

Events are counted below the current folder alone, so that the imports of a process do not count. A run that is only
counted writes how many there were, so that kills can be spread over all of them, the moments between two renames included.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILL_AT, COUNT_TO, ROLE = "FAULTS_KILL_AT", "FAULTS_COUNT_TO", "FAULTS_ROLE"
TERM_AT, FILL_AT, FILLER = "FAULTS_TERM_AT", "FAULTS_FILL_AT", "FAULTS_FILL"


def install() -> None:
    """Kill or count, as the environment says; ROLE separates a study's runs from their parent."""
    kill, terminate, fill, count_to = (os.environ.get(name) for name in (KILL_AT, TERM_AT, FILL_AT, COUNT_TO))
    role = "worker" if "--multiprocessing-fork" in sys.orig_argv else "command"
    if "multiprocessing.resource_tracker" in " ".join(sys.orig_argv):
        return
    if count_to:
        watch(lambda: None, 0, f"{count_to}.{role}")
    if role != os.environ.get(ROLE, "command"):
        return
    if kill:
        watch(lambda: os.kill(os.getpid(), signal.SIGKILL), int(kill))
    elif fill:
        filler = os.open(os.environ[FILLER], os.O_WRONLY | os.O_CREAT)
        watch(lambda: _fill(filler), int(fill))
    elif terminate:
        watch(lambda: os.kill(os.getpid(), signal.SIGTERM), int(terminate))


def watch(attack: Callable[[], None], at: int, count_to: str | None = None) -> None:
    """Count file events from now on, and attack just before one of them; at the end write their number."""
    root, seen = os.getcwd() + "/", 0
    if count_to is not None:
        atexit.register(lambda: _write(count_to, seen))

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event != "open" and event not in EVENTS:
            return
        path = args[0]
        if event == "open" and not (isinstance(args[2], int) and args[2] & WRITING):
            return
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.fsdecode(path)
        if name.startswith("/") and not name.startswith(root):
            return
        seen += 1
        if seen == at:
            attack()

    sys.addaudithook(hook)


def _fill(filler: int) -> None:
    """Write to an open file until its disk is full."""
    with contextlib.suppress(OSError):
        while True:
            os.write(filler, bytes(1 << 20))


def _write(path: str, number: int) -> None:
    with open(path, "w") as file:
        file.write(str(number))
