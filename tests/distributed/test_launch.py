"""`train --nproc 2` and torchrun: killed processes, signals, and what cannot be trained so."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adasparse_cli.command_line import LAUNCHED
from adasparse_cli.distributed.launch import launch
from adasparse_cli.distributed.process_group import launched_at
from adasparse_cli.errors import ResourceError, UsageError
from adasparse_cli.layers import ranks
from adasparse_cli.runs.saved_run import DONE, FAILED, read_report
from adasparse_cli.runs.train import require_together
from adasparse_cli.runs.train_job import build_model, plan_train
from tests import small
from tests.commands.typing_in import ENVIRONMENT, adasparse
from tests.ports import free_ports

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
pytestmark = pytest.mark.skipif(CORES < 2, reason="two processes need two cores")
WORDS = (
    "data.rows=6000",
    "network.hidden=[16,8]",
    "loop.batch_size=256",
    "loop.epochs=2",
    "loop.checkpoint_seconds=0",
    "threads=1",
)
COMMAND = ["-m", "adasparse_cli", "train"]


def started(folder: Path, *words: str, command: tuple[str, ...] = ("--nproc", "2")) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *COMMAND, *command, *words],
        cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ranks_of(parent: int) -> list[int]:
    """The processes that a launcher has started."""
    said = subprocess.run(["ps", "--ppid", str(parent), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(one) for one in said.stdout.split()]


def until(wanted: Callable[[], object], process: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 120
    while not wanted():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.01)


def is_training(folder: Path) -> bool:
    return any(folder.glob("runs/twin/*/*/checkpoints/last/checkpoint.json"))


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    said = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said[1]


def outcome(run: Path) -> dict[str, bytes]:
    assert (run / DONE).exists()
    assert not (run / FAILED).exists()
    return {name: (run / name).read_bytes() for name in ("predictions.parquet", "metrics.jsonl", "domains.csv")}


def only_run(folder: Path) -> Path:
    (run,) = folder.glob("runs/twin/*/*")
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    ended(started(folder, *WORDS))
    return folder


def test_two_processes_train_one_model(whole: Path) -> None:
    run = only_run(whole)
    assert read_report(run)["steps"] == 2 * -(-4_286 // 256)
    assert "× 2 processes" in (run / "environment.json").read_text(encoding="utf-8")
    adasparse(whole, "evaluate", str(run))


def test_a_signal_saves_and_a_process_killed_after_that_ends_unaided_with_the_same_bytes(
    tmp_path: Path, whole: Path
) -> None:
    shutil.copytree(whole / "data", tmp_path / "data")
    process = started(tmp_path, *WORDS)
    until(lambda: is_training(tmp_path), process)
    process.send_signal(signal.SIGTERM)
    ended(process, 128 + signal.SIGTERM)
    again = started(tmp_path, *WORDS, "--resume")
    until(lambda: len(ranks_of(again.pid)) == 2, again)
    time.sleep(3 * random.Random(0).random())
    os.kill(ranks_of(again.pid)[1], signal.SIGKILL)
    assert "restarting all processes" in ended(again)
    assert outcome(only_run(tmp_path)) == outcome(only_run(whole))


def test_a_process_killed_before_its_run_exists_does_not_show_an_older_run(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    old = only_run(tmp_path)
    process = started(tmp_path, *WORDS)
    until(lambda: len(ranks_of(process.pid)) == 2, process)
    os.kill(ranks_of(process.pid)[0], signal.SIGKILL)
    said = ended(process)
    assert "restarting all processes" in said
    assert "was finished before" not in said
    (new,) = set(tmp_path.glob("runs/twin/*/*")) - {old}
    assert outcome(new) == outcome(old)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the launcher start a few lines of Python instead of `adasparse`."""

    def use(code: str) -> None:
        script = tmp_path / "python"
        script.write_text(f"#!{sys.executable}\nimport os, signal, socket, time\n{code}")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return use


def test_the_port_of_the_ranks_is_held_before_they_start(stand_in: Callable[[str], None]) -> None:
    """Nothing can take it in between: rank 0 inherits a socket that listens."""
    stand_in(
        "if os.environ['RANK'] == '0':\n"
        "    mine = socket.socket(fileno=int(os.environ['ADASPARSE_LISTENING']))\n"
        "    address = ('127.0.0.1', int(os.environ['MASTER_PORT']))\n"
        "    assert mine.getsockname() == address\n"
        "    assert socket.socket().connect_ex(address) == 0\n"
    )
    assert launch(["train"], 2, tell=lambda text: None) == 0


@pytest.mark.parametrize("killed", ["0", "1"])
def test_the_death_of_any_rank_is_noticed_while_the_others_wait(stand_in: Callable[[str], None], killed: str) -> None:
    stand_in(f"if os.environ['RANK'] == {killed!r}:\n    os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)\n")
    begun = time.monotonic()
    with pytest.raises(ResourceError, match="ended by SIGKILL"):
        launch(["train"], 2, tell=lambda text: None, restarts=0)
    assert time.monotonic() - begun < 30


def test_two_agents_of_torchrun_train_as_two_processes_of_one(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole / "data", tmp_path / "data")
    (port,) = free_ports(1)
    agent = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d",
             "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test", "--local-addr", "127.0.0.1"]  # fmt: skip
    environment = {**ENVIRONMENT, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    agents = [
        subprocess.Popen(
            [sys.executable, *agent, *COMMAND, *WORDS],
            cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for one in agents:
        ended(one)
    assert outcome(only_run(tmp_path)) == outcome(only_run(whole))


@pytest.mark.parametrize(
    ("words", "why"),
    [(["model=star"], "statistics over the rows of each domain"), (["model=dnn", "loop=maml"], "its tasks need all")],
)
def test_what_cannot_be_trained_so_is_named(monkeypatch: pytest.MonkeyPatch, words: list[str], why: str) -> None:
    job = plan_train(words)
    model = build_model(job, small.SHAPE)
    require_together(job, model)
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    with pytest.raises(UsageError, match=why):
        require_together(job, model)


def test_an_error_of_all_processes_is_said_once(whole: Path) -> None:
    said = ended(started(whole, *WORDS, "--model", "star"), 2)
    assert "statistics over the rows of each domain" in said
    assert said.count("error:") == 1


def test_an_error_of_the_first_process_alone_keeps_its_code(tmp_path: Path) -> None:
    """The other one waits for it, and only loses its connection."""
    said = ended(started(tmp_path, "data=iaac"), 2)
    assert "no raw files are named" in said
    assert said.count("error:") == 1


def test_more_processes_than_cores_are_refused(tmp_path: Path) -> None:
    assert "this machine has" in adasparse(tmp_path, "train", "--nproc", "9999", code=2).stderr


def test_the_start_of_a_launcher_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAUNCHED, "17.5")
    assert launched_at() == 17.5
    monkeypatch.delenv(LAUNCHED)
    began, script = time.time(), "from adasparse_cli.distributed.process_group import launched_at; print(launched_at())"
    # its parent is a shell that starts now
    command = f'"{sys.executable}" -c "{script}"; true'
    said = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    if Path("/proc/stat").exists():
        assert abs(float(said) - began) < 2.5
    else:
        assert said.strip() == "None"
