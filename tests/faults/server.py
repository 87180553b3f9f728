"""Starts commands as copies of one process that has loaded everything already, which saves seconds for each of them.

A request is a line of JSON; the answers are two lines, the number of the process and then its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

from adasparse_cli.app import main
from tests.faults.crash import install

LOADED = (
    "runs.prepare",
    "runs.train",
    "studies.study",
    "insights.report",
    "studies.subject",
    "data_prep.tabular",
    "data_prep.twin",
)


def serve() -> None:
    """Answer requests until there are no more; a copy returns from here as the command that it is to be."""
    for name in LOADED:
        importlib.import_module(f"adasparse_cli.{name}")
    answers = os.dup(1)
    for line in sys.stdin:
        asked = json.loads(line)
        if (pid := os.fork()) == 0:
            os.setsid()
            os.chdir(asked["folder"])
            log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(log, stream)
            os.environ.update(asked["environment"])
            sys.argv = ["adasparse", *asked["words"]]
            install()
            main()
            return
        os.write(answers, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    serve()
