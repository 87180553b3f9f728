"""Studies on real schedulers: Slurm and Ray, each started on this machine for these tests.

They skip where the scheduler is not installed (`slurmctld`, `slurmd`; `ray` of `ray[default]`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.engines import CLUSTERS, can_hide, until
from tests.commands.typing_in import ENVIRONMENT, adasparse

pytestmark = pytest.mark.slow
SMALL = ("data.rows=3000", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256")
STUDY = ("sweep", "model=dnn,biasnet", *SMALL)
# long enough to be killed in the middle of it
LONG = (
    "sweep",
    "loop.learning_rate=0.001,0.002",
    "model=dnn",
    *SMALL,
    "loop.epochs=200",
    "loop.evaluations=1",
    "loop.log_steps=1000",
)


@pytest.fixture(scope="module", params=sorted(CLUSTERS))
def cluster(request: pytest.FixtureRequest) -> Iterator[tuple[list[str], Path]]:
    """The words that choose a cluster, and a folder that its node does not see."""
    room = Path(tempfile.mkdtemp(prefix="adasparse-cluster-"))  # sockets need a short path
    try:
        (room / "hidden").mkdir()
        with CLUSTERS[request.param](room, room / "hidden") as words:
            yield words, room / "hidden"
    finally:
        shutil.rmtree(room, ignore_errors=True)


def bytes_of_runs(folder: Path) -> list[str]:
    """What the runs predict: checksums, since that is what is to be equal."""
    found = sorted(folder.glob("runs/*/*/*/predictions.parquet"))
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in found)


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    study = subprocess.Popen(
        [sys.executable, "-m", "adasparse_cli", *words],
        cwd=folder,
        env={**ENVIRONMENT, **os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    STARTED.append(study)
    return study


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def no_study_outlives_its_test() -> Iterator[None]:
    yield
    while STARTED:
        study = STARTED.pop()
        if study.poll() is None:
            study.kill()
        study.communicate()


def wait_for(what: Callable[[], bool], study: subprocess.Popen[str], seconds: float = 240.0) -> None:
    """Wait until something is so, which it must be before the study ends."""
    until(lambda: study.poll() is not None or what(), seconds)
    assert study.poll() is None, study.communicate()


def programs(folder: Path) -> list[int]:
    """The processes of jobs that train for a study in this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"adasparse_cli.execution.job" in words and any(str(folder).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


def passed_rows(folder: Path) -> int:
    total = 0
    for path in folder.glob("runs/.jobs/*/state.json"):
        total += json.loads(path.read_text())["rows"]
    return total


def submitted(folder: Path) -> int:
    """Jobs whose number is written down."""
    return sum('"id": null' not in path.read_text() for path in folder.glob("runs/.jobs/*/job.json"))


def checkpoints(folder: Path) -> int:
    return len(list(folder.glob("runs/*/*/*/checkpoints/last/*")))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    adasparse(folder, *STUDY)
    return folder


def test_runs_of_jobs_are_those_of_this_machine_and_are_made_once(
    cluster: tuple[list[str], Path], local: Path, tmp_path: Path
) -> None:
    done = adasparse(tmp_path, *STUDY, *cluster[0])
    assert bytes_of_runs(tmp_path) == bytes_of_runs(local)
    assert not list(tmp_path.glob("runs/.jobs/*"))
    again = adasparse(tmp_path, *STUDY)
    assert again.stdout == done.stdout, "the same study, wherever its runs are trained"
    assert len(list(tmp_path.glob("runs/*/*/*-s*"))) == 2
    assert len(list(tmp_path.glob("studies/*"))) == 1


def test_a_killed_command_finds_its_jobs_again(cluster: tuple[list[str], Path], tmp_path: Path) -> None:
    words = (*LONG, *cluster[0])
    killed = started(tmp_path, *words)
    wait_for(lambda: passed_rows(tmp_path) > 0 and submitted(tmp_path) == 2, killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert programs(tmp_path), "jobs outlive the command"
    second = started(tmp_path, *words)
    out, err = second.communicate(timeout=400)
    assert second.returncode == 0, out + err
    assert "waiting for job" in err
    assert len(list(tmp_path.glob("runs/*/*/*-s*"))) == 2, "nothing was trained twice"


def test_a_killed_job_is_submitted_again_and_ends_as_if_nothing_had_happened(
    cluster: tuple[list[str], Path], tmp_path: Path
) -> None:
    words = (*LONG, "loop.checkpoint_seconds=1")
    study = started(tmp_path, *words, *cluster[0])
    wait_for(lambda: checkpoints(tmp_path) > 0, study)
    os.kill(programs(tmp_path)[0], signal.SIGKILL)
    out, err = study.communicate(timeout=400)
    assert study.returncode == 0, out + err
    assert err.count("resubmitting") == 1
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    adasparse(undisturbed, *words, "loop.checkpoint_seconds=1000", "paths.data=../data", apart=True)
    assert bytes_of_runs(tmp_path) == bytes_of_runs(undisturbed)


def test_an_interrupted_study_ends_its_jobs(cluster: tuple[list[str], Path], tmp_path: Path) -> None:
    study = started(tmp_path, *LONG, *cluster[0])
    wait_for(lambda: passed_rows(tmp_path) > 0, study)
    study.send_signal(signal.SIGINT)
    out, err = study.communicate(timeout=400)
    assert study.returncode == 130, out + err
    assert "2 of 2 runs are left" in err
    assert not programs(tmp_path)
    assert len(list(tmp_path.glob("runs/*/*/*/checkpoints/last/*"))), "what was trained is saved"


def test_two_studies_that_need_the_same_run_train_it_once(cluster: tuple[list[str], Path], tmp_path: Path) -> None:
    adasparse(tmp_path, "prep", "data=twin", SMALL[0])
    both = [started(tmp_path, "sweep", f"model=dnn,{other}", *SMALL, *cluster[0]) for other in ("biasnet", "lr")]
    same = started(tmp_path, "sweep", "model=dnn,lr", *SMALL, *cluster[0])
    codes = [one.wait(150) for one in both]
    assert codes in ([0, 0], [0, 6]), "the same study is refused"
    assert sorted([codes[1], same.wait(150)]) == [0, 6]
    assert len(list(tmp_path.glob("runs/*/dnn/*-s*"))) == 1


@pytest.mark.skipif(not can_hide(), reason="hiding a folder from a node needs root and unshare")
@pytest.mark.parametrize("what", ["here", "runs", "data"])
def test_a_folder_that_the_node_does_not_see_is_named(
    cluster: tuple[list[str], Path], tmp_path: Path, what: str
) -> None:
    words, hidden = cluster
    place = hidden / f"{what}-{tmp_path.name}"
    place.mkdir()
    at = place if what == "here" else tmp_path
    own = [] if what == "here" else [f"paths.{what}={place}"]
    done = adasparse(at, *STUDY, *words, *own, code=3)
    assert "does not see" in done.stderr
    assert "all nodes share" in done.stderr
    assert str(place) in done.stderr
    assert not list(at.glob("runs/*/*/*-s*"))


def test_a_node_without_the_program_is_named(cluster: tuple[list[str], Path], tmp_path: Path) -> None:
    done = adasparse(tmp_path, *STUDY, *cluster[0], "launcher.python=/no/such/python", code=2)
    assert "cannot start /no/such/python" in done.stderr
    assert "launcher.python" in done.stderr


def test_a_run_that_fails_by_itself_is_not_submitted_again(cluster: tuple[list[str], Path], tmp_path: Path) -> None:
    done = adasparse(tmp_path, "sweep", "loop.learning_rate=0.001,1e30", *SMALL, *cluster[0], code=1)
    assert done.stderr.count(" failed: ") == 1
    assert "submitting" not in done.stderr
    assert len(list(tmp_path.glob("runs/*/*/*/DONE"))) == 1


def test_a_partition_that_does_not_exist_is_refused_by_slurm(cluster: tuple[list[str], Path], tmp_path: Path) -> None:
    if "launcher=slurm" not in cluster[0]:
        pytest.skip("Ray has no partitions")
    done = adasparse(tmp_path, *STUDY, *cluster[0], "launcher.partition=nope", code=2)
    assert "Slurm refused the job" in done.stderr
    assert "nope" in done.stderr
    assert "launcher.partition" in done.stderr
    assert not list(tmp_path.glob("runs/*/*/*-s*"))
