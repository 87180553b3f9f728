"""The program of a cluster's job: `python -m adasparse_cli.execution.job TASK` trains the run of a task and reports its progress.

It prepares no data. Before it trains, it verifies that the node has the same versions and sees the same folders.
"""

from __future__ import annotations

import dataclasses
import logging
import signal
import socket
import sys
import time
from pathlib import Path

from adasparse_cli.cluster.engine import NOT_SHARED
from adasparse_cli.errors import AdasparseError, DiskFullError, InterruptedRun
from adasparse_cli.execution.named_run import ToldProgress, expected_rows, train_when_free
from adasparse_cli.execution.task import SHARED, Task, Told, named_run, read_task, versions, write_told
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.runs.prepare import existing
from adasparse_cli.schema import Manifest

TOLD_SECONDS = 2.0
# Time in which a file that another machine has written must appear.
LAG_SECONDS = 20.0
HINT = "paths.data, paths.runs and the current folder must be on a file system that all nodes share"


class UnfitNodeError(AdasparseError):
    """Every job of the study would fail on this node."""


def run_job(path: Path) -> int:
    """Train the run of a task, and return the exit code of the job."""
    task, node = read_task(path), socket.gethostname()
    told = Told(job=task.job, node=node)

    def tell(**news: object) -> None:
        nonlocal told
        told = dataclasses.replace(told, **news)  # type: ignore[arg-type]
        write_told(path.parent, told)

    try:
        tell()
        manifest = _require_same(task, node)
        run = named_run(task, manifest)
        progress = ToldProgress(expected_rows(run), lambda rows: tell(rows=rows), seconds=TOLD_SECONDS)
        train_when_free(run, progress)
        progress.tell_rows()
        tell(ended="done")
    except InterruptedRun as stopped:
        tell(ended="stopped", reason=stopped.message, exit_code=stopped.exit_code)
    except KeyboardInterrupt:
        tell(ended="stopped", exit_code=128 + signal.SIGTERM)
    except Exception as error:
        logging.getLogger(__name__).exception("the run failed")
        if disk_is_full(error):
            full = (
                error
                if isinstance(error, DiskFullError)
                else no_room(Path(getattr(error, "filename", None) or task.runs))
            )
            tell(ended="failed", reason=full.message, hint=full.hint, exit_code=full.exit_code, needed=full.needed)
        elif isinstance(error, AdasparseError):
            of_all = isinstance(error, UnfitNodeError)
            code = NOT_SHARED if of_all else error.exit_code
            tell(ended="failed", reason=error.message, hint=error.hint, exit_code=code, of_all=of_all)
        else:
            tell(ended="failed", reason=f"{type(error).__name__}: {error}", exit_code=1)
    return told.exit_code


def _require_same(task: Task, node: str) -> Manifest:
    """Check that the node has the same versions and sees the same folders, and return the manifest of the data.

    Raises:
        UnfitNodeError: the versions or the folders differ.
    """
    own = versions()
    for name, wanted in task.versions.items():
        if own.get(name) != wanted:
            raise UnfitNodeError(
                f"node {node} has {name} {own.get(name)}, but the study was started with {wanted}",
                hint="set launcher.python=PATH to an interpreter with the same versions on all nodes",
            )
    shared, end = Path(task.runs) / SHARED, time.monotonic() + LAG_SECONDS
    while True:
        manifest = existing(Path(task.data))
        same = manifest is not None and manifest.fingerprint == task.fingerprint
        token = shared.read_text(encoding="utf-8").strip() if shared.exists() else None
        if same and manifest is not None and token == task.token:
            return manifest
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    if token != task.token:
        what = f"does not see {task.runs}" if token is None else f"has another folder {task.runs}"
    else:
        what = f"does not see the data in {task.data}" if manifest is None else f"has other data in {task.data}"
    raise UnfitNodeError(f"node {node} {what}", hint=HINT)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    sys.exit(run_job(Path(sys.argv[1])))
