"""Saving takes at most a twentieth of the time, whatever a save costs and however often it is asked for."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from adasparse_cli.choices import Metric
from adasparse_cli.training import loop as loop_module
from adasparse_cli.training import saving
from adasparse_cli.training.saving import SaveClock
from tests.training.test_standard import loop_in


class Clock:
    """Time that passes only when a test advances it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(saving.time, "monotonic", lambda: self.now)


@pytest.mark.parametrize(("every", "cost"), [(0.0, 1.0), (5.0, 1.0), (60.0, 0.5), (10.0, 40.0)])
def test_saves_are_as_far_apart_as_asked_and_as_their_cost_demands(
    monkeypatch: pytest.MonkeyPatch, every: float, cost: float
) -> None:
    """By simulation with steps of a tenth of a second."""
    time, saved_at, spent = Clock(monkeypatch), [], 0.0
    clock = SaveClock(every)
    for _ in range(40_000):
        time.now += 0.1
        if clock.due(soon=False):
            saved_at.append(time.now)
            with clock.saving():
                time.now += cost
                spent += cost
    # the first one is made before its cost is known
    assert (spent - cost) / (time.now - 100) < 0.0501
    gaps = [later - earlier - cost for earlier, later in itertools.pairwise(saved_at)]
    assert min(gaps) >= max(every, 19 * cost) - 1e-6
    assert max(gaps) <= max(every, 19 * cost) + 0.2


def test_an_evaluation_saves_soon_but_not_before_the_last_save_has_paid_off(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Clock(monkeypatch)
    clock = SaveClock(1000.0)
    assert clock.due(soon=True)
    assert not clock.due(soon=False)
    with clock.saving():
        time.now += 2
    time.now += 37
    assert not clock.due(soon=True)
    time.now += 1
    assert clock.due(soon=True)


def test_slow_saves_do_not_make_every_step_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 steps of a second, saves of ten seconds, and a wish for one every five: one, and one at the end."""
    time, saves = Clock(monkeypatch), []
    save = loop_module.save_checkpoint

    def slow(folder: Path, *found: Any, **step: Any) -> None:
        if folder.name == "last":
            saves.append(step["step"])
        time.now += 10
        save(folder, *found, **step)

    monkeypatch.setattr(loop_module, "save_checkpoint", slow)
    monkeypatch.setattr(saving, "save_checkpoint", slow)

    def second(rows: int, figures: dict[str, float]) -> None:
        time.now += 1

    run = loop_in(tmp_path, "dnn", on_step=second, epochs=2, evaluations=1, checkpoint_seconds=5)
    assert run.total_steps == 32
    run.run()
    assert saves == [6, 32]


def test_evaluations_that_each_improve_do_not_each_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """160 steps of a second with an evaluation after each, saves of two seconds. Truth for the end: saves that cost nothing."""
    changes: dict[str, Any] = {"epochs": 10, "evaluations": 16, "select": Metric.log_loss, "learning_rate": 0.003}
    free = loop_in(tmp_path / "free", "dnn", checkpoint_seconds=1e9, **changes)
    expected = free.run()
    time, saves = Clock(monkeypatch), []
    save = loop_module.save_checkpoint

    def slow(folder: Path, *found: Any, **step: Any) -> None:
        saves.append(folder.name)
        time.now += 2
        save(folder, *found, **step)

    monkeypatch.setattr(loop_module, "save_checkpoint", slow)
    monkeypatch.setattr(saving, "save_checkpoint", slow)

    def second(rows: int, figures: dict[str, float]) -> None:
        time.now += 1

    run = loop_in(tmp_path / "slow", "dnn", on_step=second, checkpoint_seconds=1e9, **changes)
    found = run.run()
    improved = (tmp_path / "slow" / "metrics.jsonl").read_text().count('"best": true')
    assert improved > 20
    # the first pair is made before its cost is known, the last one in any case
    assert 2 * (len(saves) - 4) <= 0.05 * run.total_steps
    assert found.best_step == expected.best_step
    weights = [run.model.state_dict(), free.model.state_dict()]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
