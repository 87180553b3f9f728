"""Starts the processes that train one model together on this machine.

torch's own launcher restarts after every exit and gives none of the exit codes on; here a process that ends with an error ends
the command with its code, and only a process that was killed is started again, with all others, from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from adasparse_cli.command_line import LAUNCHED, LISTENING
from adasparse_cli.errors import LostProcessError, ResourceError, UsageError

RESTARTS = 3
PATIENCE = 30.0  # seconds for the others to end once one has ended
# As torch's launcher calls it.
ATTEMPT = "TORCHELASTIC_RESTART_COUNT"


def launch(words: Sequence[str], number: int, *, tell: Callable[[str], None], restarts: int = RESTARTS) -> int:
    """Run `adasparse WORDS` in several processes that know of one another.

    Args:
        words: of the command, without `--nproc`.
        tell: says that processes are started again.

    Returns:
        The exit code of the first process that failed, or 0.

    Raises:
        UsageError: there are fewer cores than processes.
        ResourceError: processes were killed again and again.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if number > cores:
        raise UsageError(f"--nproc {number}: this machine has {cores} cores", hint=f"--nproc {cores} at most")
    shared = {"OMP_NUM_THREADS": str(max(1, cores // number)), **os.environ, LAUNCHED: str(time.time())}
    for attempt in range(restarts + 1):
        code = _attempt(words, number, {**shared, ATTEMPT: str(attempt)})
        if code >= 0:
            return code
        if attempt < restarts:
            tell(
                f"a process was ended by {signal.Signals(-code).name}: restarting all processes from the last checkpoint"
            )
    raise ResourceError(
        f"a process was ended by {signal.Signals(-code).name}, the last of {restarts + 1} times",
        hint="check that memory suffices for all processes; the same command with --resume continues",
    )


def _attempt(words: Sequence[str], number: int, shared: Mapping[str, str]) -> int:
    """One try; negative for the signal that ended a process."""
    with tempfile.TemporaryDirectory(prefix="adasparse-ranks-") as room, contextlib.ExitStack() as stack:
        # rank 0 inherits a socket that listens already: between finding a free port and binding it again, another
        # process or connection could take it
        meeting = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        processes = []
        for rank in range(number):
            own = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(number),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(meeting.getsockname()[1]),
            }
            if rank == 0:
                own[LISTENING] = str(meeting.fileno())
            # the first one speaks for all; what the others say is shown if one of them fails
            said = None if rank == 0 else stack.enter_context((Path(room) / str(rank)).open("wb"))
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "adasparse_cli", *words],
                    env={**shared, **own},
                    stdout=said,
                    stderr=said,
                    pass_fds=[meeting.fileno()] if rank == 0 else [],
                )
            )
        meeting.close()  # connections are refused once rank 0 has ended
        with _passing_on(processes):
            code = _ended(processes)
        failed = next((rank for rank, one in enumerate(processes) if one.returncode == code), 0)
        if code > 0 and failed:
            sys.stderr.write((Path(room) / str(failed)).read_text(encoding="utf-8", errors="replace"))
        return code


def _ended(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait; once one has failed, the others get some seconds and are ended. The code of the one that is the cause, or 0."""
    cause, since = 0, None
    while None in [one.poll() for one in processes]:  # of every process, each time
        cause = cause or _cause(processes)
        if since is None and any(one.returncode for one in processes):
            since = time.monotonic()
        if since is not None and (cause < 0 or time.monotonic() - since > PATIENCE):
            cause = cause or LostProcessError.exit_code
            for one in processes:
                if one.poll() is None:
                    one.kill()
        time.sleep(0.05)
    return cause or _cause(processes) or next((one.returncode for one in processes if one.returncode), 0)


def _cause(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """The code of a process that was killed, or else of one that failed by itself; those that lost it do not count."""
    codes = [one.returncode for one in processes if one.returncode not in (None, 0, LostProcessError.exit_code)]
    return min(codes, default=0) if any(code < 0 for code in codes) else next(iter(codes), 0)


@contextlib.contextmanager
def _passing_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Let SIGINT and SIGTERM reach all processes as SIGTERM: they agree on a step, save and end."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for one in processes:
            if one.poll() is None:
                one.send_signal(number)

    old = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
