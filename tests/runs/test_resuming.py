"""Which run is taken up again, and that no two processes train the same one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.errors import BusyError, IntegrityError, NumericError, ResourceError
from adasparse_cli.files import only_owner, remove_stray_temporaries, write_text
from adasparse_cli.runs import run_folder, saved_run
from adasparse_cli.runs import train as train_module
from adasparse_cli.runs.run_folder import latest_alike
from adasparse_cli.runs.saved_run import DONE, FAILED, failure_of, read_environment
from adasparse_cli.runs.train import run_train
from adasparse_cli.runs.train_job import TrainJob, plan_train

TINY = ("data.rows=2000", "model=dnn", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256")


def job_in(folder: Path, *words: str) -> TrainJob:
    return plan_train([*TINY, f"paths.data={folder / 'data'}", f"paths.runs={folder / 'runs'}", *words])


def runs_in(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "runs/twin/dnn").glob("[!.]*") if path.is_dir())


def broken_after(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Training ends with an error once its checkpoints are written."""
    loops = dict(train_module.LOOPS)
    standard = loops["standard"]

    class Broken(standard):  # type: ignore[valid-type, misc]
        def run(self) -> Any:
            super().run()
            raise error

    monkeypatch.setattr(train_module, "LOOPS", {**loops, "standard": Broken})


def test_a_run_that_failed_for_want_of_room_is_resumed_and_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_train(job_in(tmp_path / "whole")).folder
    job = job_in(tmp_path)
    with monkeypatch.context() as patched:
        broken_after(patched, ResourceError("the disk is full", hint="free some room"))
        with pytest.raises(ResourceError):
            run_train(job)
    (failed,) = runs_in(tmp_path)
    assert failure_of(failed) is not None
    write_text(failed / "checkpoints/last/.step-9.safetensors.tmp99999", "stray")
    done = run_train(job, resume=True)
    assert done.folder == failed
    assert (failed / DONE).exists()
    assert not (failed / FAILED).exists()
    assert not list(failed.rglob("*.tmp*"))
    for name in ("metrics.jsonl", "domains.csv", "predictions.parquet"):
        assert (failed / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_whose_loss_was_not_finite_is_not_trained_to_the_same_end_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(tmp_path)
    with monkeypatch.context() as patched:
        broken_after(patched, NumericError("the loss is not finite at step 3", hint="lower it"))
        with pytest.raises(NumericError):
            run_train(job)
    with pytest.raises(NumericError, match="the same settings would fail again: the loss is not finite at step 3"):
        run_train(job, resume=True)
    assert len(runs_in(tmp_path)) == 1


def test_a_run_whose_checkpoint_is_damaged_is_trained_anew_and_does_not_block_its_settings(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    run = run_train(job).folder
    (run / DONE).unlink()
    (tensors,) = (run / "checkpoints/last").glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-9])
    with pytest.raises(IntegrityError, match="is damaged"):
        run_train(job, resume=True)
    done = run_train(job, resume=True)
    assert done.fresh
    assert done.folder != run
    assert not run_train(job, resume=True).fresh


def test_a_failed_run_does_not_hide_an_older_one_that_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_in(tmp_path)
    done = run_train(job).folder
    with monkeypatch.context() as patched:
        broken_after(patched, ResourceError("the disk is full", hint="free some room"))
        with pytest.raises(ResourceError):
            run_train(job)
    assert len(runs_in(tmp_path)) == 2
    assert run_train(job, resume=True).folder == done


def test_a_failure_that_an_earlier_version_wrote_down_is_read(tmp_path: Path) -> None:
    for text, again in (("the disk is full", False), ("the loss is not finite at step 3, first in head", True)):
        (tmp_path / FAILED).write_text(text + "\n")
        found = failure_of(tmp_path)
        assert found is not None
        assert (found.message, found.fails_again) == (text, again)


def test_a_run_can_be_recognised_before_anything_slow_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process that resumes while the first still reads its data finds the first's run, and that it is busy."""
    job, seen = job_in(tmp_path), []

    def slow(*given: Any, **named: Any) -> Any:
        with pytest.raises(BusyError):
            run_train(job, resume=True)
        seen.append(len(runs_in(tmp_path)))
        raise ResourceError("far enough", hint="")

    monkeypatch.setattr(train_module, "copy_encoder", slow)
    with pytest.raises(ResourceError):
        run_train(job, resume=True)
    assert seen == [1]
    (run,) = runs_in(tmp_path)
    config = saved_run.read_config(run)
    assert latest_alike(run.parent, config, read_environment(run)["data_fingerprint"]) is None  # it has no checkpoint


def test_what_a_killed_start_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    left = tmp_path / "runs/twin/dnn/.20200101T000000Z-s0.starting"
    left.mkdir(parents=True)
    (left / "config.yaml").write_text("seed: 0\n")
    run_train(job_in(tmp_path, "loop.max_steps=2"))
    assert not left.exists()
    assert len(runs_in(tmp_path)) == 1


def test_only_stray_temporaries_are_removed(tmp_path: Path) -> None:
    names = {
        ".step-3.safetensors.tmp123": False,
        ".gitignore": True,
        "x.tmp5": True,
        ".a.tmp": False,
        ".b.json.tmpx": True,
    }
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / "deep" / name).write_text("")
    with only_owner(tmp_path):
        remove_stray_temporaries(tmp_path)
    assert {name: (tmp_path / "deep" / name).exists() for name in names} == names


def test_the_commit_is_that_of_this_code_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package inside somebody's repository is no part of it."""
    package = tmp_path / "theirs" / "venv" / "adasparse_cli"
    package.mkdir(parents=True)
    (package / "run_folder.py").write_text("")
    for words in (
        ("init", "-q"),
        ("-c", "user.name=x", "-c", "user.email=x@y", "commit", "-q", "--allow-empty", "-m", "x"),
    ):
        subprocess.run(["git", *words], cwd=tmp_path / "theirs", check=True)
    monkeypatch.setattr(run_folder, "__file__", str(package / "run_folder.py"))
    run = run_train(job_in(tmp_path, "loop.max_steps=2")).folder
    assert read_environment(run)["sittings"][0]["git_commit"] is None
    subprocess.run(["git", "add", "-f", "venv"], cwd=tmp_path / "theirs", check=True)
    run = run_train(job_in(tmp_path, "loop.max_steps=3")).folder
    sitting = read_environment(run)["sittings"][0]
    assert len(sitting["git_commit"]) == 40
    assert sitting["git_changed"] is True
