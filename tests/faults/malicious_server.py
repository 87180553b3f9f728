"""Runs commands in copies of one process that has loaded everything, with limits, and notes whatever they must not do.

A request is a line of JSON, the answer a line with the exit code. A copy may use so much memory, time and disk and no
more; its audit hook writes a line to `seen` for each process, connection, pickle or write outside; a canary module notes by itself that it ran.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from adasparse_cli.app import main

LOADED = (
    "runs.train",
    "studies.study",
    "insights.report",
    "studies.subject",
    "scoring.score",
    "data_prep.tabular",
    "data_prep.twin",
)
# What a copy may need beyond what the loaded process has mapped.
MEMORY_BYTES, FILE_BYTES = 3 << 30, 512 << 20
NEVER = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "pickle.find_class",
    "socket.connect",
    "webbrowser.open",
)
# The child that reads Parquet files first.
PROBE = ["-P", "-m", "adasparse_cli.tables.parquet_probe"]
WRITES = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.symlink": 1, "os.link": 1, "os.rmdir": 0}


def serve() -> None:
    for name in LOADED:
        importlib.import_module(f"adasparse_cli.{name}")
    answers = os.dup(1)
    for line in sys.stdin:
        asked = json.loads(line)
        if (pid := os.fork()) == 0:
            _become(asked)
            try:
                main()
                code: object = 0
            except SystemExit as ended:
                code = ended.code
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code if isinstance(code, int) else int(code is not None))
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(asked: dict[str, Any]) -> None:
    folder = Path(asked["folder"])
    os.chdir(folder)
    sys.path.insert(0, asked["modules"])
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ["SECRET"] = "the-secret"
    sys.argv = ["adasparse", *asked["words"]]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES,) * 2)
    signal.alarm(asked["seconds"])
    _watch(folder, os.open(asked["seen"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC))


def _watch(folder: Path, seen: int) -> None:
    inside = (str(folder.resolve()), "/dev/null", "/dev/tty")

    def outside(path: object) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        return (
            not os.path.realpath(os.path.dirname(os.path.abspath(os.fsdecode(path))) + "/x").startswith(inside)
            and os.fsdecode(path) not in inside
        )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        wrong = event in NEVER and not (event == "subprocess.Popen" and list(arguments[1][1:]) == PROBE)
        if event == "open":
            writing = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            wrong = bool(writing) and outside(arguments[0])
        elif event in WRITES:
            wrong = outside(arguments[WRITES[event]])
        if wrong:
            os.write(seen, f"{event} {arguments[:2]}\n".encode("utf-8", "replace"))

    sys.addaudithook(hook)


if __name__ == "__main__":
    serve()
