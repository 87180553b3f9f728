"""`runs ls` and its filters, `runs diff`, `models show`, `data rm` and `train --dry-run`, as a person types them."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.files import only_owner
from adasparse_cli.models import MODELS
from tests.commands.typing_in import adasparse

SMALL = ("data.rows=3000", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=512")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs on two data sets; one of them is an arm of a study."""
    folder = tmp_path_factory.mktemp("home")
    adasparse(folder, "train", "--model", "dnn", *SMALL)
    time.sleep(1.1)  # a run's folder is named by the second in which it starts
    adasparse(folder, "train", "--mode", "scaling", *SMALL, "loop.learning_rate=0.01", "seed=1")
    time.sleep(1.1)
    adasparse(folder, "train", "--model", "dnn", *SMALL, "data.seed=5", "data.name=other")
    (dnn,) = folder.glob("runs/twin/dnn/*")
    study = {"study_version": 2, "arms": [{"name": "dnn", "runs": {"0": f"../../{dnn.relative_to(folder)}"}}]}
    (folder / "studies" / "mine").mkdir(parents=True)
    (folder / "studies" / "mine" / "study.json").write_text(json.dumps(study))
    return folder


def listed(home: Path, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(adasparse(home, "runs", "ls", "--json", *words).stdout)["rows"]
    return found


def models(rows: list[dict[str, Any]]) -> list[str]:
    return [f"{row['data']}/{row['model']}" for row in rows]


def test_runs_are_listed_with_their_time_and_study(home: Path) -> None:
    rows = listed(home)
    assert models(rows) == ["twin/dnn", "twin/adasparse-scaling", "other/dnn"]
    assert [row["study"] for row in rows] == ["mine", "", ""]
    for row in rows:
        stamp = row["time_utc"]
        assert row["run"].startswith(stamp.replace("-", "").replace(":", "").replace(" ", "T") + "Z-s")
    assert "time (UTC)" in adasparse(home, "runs", "ls").stdout


def test_filters_leave_what_they_name(home: Path) -> None:
    assert models(listed(home, "--data", "twin")) == ["twin/dnn", "twin/adasparse-scaling"]
    assert models(listed(home, "--model", "adasparse")) == ["twin/adasparse-scaling"]
    assert models(listed(home, "--model", "adasparse-scaling")) == ["twin/adasparse-scaling"]
    assert models(listed(home, "--study", "mine")) == ["twin/dnn"]
    assert models(listed(home, "--data", "other", "--model", "dnn")) == ["other/dnn"]
    for words, says in ((("--data", "twim"), "twin"), (("--model", "star"), "dnn"), (("--study", "min"), "mine")):
        done = adasparse(home, "runs", "ls", *words, code=2)
        assert words[1] in done.stderr
        assert says in done.stderr.split("hint:")[1]


def test_runs_are_sorted_and_cut(home: Path) -> None:
    every = listed(home)
    by_gauc = listed(home, "--sort", "gauc")
    assert [row["gauc_domain"] for row in by_gauc] == sorted((row["gauc_domain"] for row in every), reverse=True)
    losses = [row["log_loss"] for row in listed(home, "--sort", "log_loss")]
    assert losses == sorted(losses)
    assert listed(home, "--sort", "auc", "--limit", "1")[0]["auc"] == max(row["auc"] for row in every)
    assert listed(home, "--limit", "2") == every[-2:]
    assert [row["data"] for row in listed(home, "--sort", "data")] == ["other", "twin", "twin"]
    adasparse(home, "runs", "ls", "--limit", "0", code=2)


def test_a_run_whose_data_are_gone_or_replaced_is_stale(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "copy")
    copy = tmp_path / "copy"
    assert {row["state"] for row in listed(copy)} == {"done"}
    shutil.rmtree(copy / "data" / "other")
    assert [row["state"] for row in listed(copy)] == ["done", "done", "stale"]
    adasparse(copy, "prep", "data.rows=3000", "data.seed=9", "--replace")
    assert [row["state"] for row in listed(copy)] == ["stale"] * 3
    assert "stale" in adasparse(copy, "runs", "ls").stdout
    # from another folder, the data beside the runs count
    assert [row["state"] for row in listed(tmp_path, "--runs", str(home / "runs"))] == ["done"] * 3


def test_two_runs_side_by_side(home: Path) -> None:
    said = json.loads(adasparse(home, "runs", "diff", "twin/dnn", "adasparse-scaling", "--json").stdout)
    names = [name for name in said["settings"][0] if name != "setting"]
    assert len(names) == 2
    settings = {row["setting"]: [row[name] for name in names] for row in said["settings"]}
    assert settings["loop.learning_rate"] == ["0.002", "0.01"]
    assert settings["seed"] == ["0", "1"]
    assert settings["model.mode"] == ["–", "scaling"]
    assert "loop.batch_size" not in settings
    metrics = {row["metric"]: [row[name] for name in names] for row in said["metrics"]}
    rows = {row["model"]: row for row in listed(home, "--data", "twin")}
    assert metrics["test auc"] == [rows["dnn"]["auc"], rows["adasparse-scaling"]["auc"]]


def test_three_runs_as_a_table_and_as_csv(home: Path) -> None:
    done = adasparse(home, "runs", "diff", "twin/dnn", "adasparse-scaling", "other/dnn")
    for part in ("Settings that differ", "data fingerprint", "Metrics", "test gauc_domain", "* "):
        assert part in done.stdout
    assert "different prepared data" in done.stderr
    rows = list(csv.DictReader(io.StringIO(adasparse(home, "runs", "diff", "twin/dnn", "other/dnn", "--csv").stdout)))
    assert {row["key"] for row in rows} >= {"data.seed", "data.name", "test auc"}
    assert "needs at least two runs" in adasparse(home, "runs", "diff", "twin/dnn", "twin/dnn", code=2).stderr
    assert "needs at least two runs" in adasparse(home, "runs", "diff", "twin/dnn", code=2).stderr


@pytest.mark.parametrize("name", sorted({*MODELS, "maml", "adasparse-paper"}))
def test_a_model_is_shown_with_equation_source_settings_and_cost(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    said = json.loads(adasparse(home, "models", "show", name, "--json").stdout)
    assert "=" in said["description"]
    assert "Source:" in said["description"] or name == "dnn"
    assert all(row["meaning"] for row in said["settings"])
    assert said["cost"]["backbone_parameters"] > 0
    listed_rows = {row["model"]: row for row in json.loads(adasparse(home, "models", "ls", "--json").stdout)["rows"]}
    if name in listed_rows:
        assert said["cost"] == {key: listed_rows[name][key] for key in said["cost"]}
    else:
        assert said["cost"]["domain_parameters"] > listed_rows["adasparse"]["domain_parameters"]


def test_a_model_is_shown_on_ones_own_data(home: Path) -> None:
    done = adasparse(home, "models", "show", "star", "--on", "twin")
    assert "Star Topology" in done.stdout
    assert "model.auxiliary_hidden" in done.stdout
    assert "for twin" in done.stdout
    assert "did you mean star?" in adasparse(home, "models", "show", "stra", code=2).stderr


def test_data_are_removed_after_their_runs_are_named(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "copy")
    copy = tmp_path / "copy"
    kept = adasparse(copy, "data", "rm", "other", code=None)  # nobody answers
    assert "runs/other/dnn/" in kept.stderr
    assert (copy / "data" / "other" / "manifest.json").exists()
    with only_owner(copy / "data" / ".other.owner"):
        assert "another process" in adasparse(copy, "data", "rm", "other", "--yes", code=6).stderr
    adasparse(copy, "data", "rm", "other", "--yes")
    assert not (copy / "data" / "other").exists()
    assert (copy / "data" / "twin").exists()
    assert [row["state"] for row in listed(copy, "--data", "other")] == ["stale"]
    assert "prepared data sets include twin" in adasparse(copy, "data", "rm", "twim", code=2).stderr


@pytest.mark.parametrize("name", ["thesis.odt", "raw/mine.csv", "train/notes.txt", "deeper/manifest.json"])
def test_data_with_a_file_of_somebody_else_are_kept(home: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data" / "other"
    shutil.copytree(home / "data" / "other", folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("years of work")
    done = adasparse(tmp_path, "data", "rm", "other", "--yes", code=2)
    assert name in done.stderr
    assert (folder / name).read_text() == "years of work"
    assert (folder / "manifest.json").exists()


def test_linked_data_are_kept_and_damaged_data_can_be_removed(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "data" / "other", tmp_path / "real")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "other").symlink_to(tmp_path / "real")
    assert "symbolic link" in adasparse(tmp_path, "data", "rm", "other", "--yes", code=2).stderr
    (tmp_path / "data" / "other").unlink()
    shutil.copytree(tmp_path / "real", tmp_path / "data" / "other")
    (tmp_path / "data" / "other" / "manifest.json").write_text("{")
    shutil.rmtree(tmp_path / "data" / "other" / "raw")  # whose file it is, nobody can say
    adasparse(tmp_path, "data", "rm", "other", "--yes")
    assert not (tmp_path / "data" / "other").exists()
    assert (tmp_path / "real" / "manifest.json").exists()


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_plan_of_training_writes_nothing(home: Path, tmp_path: Path) -> None:
    before = everything(home)
    (plan,) = json.loads(adasparse(home, "train", "--dry-run", "--model", "dnn", *SMALL, "--json").stdout)["rows"]
    assert (plan["action"], plan["run"], plan["seed"]) == ("train", "runs/twin/dnn/…", 0)
    report = json.loads(next(home.glob("runs/twin/dnn/*/report.json")).read_text())
    assert plan["parameters"] == sum(value for key, value in report["cost"].items() if key.endswith("_parameters"))
    assert plan["seconds"] >= 5  # as long as the run before it, and the start
    (plan,) = json.loads(adasparse(home, "train", "--dry-run", "--resume", "--model", "dnn", *SMALL, "--json").stdout)[
        "rows"
    ]
    assert (plan["action"], plan["seconds"]) == ("nothing", 0)
    assert plan["run"].startswith("runs/twin/dnn/2")
    said = adasparse(home, "train", "--dry-run", "--model", "star", *SMALL, "--seeds", "3").stdout
    assert said.count("runs/twin/star/…") == 3
    assert "minutes" in said
    assert "was prepared with" in adasparse(home, "train", "--dry-run", "data.seed=8", code=2).stderr
    assert everything(home) == before
    said = adasparse(tmp_path, "train", "--dry-run").stdout
    assert "would be prepared first" in said
    assert not list(tmp_path.iterdir())
