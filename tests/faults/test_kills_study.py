"""SIGKILL in a study with two workers, and in a report: the same command ends as if nothing had happened."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

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
from tests.faults.conftest import STUDY, FinishedStudy


def test_a_killed_study_ends_bit_equal(
    finished_study: FinishedStudy, tmp_path: Path, attacks: Callable[[int, int], int], server: Server
) -> None:
    """The parent dies, or its workers, or all of them; runs whose parent has died end by themselves."""
    done, folder = finished_study, tmp_path / "folder"
    expected = content(done.folder)
    for moment in moments(
        attacks(50, 1), done.events, done.seconds, random.Random(3), worker_events=done.worker_events
    ):
        killed(done.home, folder, STUDY, moment, server)
        run(folder, *STUDY, server=server)
        assert content(folder) == expected, moment
        wait_for(lambda: not at_work_in(folder))  # whatever has lost its parent ends by itself
        print(moment)
    print(f"study: {done.events} and {done.worker_events} file events, {done.seconds:.1f} s")


def test_runs_whose_parent_is_killed_end_by_themselves(
    finished_study: FinishedStudy, tmp_path: Path, server: Server
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(finished_study.home, folder)
    attacked = Attacked(folder, (*STUDY, "loop.epochs=10000", "loop.evaluations=1"), {}, server)
    wait_for(lambda: len(list(folder.glob("runs/*/*/*/metrics.jsonl"))) == 2)
    assert offspring(attacked.process.pid)
    attacked.kill()
    wait_for(lambda: not at_work_in(folder))


def test_a_killed_report_ends_with_the_same_page(
    finished_study: FinishedStudy, tmp_path: Path, attacks: Callable[[int, int], int], server: Server
) -> None:
    before, folder = finished_study.folder, tmp_path / "folder"
    shutil.copytree(before, folder)
    events, _, seconds = counted(folder, "report", server=server)
    expected = content(folder)
    for moment in moments(attacks(25, 1), events, seconds, random.Random(4)):
        killed(before, folder, ("report",), moment, server)
        run(folder, "report", server=server)
        assert content(folder) == expected, moment
    print(f"report: {events} file events, {seconds:.1f} s")
