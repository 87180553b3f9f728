"""SIGKILL in a study with two workers, and in a report: the same command ends as if nothing had happened."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.attacked import (
    Attacked,
    Server,
    at_work_in,
    content,
    counted,
    killed,
    moments,
    offspring,
    run,
    wait_for,
)

TINY = ("data=twin", "data.rows=1000", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256")
STUDY = ("compare", "--models", "dnn,biasnet", "--seeds", "1", "--workers", "2", *TINY)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """A folder with prepared data."""
    folder = tmp_path_factory.mktemp("study") / "home"
    folder.mkdir()
    run(folder, "prep", *TINY[:2], server=server)
    return folder


@pytest.fixture(scope="module")
def done(home: Path, server: Server) -> tuple[Path, tuple[int, int, float]]:
    """The same with a finished study, and the file events of the parent and of a worker, and the seconds it takes."""
    folder = home.parent / "done"
    shutil.copytree(home, folder)
    of_workers, _ = counted(folder, *STUDY, workers=True, server=server)
    shutil.rmtree(folder)
    shutil.copytree(home, folder)
    events, seconds = counted(folder, *STUDY, server=server)
    return folder, (events, of_workers, seconds)


def test_a_killed_study_ends_bit_equal(
    home: Path, done: tuple[Path, tuple[int, int, float]], attacks: Callable[[int, int], int], server: Server
) -> None:
    """The parent dies, or its workers, or all of them; runs whose parent has died end by themselves."""
    finished, (events, of_workers, seconds) = done
    expected, folder = content(finished), home.parent / "folder"
    for moment in moments(attacks(50, 1), events, seconds, random.Random(3), worker_events=of_workers):
        killed(home, folder, STUDY, moment, server)
        run(folder, *STUDY, server=server)
        assert content(folder) == expected, moment
        assert not at_work_in(folder), moment
    print(f"study: {events} and {of_workers} file events, {seconds:.1f} s")


def test_runs_whose_parent_is_killed_end_by_themselves(home: Path, server: Server) -> None:
    folder = home.parent / "orphans"
    shutil.copytree(home, folder)
    long = (*STUDY, "loop.epochs=10000", "loop.evaluations=1")
    attacked = Attacked(folder, long, {}, server)
    wait_for(lambda: len(list(folder.glob("runs/*/*/*/metrics.jsonl"))) == 2)
    workers = offspring(attacked.process.pid)
    attacked.kill()
    assert workers
    wait_for(lambda: not at_work_in(folder))


def test_a_killed_report_ends_with_the_same_page(
    done: tuple[Path, tuple[int, int, float]], attacks: Callable[[int, int], int], server: Server
) -> None:
    folder = done[0].parent / "folder"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(done[0], folder)
    events, seconds = counted(folder, "report", server=server)
    expected = content(folder)
    for moment in moments(attacks(25, 2), events, seconds, random.Random(4)):
        killed(done[0], folder, ("report",), moment, server)
        run(folder, "report", server=server)
        assert content(folder) == expected, moment
    print(f"report: {events} file events, {seconds:.1f} s")
