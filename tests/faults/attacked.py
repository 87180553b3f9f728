"""Commands that are attacked: started in a process of their own, killed at a moment, compared with one left alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adasparse_cli.files import CHECKED
from tests.commands.typing_in import ENVIRONMENT
from tests.faults.crash import COUNT_TO, KILL_AT, ROLE

ROOT, HOOK = Path(__file__).parents[2], Path(__file__).parent / "hook"
HOOKED = {"PYTHONPATH": str(HOOK), "OMP_WAIT_POLICY": "PASSIVE"}
SECONDS = 300.0
# What differs from one run of a command to the next: clocks, and names made of them.
CLOCKS = {
    "modified_ns", "seconds", "elapsed_seconds", "rows_per_second", "training_rows_per_second", "serving_rows_per_second", "sub_network_rows_per_second", "timings", "run", "runs", "sittings", "checksum"
}  # fmt: skip
STAMP = re.compile(r"\d{8}T\d{6}Z(-s\d+)(-\d+)?")


class Server:
    """Commands that start at once, one at a time: copies of a process that has loaded everything."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"],
            cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.pid, self.returncode = 0, None

    def start(self, folder: Path, words: tuple[str, ...], environment: Mapping[str, str], log: Path) -> Server:
        asked = {"folder": str(folder), "words": words, "environment": {**HOOKED, **environment}, "log": str(log)}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(asked).encode() + b"\n")
        self._server.stdin.flush()
        self.pid, self.returncode = self._answer(SECONDS), None
        return self

    def wait(self, timeout: float) -> int:
        """The exit code of what was started last; negative where a signal ended it."""
        if self.returncode is None:
            self.returncode = self._answer(timeout)
        return self.returncode

    def close(self) -> None:
        self._server.communicate()

    def _answer(self, timeout: float) -> int:
        stream = self._server.stdout
        assert stream is not None
        if not select.select([stream], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("a command", timeout)
        found = b""
        while not found.endswith(b"\n"):
            byte = os.read(stream.fileno(), 1)
            assert byte, "the server has ended"
            found += byte
        return int(found)


@dataclass
class Attacked:
    """A command at work, in a process of its own.

    Args:
        environment: set beside that of every attack. server: starts it, where it is not to be loaded anew.
    """

    folder: Path
    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    server: Server | None = None

    def __post_init__(self) -> None:
        self.log = self.folder.parent.parent / f"{self.folder.name}.log"  # not on a disk that is full
        self.process: Server | subprocess.Popen[bytes]
        if self.server is not None:
            self.process = self.server.start(self.folder, self.words, self.environment, self.log)
            return
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "adasparse_cli", *self.words],
                cwd=self.folder,
                env={**ENVIRONMENT, **HOOKED, **self.environment},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.words} did not end\n{self.said}") from None

    def kill(self, number: int = signal.SIGKILL, *, group: bool = False) -> int:
        """Its exit code after a signal."""
        if group:
            for one in (self.process.pid, *offspring(self.process.pid)):
                _signal(one, number)
        else:
            _signal(self.process.pid, number)
        return self.end() if number != signal.SIGKILL else self.process.wait(SECONDS)


def run(
    folder: Path, *words: str, code: int = 0, environment: Mapping[str, str] | None = None, server: Server | None = None
) -> str:
    """Run a command to its end, which must have this exit code; what it said."""
    attacked = Attacked(folder, words, environment or {}, server)
    found = attacked.end()
    assert found == code, f"exit {found}\n{attacked.said}"
    return attacked.said


def counted(folder: Path, *words: str, server: Server) -> tuple[int, int, float]:
    """File events of a command that is left alone, those of a run of its study, and how many seconds it takes."""
    count = folder.parent.parent / f"{folder.name}.count"
    started = time.monotonic()
    run(folder, *words, environment={COUNT_TO: str(count)}, server=server)
    seconds = time.monotonic() - started
    of_worker = Path(f"{count}.worker")
    return int(Path(f"{count}.command").read_text()), int(of_worker.read_text()) if of_worker.exists() else 0, seconds


@dataclass(frozen=True)
class Moment:
    """When to kill: before a file event of the command or of a run of its study, or after some seconds."""

    event: int | None = None
    seconds: float = 0.0
    workers: bool = False
    group: bool = False


def moments(
    count: int, events: int, seconds: float, draw: random.Random, *, worker_events: int = 0
) -> Iterator[Moment]:
    """Moments to kill at: every third at a random time, the others spread evenly over the file events."""
    for number in range(count):
        if number % 3 == 2:
            yield Moment(seconds=draw.uniform(0.1, 1.0) * seconds, group=number % 2 == 0)
        elif number % 3 == 1 and worker_events:
            yield Moment(event=1 + round(number / count * (worker_events - 1)), workers=True)
        else:
            yield Moment(event=1 + round(number / max(count - 1, 1) * (events - 1)))


def killed(before: Path, folder: Path, words: tuple[str, ...], moment: Moment, server: Server) -> None:
    """Run a command in a copy of `before` and kill it at a moment, or earlier where it has ended by then."""
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        if _killed(folder, words, moment, server):
            return
        event = None if moment.event is None else moment.event - 1
        moment = replace(moment, seconds=0.7 * moment.seconds, event=event)


def _killed(folder: Path, words: tuple[str, ...], moment: Moment, server: Server) -> bool:
    if moment.event is None:
        attacked = Attacked(folder, words, {}, server)
        try:
            attacked.process.wait(moment.seconds)
        except subprocess.TimeoutExpired:
            attacked.kill(group=moment.group)
        return attacked.process.returncode == -signal.SIGKILL
    environment = {KILL_AT: str(moment.event)} | ({ROLE: "worker"} if moment.workers else {})
    return Attacked(folder, words, environment, server).end() != 0


def offspring(pid: int) -> list[int]:
    """All processes that descend from one, from the kernel's table."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    found, new = [], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def wait_for(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first value of `what` that is true."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.002)
    return found


def at_work_in(folder: Path) -> list[int]:
    """Processes whose current folder is this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                if (entry / "cwd").resolve() == folder.resolve():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def content(folder: Path) -> dict[str, str]:
    """Every file and folder below one, with a hash of what it holds; clocks, logs, locks and what was checked are left out."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.name != CHECKED):
        name = STAMP.sub(r"STAMP\1", str(path.relative_to(folder)))
        assert name not in found, f"{path} is there twice"
        found[name] = "a folder" if path.is_dir() else _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.name in ("environment.json", "train.log", ".lock", "DONE"):
        return "a file"
    data = path.read_bytes()
    if path.name == "checkpoint.json":  # the tensors beside it are compared
        return str(json.loads(data)["sha256"])
    if path.suffix == ".json":
        values = json.loads(data)
        if path.name == "study.json":  # the checksum of a table that holds seconds
            values.pop("files", None)
        data = json.dumps(_without_clocks(values), sort_keys=True).encode()
    elif path.name == "config.yaml":
        data = b""
    return hashlib.sha256(data).hexdigest()[:16]


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_clocks(own) for key, own in value.items() if key not in CLOCKS}
    return [_without_clocks(own) for own in value] if isinstance(value, list) else value


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
