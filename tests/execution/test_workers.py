"""Processes of a study's runs: what they tell, and what they do when nobody listens any more."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adasparse_cli.choices import Metric, Split
from adasparse_cli.cluster.settings import HERE
from adasparse_cli.errors import InterruptedRun
from adasparse_cli.execution import workers
from adasparse_cli.execution.best_so_far import BestSoFar
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.execution.stop import StopOfStudy
from adasparse_cli.execution.worker import tell
from adasparse_cli.prep.recipe import Silent
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


class EndedWorker:
    """A process whose run ends, well or not, just as a signal arrives."""

    full = None
    rows = 0

    def __init__(self, run: NamedRun, done: bool) -> None:
        self.run, self.done = run, done

    @property
    def ended(self) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    def sources(self) -> list[int]:
        return []

    def news(self) -> int:
        return 0

    def close_run(self) -> int:
        return 0

    def dismiss(self) -> None:
        pass

    def why(self) -> str:
        return "because"


@pytest.fixture
def run() -> NamedRun:
    job = SimpleNamespace(loop=loop_settings(epochs=1), launcher=HERE, seed=0)
    prepared = SimpleNamespace(manifest=SimpleNamespace(splits={Split.train: SimpleNamespace(rows=1)}))
    return NamedRun(name="the run", job=job, prepared=prepared)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("done", "said"), [(True, "stopped after all runs were done"), (False, "1 of 1 runs are left")]
)
def test_a_signal_as_the_last_run_ends_stops_the_study(
    run: NamedRun, monkeypatch: pytest.MonkeyPatch, done: bool, said: str
) -> None:
    monkeypatch.setattr(workers, "_start", lambda idle, own: EndedWorker(own, done))
    with pytest.raises(InterruptedRun, match=said) as caught:
        workers.train_all([run], Silent(), workers=1, what="study")
    assert caught.value.exit_code == 143


class ToldWorker(EndedWorker):
    """A process whose run passes some rows and ends with a metric."""

    def __init__(self, run: NamedRun, rows: int, value: float | None) -> None:
        super().__init__(run, True)
        self._to_come, self.valid = rows, {"auc": value}

    @property
    def ended(self) -> bool:
        return True

    def news(self) -> int:
        news, self._to_come = self._to_come, 0
        self.rows += news
        return news


class Seen(Silent):
    """What a bar would show."""

    def __init__(self) -> None:
        self.total, self.done, self.lines = 0, 0, list[str]()

    def start(self, what: str, total: int | None, unit: str) -> None:
        self.total = total or 0

    def expect(self, total: int) -> None:
        self.total = total

    def advance(self, amount: int, detail: Mapping[str, float] | None = None) -> None:
        self.done += amount

    def note(self, line: str) -> None:
        self.lines.append(line)


def test_the_bar_of_a_study_ends_where_its_runs_end(run: NamedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run ends after fewer rows than expected, one after more; each is a line with the best so far."""
    run.prepared.manifest.splits[Split.train].rows = 1000  # type: ignore[misc]  # a made-up manifest
    runs = [replace(run, name=name) for name in ("dnn, seed 0", "star, seed 0", "apg, seed 0")]
    made = {"dnn, seed 0": (400, 0.61), "star, seed 0": (2500, 0.64), "apg, seed 0": (1000, None)}
    monkeypatch.setattr(workers, "_start", lambda idle, own: ToldWorker(own, *made[own.name]))
    seen = Seen()
    workers.train_all(runs, seen, workers=1, what="study", best=BestSoFar(Metric.auc))
    assert seen.done == seen.total == 3900
    assert seen.lines == [
        "dnn, seed 0   valid auc 0.6100  best so far 0.6100  1 of 3 runs",
        "star, seed 0  valid auc 0.6400  best so far 0.6400  2 of 3 runs",
        "apg, seed 0   valid auc n/a  best so far 0.6400 (star, seed 0)  3 of 3 runs",
    ]


def test_the_smallest_log_loss_is_the_best() -> None:
    best = BestSoFar(Metric.log_loss)
    assert "best so far 0.3000" in best.line("a", 0.3)
    assert "best so far 0.3000 (a)" in best.line("b", 0.4)
    assert "best" not in BestSoFar(Metric.auc, comparable=False).line("a", 0.3)


def answered() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    raise InterruptedRun("", hint="")


@pytest.mark.parametrize("context", [StopOfStudy, StopWish])
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
    assert "2 of 2 runs are left" in err


SMALL = ("data=twin", "data.rows=2000", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256")


def test_a_process_stays_for_the_next_run_which_is_as_if_it_were_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truth: the second run, trained by a command of its own."""
    started: list[workers.Worker] = []
    begin = workers.Worker.__init__

    def count(worker: workers.Worker) -> None:
        started.append(worker)
        begin(worker)

    monkeypatch.setattr(workers.Worker, "__init__", count)
    together, alone = tmp_path / "together", tmp_path / "alone"
    for folder in (together, alone):
        folder.mkdir()
    adasparse(together, "sweep", "model=dnn,star", *SMALL)
    assert len(started) == 1
    adasparse(alone, "train", "model=star", *SMALL, apart=True)
    found = [next(folder.glob("runs/*/star/*/predictions.parquet")).read_bytes() for folder in (together, alone)]
    assert found[0] == found[1]


def test_after_a_failure_a_new_process_goes_on(tmp_path: Path) -> None:
    done = adasparse(tmp_path, "sweep", "loop.learning_rate=0.001,1e30,0.002", *SMALL, code=1)
    assert done.stderr.count(" failed: ") == 1
    assert len(list(tmp_path.glob("runs/*/*/*/DONE"))) == 2
