"""A run's files are what the run wrote, or are refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from adasparse_cli.catalogue.verify import verify_run
from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import write_json, write_text
from adasparse_cli.runs.chosen import all_runs
from adasparse_cli.runs.run_folder import Sitting, add_sitting, finish, latest_alike, new_run
from adasparse_cli.runs.run_tables import read_predictions
from adasparse_cli.runs.saved_run import DONE, REPORT_VERSION, read_config, read_report, run_file

SITTING = Sitting(device="cpu", threads=1, fingerprint="f")


def begun(root: Path) -> Path:
    return new_run(root, {"seed": 3, "data": {"name": "twin"}}, seed=3, sitting=SITTING)


def done(root: Path) -> Path:
    folder = begun(root)
    write_json(folder / "report.json", {"report_version": REPORT_VERSION, "seed": 3})
    pl.DataFrame({"logit": [0.5]}).write_parquet(folder / "predictions.parquet")
    write_text(folder / "domains.csv", "domain,test_auc\n0,0.7\n")
    (folder / "encoder" / "vocabularies").mkdir(parents=True)
    write_text(folder / "encoder" / "vocabularies" / "place.csv", "x\n")
    finish(folder)
    return folder


def test_a_folder_that_a_killed_process_was_creating_is_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files may be complete: the process can be killed just before the folder gets its name."""
    label = tmp_path / "twin" / "dnn"
    config = {"seed": 3, "data": {"name": "twin"}}

    def killed(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            new_run(label, config, seed=3, sitting=SITTING)
    (left,) = label.iterdir()
    assert sorted(path.name for path in left.iterdir()) == ["config.yaml", "environment.json"]
    assert latest_alike(label, config, "f") is None
    assert all_runs(tmp_path) == []
    new = new_run(label, config, seed=3, sitting=SITTING)
    assert list(label.iterdir()) == [new]
    assert latest_alike(label, config, "f") == new
    assert all_runs(tmp_path) == [new]


def test_a_run_that_an_earlier_version_trained_in_a_hidden_folder_is_not_lost(tmp_path: Path) -> None:
    label = tmp_path / "twin" / "dnn"
    trained = done(label)
    (trained / "checkpoints").mkdir()
    hidden = trained.rename(label / f".{trained.name}.starting")
    new = begun(label)
    assert not hidden.exists()
    assert set(all_runs(tmp_path)) == {trained, new}
    assert (trained / DONE).exists()
    assert new != trained


def test_a_file_edited_by_hand_is_named_with_what_to_do(tmp_path: Path) -> None:
    folder = done(tmp_path)
    assert verify_run(folder) == 7
    for name in ("config.yaml", "environment.json", "report.json", "domains.csv", "encoder/vocabularies/place.csv"):
        whole = (folder / name).read_text()
        write_text(folder / name, whole.replace("0.7", "0.9") + " ")
        with pytest.raises(IntegrityError, match="was changed after the run finished") as caught:
            run_file(folder, name)
        assert "restore it from a copy" in caught.value.hint
        assert f"runs rm {folder.name}" in caught.value.hint
        write_text(folder / name, whole)
    write_text(folder / "extra.csv", "")
    with pytest.raises(IntegrityError, match="it was added later"):
        run_file(folder, "extra.csv")


def test_a_run_cannot_lose_its_checksums_unnoticed(tmp_path: Path) -> None:
    folder = done(tmp_path)
    for content in ("\n", ""):  # as earlier versions left it
        (folder / DONE).write_text(content)
        for read in (read_report, read_predictions, read_config):
            with pytest.raises(IntegrityError, match="DONE is damaged"):
                read(folder)
    (folder / DONE).unlink()
    with pytest.raises(IntegrityError, match="is not finished"):
        read_report(folder)


def test_the_settings_of_a_run_under_way_are_those_it_started_with(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    assert read_config(folder)["seed"] == 3
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("seed: 3", "seed: 2"))
    with pytest.raises(IntegrityError, match="was changed after the run started"):
        read_config(folder)
    add_sitting(folder, SITTING)
    with pytest.raises(IntegrityError, match="was changed after the run started"):
        read_config(folder)
