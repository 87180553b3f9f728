"""Processes of a study's runs: what they tell, and what they do when nobody listens any more."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adasparse_cli.choices import Split
from adasparse_cli.errors import InterruptedRun
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.studies import workers
from adasparse_cli.studies.workers import NamedRun, tell
from adasparse_cli.training.signals import StopWish
from tests.commands.typing_in import ENVIRONMENT, adasparse
from tests.small import loop_settings


def test_a_run_whose_parent_has_died_is_not_failed_by_having_nobody_to_tell() -> None:
    ear, mouth = multiprocessing.Pipe(duplex=False)
    tell(mouth, 5)
    assert ear.recv() == 5
    ear.close()
    for _ in range(3):
        tell(mouth, 6)


class Ended:
    """A run whose process ends, with `code`, just as a signal arrives."""

    rows, full = 0, None

    def __init__(self, run: NamedRun, code: int = 0) -> None:
        self.run, self.process, self._code = run, self, code

    @property
    def exitcode(self) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return self._code

    def sources(self) -> list[int]:
        return []

    def news(self) -> int:
        return 0

    def close(self) -> int:
        return 0

    def why(self) -> str:
        return "because"


@pytest.fixture
def run() -> NamedRun:
    job = SimpleNamespace(loop=loop_settings(epochs=1))
    prepared = SimpleNamespace(manifest=SimpleNamespace(splits={Split.train: SimpleNamespace(rows=1)}))
    return NamedRun(name="the run", job=job, prepared=prepared)  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "said"), [(0, "stopped when all runs were done"), (1, "1 of 1 runs are still to be")])
def test_a_signal_as_the_last_run_ends_stops_the_study(
    run: NamedRun, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    monkeypatch.setattr(workers, "_Process", lambda own: Ended(own, code))
    with pytest.raises(InterruptedRun, match=said) as caught:
        workers.train_all([run], Silent(), workers=1, what="study")
    assert caught.value.exit_code == 143


def answered() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    raise InterruptedRun("", hint="")


@pytest.mark.parametrize("context", [workers._Stop, StopWish])
def test_a_signal_that_nobody_has_answered_is_passed_on(context: type[Any]) -> None:
    """It came after the last look: else the next run, or the next trial of a search, would start."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with context():
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
        with pytest.raises(InterruptedRun), context():
            answered()
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interrupt_while_runs_load_shows_no_traceback(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal, those of runs included, which are loading torch then."""
    words = ("compare", "--models", "dnn,biasnet", "--seeds", "1", "--workers", "2", "data.rows=1000")
    adasparse(tmp_path, "prep", "data=twin", "data.rows=1000")
    command = subprocess.Popen(
        [sys.executable, "-m", "adasparse_cli", *words],
        cwd=tmp_path,
        env={**ENVIRONMENT, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")

    def runs() -> list[str]:
        with contextlib.suppress(OSError):
            found = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children.read_text().split()]
            return [line for line in found if "spawn_main" in line]
        return []

    while len(runs()) < 2:
        assert command.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    os.killpg(command.pid, signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130, err
    assert "Traceback" not in out + err, err
    assert "2 of 2 runs are still to be done" in err
