"""Ends a process by SIGKILL just before its nth file event: open for writing, rename, remove, make or remove a folder.

Events are counted below the current folder alone, so that the imports of a process do not count. A run that is only
counted writes how many there were, so that kills can be spread over all of them, the moments between two renames included.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any

EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILL_AT, COUNT_TO, WORKERS = "FAULTS_KILL_AT", "FAULTS_COUNT_TO", "FAULTS_WORKERS"


def install() -> None:
    """Kill or count, as the environment says; runs of a study and their parent are told apart."""
    at, count_to = os.environ.get(KILL_AT), os.environ.get(COUNT_TO)
    is_worker = "--multiprocessing-fork" in sys.orig_argv
    if (at or count_to) and is_worker == bool(os.environ.get(WORKERS)):
        watch(None if at is None else int(at), count_to)


def watch(at: int | None, count_to: str | None) -> None:
    """Count file events from now on, and end at one of them or write their number."""
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
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _write(path: str, number: int) -> None:
    with open(path, "w") as file:
        file.write(str(number))
