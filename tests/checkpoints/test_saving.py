"""Saving takes at most a twentieth of the time, whatever a save costs and however often it is asked for."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from adasparse_cli.checkpoints import saving
from adasparse_cli.checkpoints.checkpoint import load_checkpoint
from adasparse_cli.checkpoints.saving import SaveClock
from adasparse_cli.choices import Metric
from adasparse_cli.errors import NumericError
from adasparse_cli.training import loop as loop_module
from adasparse_cli.training.loop import BEST
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


class SlowSaves:
    """Saves that take a number of seconds, steps that take one; `made` lists the saves by their folder and step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.time, self.made = Clock(monkeypatch), list[tuple[str, int]]()
        save = saving.save_checkpoint

        def slow(folder: Path, *found: Any, step: int) -> None:
            self.made.append((folder.name, step))
            self.time.now += seconds
            save(folder, *found, step=step)

        for module in (loop_module, saving):
            monkeypatch.setattr(module, "save_checkpoint", slow)

    def step(self, rows: int, figures: dict[str, float]) -> None:
        self.time.now += 1


def test_slow_saves_do_not_make_every_step_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 steps of a second, saves of ten seconds, and a wish for one every five: one, and one at the end."""
    saves = SlowSaves(monkeypatch, 10)
    run = loop_in(tmp_path, "dnn", on_step=saves.step, epochs=2, evaluations=1, checkpoint_seconds=5)
    assert run.total_steps == 32
    run.run()
    assert [step for name, step in saves.made if name == "last"] == [6, 32]


IMPROVING: dict[str, Any] = {
    "epochs": 10,
    "evaluations": 16,
    "select": Metric.log_loss,
    "learning_rate": 0.003,
    "checkpoint_seconds": 1e9,
}


def test_evaluations_that_each_improve_do_not_each_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """160 steps of a second with an evaluation after each, saves of two seconds. Truth for the end: saves that cost nothing."""
    free = loop_in(tmp_path / "free", "dnn", **IMPROVING)
    expected = free.run()
    saves = SlowSaves(monkeypatch, 2)
    run = loop_in(tmp_path / "slow", "dnn", on_step=saves.step, **IMPROVING)
    found = run.run()
    assert (tmp_path / "slow" / "metrics.jsonl").read_text().count('"best": true') > 20
    # the first pair is made before its cost is known, the last one in any case
    assert 2 * (len(saves.made) - 4) <= 0.05 * run.total_steps
    assert found.best_step == expected.best_step
    weights = [run.model.state_dict(), free.model.state_dict()]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_best_weights_that_wait_are_written_where_training_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were found while everything was finite; the last checkpoint may be much older."""
    saves = SlowSaves(monkeypatch, 2)

    def spoil(rows: int, figures: dict[str, float]) -> None:
        saves.step(rows, figures)
        if run.state.step == 15:
            with torch.no_grad():
                run.model.head.weight.fill_(float("nan"))  # type: ignore[union-attr, operator]

    run = loop_in(tmp_path, "dnn", on_step=spoil, **IMPROVING)
    with pytest.raises(NumericError):
        run.run()
    assert run.state.best_step is not None
    assert load_checkpoint(tmp_path / BEST)[1]["step"] == run.state.best_step > saves.made[1][1]
