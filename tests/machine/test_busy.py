"""What is said where threads will wait for cores that other processes use. Truth: the rule itself, with a made-up load."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.machine.resources import busy_warning
from adasparse_cli.machine.threads import wait_quietly_when_busy
from tests.commands.typing_in import adasparse


@pytest.mark.parametrize(
    ("load", "threads", "said"), [(0.5, 2, False), (2.0, 2, False), (5.3, 2, True), (5.3, 1, False), (99.0, 8, True)]
)
def test_a_load_above_the_cores_is_said_of_several_threads(
    monkeypatch: pytest.MonkeyPatch, load: float, threads: int, said: bool
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    warning = busy_warning(threads)
    assert (warning is not None) is said
    if warning is not None:
        assert f"load {load:.1f} on 2 cores" in warning
        assert "threads=1" in warning


@pytest.mark.parametrize(
    ("load", "before", "after"),
    [
        (0.9, {}, {}),
        (1.0, {}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}),
        (2.5, {}, {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}),
        (2.5, {"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        (2.5, {"GOMP_SPINCOUNT": "100"}, {"GOMP_SPINCOUNT": "100"}),
    ],
)
def test_threads_wait_quietly_on_a_busy_machine_alone(
    monkeypatch: pytest.MonkeyPatch, load: float, before: dict[str, str], after: dict[str, str]
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert wait_quietly_when_busy(before) is ("PASSIVE" in after.values())
    assert before == after


def test_training_says_it_once_at_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (999.0, 0.0, 0.0))
    small = ("--model", "dnn", "data.rows=3000", "network.hidden=[4]", "loop.epochs=1")
    assert adasparse(tmp_path, "train", *small, "threads=2").stderr.count("warning: other processes use the cores") == 1
    assert "warning: other processes use the cores" not in adasparse(tmp_path, "train", *small, "threads=1").stderr
