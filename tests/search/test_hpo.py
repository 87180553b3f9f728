"""A search over settings: what is kept of it, and that it resumes as if it had not been stopped.

Runs are replaced by a function of the settings, so that no training is needed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.choices import Metric
from adasparse_cli.config.grammar import Choice, Interval
from adasparse_cli.errors import IntegrityError, InterruptedRun
from adasparse_cli.files import write_sealed
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.runs.train_job import plan_train
from adasparse_cli.search import hpo
from adasparse_cli.search.hpo import TRIALS, SearchJob, Trial, read_trials, run_search, write_trials

SOME = [Trial(settings={"model": "star", "loop.learning_rate": 0.001}, value=0.5), Trial(settings={}, value=None)]


class Said(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def search(folder: Path, trials: int) -> SearchJob:
    space = {
        "loop.learning_rate": Interval(low=0.0005, high=0.005, whole=False),
        "network.width": Interval(low=2, high=64, whole=True),
        "model": Choice(values=("dnn", "star")),
    }
    return SearchJob(
        words=(),
        space=space,
        trials=trials,
        seeds=1,
        metric=Metric.gauc_domain,
        folder=folder,
        config_file=None,
        first=plan_train([f"paths.data={folder}"]),
    )


def worth(job: SearchJob, values: Mapping[str, Any], number: int, *rest: object) -> float | None:
    """Better near 0.002; every fifth trial fails."""
    return None if number % 5 == 3 else 1 - abs(math.log(values["loop.learning_rate"] / 0.002)) / 10


@pytest.fixture
def no_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setattr(hpo, "_worth", worth)


def test_trials_are_kept(tmp_path: Path) -> None:
    assert read_trials(tmp_path) == []
    write_trials(tmp_path, SOME)
    assert read_trials(tmp_path) == SOME


def test_a_flipped_bit_in_the_trials_is_found(tmp_path: Path) -> None:
    write_trials(tmp_path, SOME)
    path, draw = tmp_path / TRIALS, random.Random(0)
    whole = path.read_bytes()
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=TRIALS) as caught:
            read_trials(tmp_path)
        assert "run the same command again" in caught.value.hint


@pytest.mark.parametrize(
    "values",
    [
        {"trials_version": 2, "trials": []},
        {"trials_version": 1},
        {"trials_version": 1, "trials": [3]},
        {"trials_version": 1, "trials": [{"settings": 3, "value": None}]},
        {"trials_version": 1, "trials": [{"settings": {}, "value": "high"}]},
    ],
)
def test_trials_of_another_shape_are_named(tmp_path: Path, values: dict[str, Any]) -> None:
    write_sealed(tmp_path / TRIALS, values)
    with pytest.raises(IntegrityError, match=TRIALS):
        read_trials(tmp_path)


@pytest.mark.usefixtures("no_runs")
def test_a_search_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run_search(search(tmp_path / "whole", 24))
    stopped = tmp_path / "stopped"
    for number in (3, 11, 17):

        def interrupted(job: SearchJob, values: Mapping[str, Any], at: int, *rest: object, stop: int = number) -> Any:
            if at == stop:
                raise InterruptedRun("stopped", hint="")
            return worth(job, values, at)

        monkeypatch.setattr(hpo, "_worth", interrupted)
        with pytest.raises(InterruptedRun):
            run_search(search(stopped, 24))
        assert len(read_trials(stopped)) == number
    monkeypatch.setattr(hpo, "_worth", worth)
    assert run_search(search(stopped, 24))[0] == whole
    assert (stopped / TRIALS).read_bytes() == (tmp_path / "whole" / TRIALS).read_bytes()
    assert sum(trial.value is None for trial in read_trials(stopped)) == 5


@pytest.mark.usefixtures("no_runs")
def test_trials_that_do_not_fit_the_search_are_named(tmp_path: Path) -> None:
    write_trials(tmp_path, [Trial(settings={"model": "unknown"}, value=0.5)])
    with pytest.raises(IntegrityError, match=TRIALS):
        run_search(search(tmp_path, 1))


@pytest.mark.usefixtures("no_runs")
def test_a_database_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "trials.db").touch()
    said = Said()
    run_search(search(tmp_path, 1), said)
    assert ["trials.db of an earlier version is not read" in note for note in said.notes] == [True]
    run_search(search(tmp_path, 2), said)
    assert len(said.notes) == 1
