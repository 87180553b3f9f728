"""`train --nproc 2`: killed processes, signals, and what cannot be trained so."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adasparse_cli.runs.saved_run import DONE, FAILED, read_report
from tests.commands.typing_in import ENVIRONMENT, adasparse

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
pytestmark = pytest.mark.skipif(CORES < 2, reason="two processes need two cores")
WORDS = (
    "data.rows=20000",
    "network.hidden=[16,8]",
    "loop.batch_size=256",
    "loop.epochs=2",
    "loop.checkpoint_seconds=0",
)


def started(folder: Path, *words: str, common: tuple[str, ...] = WORDS) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "adasparse_cli", "train", "--nproc", "2", *common, *words]
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "OMP_NUM_THREADS"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ranks_of(parent: int) -> list[int]:
    """The processes that a launcher has started."""
    said = subprocess.run(["ps", "--ppid", str(parent), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(one) for one in said.stdout.split()]


def until_training(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait for the first line of the training's metrics."""
    ends = time.monotonic() + 120
    while not list(folder.glob("runs/twin/*/*/checkpoints/last/checkpoint.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.01)


def outcome(folder: Path) -> dict[str, bytes]:
    (run,) = folder.glob("runs/twin/*/*")
    assert (run / DONE).exists()
    assert not (run / FAILED).exists()
    return {name: (run / name).read_bytes() for name in ("predictions.parquet", "metrics.jsonl", "domains.csv")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    process = started(folder)
    said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder


def test_two_processes_train_one_model(whole: Path) -> None:
    (run,) = whole.glob("runs/twin/*/*")
    assert read_report(run)["steps"] == 2 * -(-14_286 // 256)
    assert "× 2 processes" in (run / "environment.json").read_text(encoding="utf-8")
    adasparse(whole, "evaluate", str(run))


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_unaided_with_the_same_bytes(tmp_path: Path, whole: Path, victim: int) -> None:
    process = started(tmp_path)
    until_training(tmp_path, process)
    time.sleep(random.Random(victim).random())
    os.kill(ranks_of(process.pid)[victim], signal.SIGKILL)
    said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "starting all of them again" in said[1]
    assert outcome(tmp_path) == outcome(whole)


def test_a_signal_saves_and_the_command_resumes_with_the_same_bytes(tmp_path: Path, whole: Path) -> None:
    process = started(tmp_path)
    until_training(tmp_path, process)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, said
    again = started(tmp_path, "--resume")
    said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert outcome(tmp_path) == outcome(whole)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--model", "star"), "statistics over the rows of each domain"),
        (("--model", "maml"), "its tasks need all rows of a domain"),
        (("model.mode=fushion",), "fushion"),
    ],
)
def test_what_cannot_be_trained_so_is_named(whole: Path, words: tuple[str, ...], why: str) -> None:
    process = started(whole, *words)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert why in said
    assert said.count("error:") == 1


@pytest.mark.parametrize("attempt", range(3))
def test_an_error_of_the_first_process_alone_keeps_its_code(tmp_path: Path, attempt: int) -> None:
    """The other one waits for it, and only loses its connection."""
    process = started(tmp_path, "data=iaac", common=())
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert "no raw files are named" in said
    assert said.count("error:") == 1


def test_more_processes_than_cores_are_refused(tmp_path: Path) -> None:
    assert "this machine has" in adasparse(tmp_path, "train", "--nproc", "9999", code=2).stderr
