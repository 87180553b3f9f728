"""What is asked of a scheduler and understood of its answers, without one; and what a job checks before it trains."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from adasparse_cli.cluster import ray, slurm
from adasparse_cli.cluster.engine import NOT_SHARED, ClusterJob, EngineBusyError, JobState, Phase, shell_line
from adasparse_cli.config.compose import compose
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.execution import cluster_runs, job, task
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.runs.prepare import ensure_prepared
from adasparse_cli.runs.train_job import TrainJob, plan_train
from adasparse_cli.typed import typed
from tests.commands.typing_in import adasparse

SMALL = ("data.rows=3000", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256", "threads=1")
JOB = ClusterJob(name="adasparse-1-a", line="echo hello", cpus=2)


def slurm_settings(**changes: object) -> slurm.Settings:
    found = typed(compose("train", ["launcher=slurm"])["launcher"], slurm.Settings, "launcher")
    return replace(found, **changes)  # type: ignore[arg-type]


def ray_settings(**changes: object) -> ray.Settings:
    found = typed(compose("train", ["launcher=ray"])["launcher"], ray.Settings, "launcher")
    return replace(found, **changes)  # type: ignore[arg-type]


def test_the_words_for_sbatch_are_what_was_asked_for_and_no_more() -> None:
    words = slurm.sbatch_words(slurm_settings(), JOB)
    assert words == [
        "sbatch", "--parsable", "--job-name=adasparse-1-a", "--output=/dev/null", "--no-requeue", "--nodes=1",
        "--ntasks=1", "--cpus-per-task=2", "--signal=B:TERM@60",
    ]  # fmt: skip
    asked = slurm_settings(
        partition="cpu", account="ads", minutes=90, gpus=1, memory_gib=1.5, options=("--qos=night", "--exclusive")
    )
    assert slurm.sbatch_words(asked, JOB)[len(words) :] == [
        "--partition=cpu", "--account=ads", "--time=90", "--gpus=1", "--mem=1536M", "--qos=night", "--exclusive",
    ]  # fmt: skip
    assert slurm.script(JOB) == "#!/bin/sh\necho hello\n"


def test_what_squeue_says_is_understood() -> None:
    text = "7|PENDING|Priority|\n8|PENDING|PartitionTimeLimit|\n9|RUNNING|None|n1\n10|COMPLETING|None|n2\n11|TIMEOUT|x|n3\n"
    found = slurm.queue_states(text)
    assert [found[own].phase for own in ("7", "8", "9", "10", "11")] == [
        Phase.waiting, Phase.waiting, Phase.running, Phase.running, Phase.ended,
    ]  # fmt: skip
    assert (found["7"].why, found["8"].why) == ("", "PartitionTimeLimit"), "only unusual reasons are reported"
    assert found["9"].node == "n1"


@pytest.mark.parametrize(
    ("state", "code", "exit_code", "again"),
    [
        ("COMPLETED", "0:0", 0, True),
        ("FAILED", "3:0", 3, True),
        ("FAILED", "0:9", None, True),
        ("TIMEOUT", "0:15", None, True),
        ("NODE_FAIL", "1:0", None, True),
        ("PREEMPTED", "0:15", None, True),
        ("CANCELLED", "0:15", None, False),
        ("OUT_OF_MEMORY", "0:125", None, False),
    ],
)
def test_how_a_job_of_slurm_ended_is_understood(state: str, code: str, exit_code: int | None, again: bool) -> None:
    shown = f"JobId=5 JobName=x UserId=a(1) JobState={state} Reason=None ExitCode={code} BatchHost=n7 Command=(null)"
    found = slurm.shown_end(shown)
    assert found == JobState(phase=Phase.ended, why=state, exit_code=exit_code, node="n7", again=again)


def test_the_request_to_ray_is_json_of_what_was_asked_for() -> None:
    found = ray.request(ray_settings(gpus=1, memory_gib=2.0), JOB)
    assert json.loads(json.dumps(found)) == {
        "entrypoint": "echo hello",
        "submission_id": "adasparse-1-a",
        "entrypoint_num_cpus": 2,
        "entrypoint_num_gpus": 1,
        "entrypoint_memory": 2147483648,
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}},
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"status": "PENDING", "message": "No room.\nmore"}, JobState(phase=Phase.waiting, why="No room.")),
        ({"status": "RUNNING", "driver_agent_http_address": "http://n1:5"}, JobState(phase=Phase.running, node="n1")),
        ({"status": "FAILED", "driver_exit_code": 91}, JobState(phase=Phase.ended, why="FAILED", exit_code=91)),
        ({"status": "FAILED", "driver_exit_code": -9, "message": "killed"}, JobState(phase=Phase.ended, why="killed")),
        ({"status": "STOPPED"}, JobState(phase=Phase.ended, why="STOPPED", again=False)),
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, JobState(phase=Phase.ended, why="SUCCEEDED", exit_code=0)),
    ],
)
def test_what_ray_says_of_a_job_is_understood(answer: Mapping[str, object], expected: JobState) -> None:
    assert ray.state(answer) == expected


def test_the_line_of_a_job_tells_what_is_missing_by_its_exit_code(tmp_path: Path) -> None:
    """Run by a shell, as a scheduler would; with a folder whose name a shell would take apart."""
    folder = tmp_path / "it's a $(folder)"
    folder.mkdir()
    known = folder / "task.json"

    def code(**changes: object) -> int:
        words = {
            "python": sys.executable, "module": "json.tool", "task": known, "folder": folder,
            "log": folder / "log", "python_path": "/a:/b", **changes,
        }  # fmt: skip
        return subprocess.run(["sh", "-c", shell_line(**words)], check=False).returncode  # type: ignore[arg-type]

    assert code() == NOT_SHARED
    known.write_text('{"here": true}')
    assert code() == 0
    assert '"here": true' in (folder / "log").read_text()
    assert code(folder=tmp_path / "elsewhere") == NOT_SHARED
    assert code(python="/no/such/python") in (126, 127)


class Answers(http.server.BaseHTTPRequestHandler):
    """Something that answers, and is no Ray."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"hello": 1}' if "version" in self.path else b"<html>")

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_engine_that_is_not_there_is_named_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = ("sweep", "model=dnn,lr", *SMALL)
    said = {
        ("launcher=slurm",): "the command sbatch is not installed",
        ("launcher=ray", "launcher.address=http://127.0.0.1:9"): "no Ray cluster answers at http://127.0.0.1:9",
        ("launcher=ray", f"launcher.address={stranger}"): "the server at this address is not Ray",
        ("launcher=ray", "launcher.address=head:8265"): "is not an address",
        ("launcher=slurm", "--workers", "2"): "launcher.jobs=2",
        ("launcher=moon",): "launcher=moon: unknown launcher",
        ("launcher.partition=x",): "unknown setting launcher.partition",
        ("launcher=slurm", "launcher.jobs=0"): "launcher.jobs",
    }
    for words, text in said.items():
        done = adasparse(tmp_path, *sweep, *words, code=2)
        assert text in done.stderr, done.stderr
        assert done.stderr.count("hint:") == 1
    assert not (tmp_path / "data").exists()
    assert "a single run is trained here" in adasparse(tmp_path, "train", *SMALL, "launcher=slurm", code=2).stderr
    with pytest.raises(EngineBusyError, match="does not answer with JSON"):
        ray.Ray(ray_settings(address=stranger)).states(["x"])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NamedRun:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "LAG_SECONDS", 0.0)
    planned = plan_train([*SMALL, "model=lr"])
    return NamedRun(name="lr, seed 0", job=planned, prepared=ensure_prepared(planned.data))


def written(run: NamedRun) -> Path:
    place = task.place_of(run)
    place.mkdir(parents=True, exist_ok=True)
    task.write_task(place, run, "the job")
    return place


def test_a_task_is_json_and_trains_the_run_that_was_planned(run: NamedRun) -> None:
    place = written(run)
    assert job.run_job(place / task.TASK) == 0
    told = task.read_told(place, "the job")
    assert told is not None
    assert (told.ended, told.exit_code) == ("done", 0)
    assert told.rows > 0
    assert task.read_told(place, "another job") is None
    assert cluster_runs.finished_run(run.job, run.prepared) is not None
    for path in place.iterdir():
        assert path.suffix != ".json" or json.loads(path.read_text())


def test_the_place_of_a_run_does_not_depend_on_who_needs_it(run: NamedRun) -> None:
    def planned(*words: str) -> NamedRun:
        return replace(run, name="another", job=plan_train([*SMALL, "model=lr", *words]))

    assert task.place_of(planned("launcher=slurm", "paths.studies=elsewhere")) == task.place_of(run)
    assert task.place_of(planned("seed=1")) != task.place_of(run)
    assert "launcher" not in run.job.config


@pytest.mark.parametrize("what", ["token", "data", "versions", "no data", "no runs"])
def test_a_job_that_finds_something_else_than_it_should_trains_nothing(run: NamedRun, what: str) -> None:
    place = written(run)
    values = vars(task.read_task(place / task.TASK))
    changed = {
        "token": {"token": "another"},
        "data": {"fingerprint": "another"},
        "versions": {"versions": {**values["versions"], "torch": "1.0"}},
        "no data": {"data": str(place / "nothing")},
        "no runs": {"runs": str(place / "nothing")},
    }[what]
    task.write_sealed(place / task.TASK, {task.VERSION_KEY: task.VERSION, **values, **changed})
    assert job.run_job(place / task.TASK) == NOT_SHARED
    told = task.read_told(place, "the job")
    assert told is not None
    assert told.of_all
    expected = {
        "token": "has another folder", "data": "has other data", "versions": "has torch",
        "no data": "does not see the data", "no runs": "does not see",
    }[what]  # fmt: skip
    assert expected in told.reason
    assert told.hint
    assert not list(run.job.runs.glob("*/*/*-s*"))
    assert not (place / "nothing").exists()


def test_a_changed_task_and_a_password_are_refused(run: NamedRun) -> None:
    place = written(run)
    path = place / task.TASK
    path.write_text(path.read_text().replace("the job", "a job"))
    with pytest.raises(IntegrityError, match="was changed after it was written"):
        job.run_job(path)
    secret = {**run.job.config, "tracking": {"name": "mlflow", "uri": "http://me:secret@host"}}
    other = replace(run, job=replace(run.job, config=secret))
    with pytest.raises(UsageError, match="a password"):
        task.write_task(place, other, "x")


class Processes:
    """A scheduler that starts a job as a process at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self.cancelled: list[str] = []
        self.silent = 0
        self.before: dict[str, str] = {}

    def check(self) -> None:
        pass

    def submit(self, own: ClusterJob) -> str:
        if self.silent:
            self.silent -= 1
            raise EngineBusyError("full", hint="")
        self.lines.append(own.line)
        line = self.before.pop("line", own.line)
        self.started[own.name] = subprocess.Popen(["sh", "-c", line])
        return own.name

    def find(self, name: str) -> str | None:
        return name if name in self.started else None

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        found = {}
        for own in ids:
            code = self.started[own].poll() if own in self.started else None
            phase = Phase.unknown if own not in self.started else Phase.running if code is None else Phase.ended
            known = code if code is not None and code >= 0 else None
            found[own] = JobState(phase=phase, exit_code=known, why="" if known is not None else "killed")
        return found

    def cancel(self, ids: Sequence[str]) -> None:
        self.cancelled += ids


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    engine = Processes()
    monkeypatch.setattr(cluster_runs, "engine_of", lambda settings: engine)
    yield engine
    for one in engine.started.values():
        one.wait(60)


STUDY = ("sweep", "model=dnn,lr", *SMALL, "launcher=ray", "launcher.poll_seconds=0.2")


def test_a_job_that_is_killed_is_submitted_again(processes: Processes, tmp_path: Path) -> None:
    processes.before["line"] = "kill -9 $$"
    processes.silent = 1
    done = adasparse(tmp_path, *STUDY, "launcher.jobs=1")
    assert done.stderr.count("full; waiting") == 1
    assert done.stderr.count("resubmitting") == 1
    assert len(processes.lines) == 3
    assert len(list(tmp_path.glob("runs/*/*/*/DONE"))) == 2
    adasparse(tmp_path, *STUDY)
    assert len(processes.lines) == 3, "nothing is trained twice"


def test_jobs_that_always_die_are_told_and_the_study_ends(processes: Processes, tmp_path: Path) -> None:
    done = adasparse(tmp_path, *STUDY, "launcher.python=/no/such/python", code=2)
    assert "cannot start /no/such/python" in done.stderr
    assert processes.cancelled
    die = tmp_path / "die"
    die.write_text("#!/bin/sh\nkill -9 $$\n")
    die.chmod(0o755)
    done = adasparse(tmp_path, *STUDY, f"launcher.python={die}", "launcher.retries=1", code=3)
    assert done.stderr.count("resubmitting") == 2
    assert "was ended from outside (killed, the last of 2 jobs)" in done.stderr
    die.write_text("#!/bin/sh\necho no such library\nexit 4\n")
    done = adasparse(tmp_path, *STUDY, f"launcher.python={die}", code=3)
    assert "ended with exit code 4: no such library" in done.stderr
    assert "submitting" not in done.stderr


def test_a_study_has_one_name_wherever_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adasparse_cli.choices import Metric
    from adasparse_cli.search.hpo import plan_search
    from adasparse_cli.search.tune import plan_tune
    from adasparse_cli.studies.plan import plan_sweep

    monkeypatch.chdir(tmp_path)
    there = ["launcher=slurm", "launcher.partition=x"]
    names: list[list[str]] = []
    for words in ([], there):
        sweep = plan_sweep(["model=dnn,lr", *SMALL, *words], seeds=1)
        hpo = plan_search(
            ["loop.learning_rate=interval(0.001,0.002)", *SMALL, *words], trials=2, seeds=1, metric=Metric.auc
        )
        tune = plan_tune(["lr"], [*SMALL, *words], trials=2, seeds=1, metric=Metric.auc, least_gain=0.0)
        names.append([one.folder.name for one in (sweep, hpo, tune)])
    assert names[0] == names[1]
    first: TrainJob = sweep.arms[0].jobs[0]
    assert first.launcher.name == "slurm"
    assert "launcher" not in first.config
