"""Runs put side by side: the table against plain computations, arms that do not belong together refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.studies.arms import Arm, arms_of_runs, differing_settings
from adasparse_cli.studies.comparison import compare_arms

DATA: dict[str, Any] = {
    "name": "made",
    "fingerprint": "f" * 64,
    "label": "y",
    "domain": ["d"],
    "splits": {"test": {"rows": 300, "positives": 90}},
}


def run(root: Path, name: str, seed: int, *, settings: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A finished run's folder with the files a comparison reads."""
    folder = root / f"{name}-s{seed}"
    folder.mkdir()
    draw = np.random.default_rng(5)
    domains, labels = draw.integers(0, 6, 300), (draw.random(300) < 0.3).astype(np.int8)
    logits = np.random.default_rng([seed, len(name)]).normal(size=300) + labels * (0.5 + 0.2 * len(name))
    frame = pl.DataFrame(
        {"source": np.zeros(300, dtype=np.int32), "line": np.arange(300), "domain": domains.astype(np.int32), "label": labels,
         "logit": logits.astype(np.float32)}
    )  # fmt: skip
    frame.write_parquet(folder / "predictions.parquet")
    probabilities = 1 / (1 + np.exp(-logits))
    metrics = {
        "auc": roc_auc_score(labels, logits),
        "gauc_domain": 0.6,
        "log_loss": log_loss(labels, probabilities),
        "calibration": 1.0,
        "calibration_error": 0.0,
    }
    report = {
        "report_version": 1,
        "seed": seed,
        "data": {**DATA, **changes},
        "settings": {
            "model": {"name": name, **(settings or {})},
            "network": {"hidden": [8]},
            "loop": {"name": "standard"},
        },
        "metrics": {"test": metrics, "valid": metrics},
        "cost": dict.fromkeys(
            ("backbone_multiply_adds", "domain_multiply_adds", "backbone_parameters", "domain_parameters"), 5
        ),
        "timings": {"elapsed_seconds": 2.0},
        "sparsity": None,
    }
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def arm(root: Path, name: str, seeds: int = 2, **changes: Any) -> Arm:
    return Arm(name=name, runs={seed: run(root, name, seed, **changes) for seed in range(seeds)})


def test_the_table_is_that_of_the_reports_and_differences_are_to_the_baseline(tmp_path: Path) -> None:
    arms = [arm(tmp_path, "dnn"), arm(tmp_path, "longer")]
    table = compare_arms(arms, baseline="dnn").table()
    for row, one in zip(table, arms, strict=True):
        reports = [json.loads((folder / "report.json").read_text()) for folder in one.folders.values()]
        aucs = [report["metrics"]["test"]["auc"] for report in reports]
        assert row["auc"] == pytest.approx(np.mean(aucs))
        assert row["auc_sd"] == pytest.approx(np.std(aucs, ddof=1))
        assert row["valid_auc"] == pytest.approx(np.mean(aucs))
    assert table[0]["auc_difference"] is None
    assert table[1]["auc_difference"] == pytest.approx(table[1]["auc"] - table[0]["auc"], abs=1e-6)
    assert table[1]["auc_low"] < table[1]["auc_difference"] < table[1]["auc_high"]
    assert table[1]["relative_improvement"] == pytest.approx((table[1]["auc"] - 0.5) / (table[0]["auc"] - 0.5) - 1)
    assert 0 <= table[1]["uplift_domains"] <= 1


def test_a_metric_that_one_run_lacks_is_missing_and_never_0(tmp_path: Path) -> None:
    arms = [arm(tmp_path, "dnn"), arm(tmp_path, "other")]
    path = next(iter(arms[1].folders.values())) / "report.json"
    report = json.loads(path.read_text())
    report["metrics"]["test"]["gauc_domain"] = None
    path.write_text(json.dumps(report))
    row = compare_arms(arms, baseline="dnn").table()[1]
    assert row["gauc_domain"] is None
    assert row["gauc_domain_sd"] is None
    assert row["auc"] is not None


def test_an_arm_without_all_its_runs_is_shown_without_differences(tmp_path: Path) -> None:
    whole, part = arm(tmp_path, "dnn"), arm(tmp_path, "part")
    lacking = Arm(name="part", runs={**part.runs, 1: None})
    row = compare_arms([whole, lacking], baseline="dnn").table()[1]
    assert row["seeds"] == 1
    assert row["auc_difference"] is None
    with pytest.raises(DataError, match="no run is finished"):
        compare_arms([Arm(name="dnn", runs={0: None})], baseline="dnn")


def test_one_seed_gives_a_difference_without_an_interval(tmp_path: Path) -> None:
    row = compare_arms([arm(tmp_path, "dnn", 1), arm(tmp_path, "other", 1)], baseline="dnn").table()[1]
    assert row["auc_difference"] is not None
    assert row["auc_low"] is None
    assert row["auc_real"] is None


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"fingerprint": "0" * 64}, "fingerprint is ffffffffffff and 000000000000"),
        ({"fingerprint": "0" * 64, "label": "z"}, "label is y and z"),
        ({"fingerprint": "0" * 64, "domain": ["d", "e"]}, "domain is d and d × e"),
    ],
)
def test_arms_of_different_data_are_refused_and_the_difference_named(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(DataError, match="different data") as caught:
        compare_arms([arm(tmp_path, "dnn"), arm(tmp_path, "other", **changes)], baseline="dnn")
    assert named in caught.value.message


def test_predictions_of_other_rows_are_refused(tmp_path: Path) -> None:
    arms = [arm(tmp_path, "dnn"), arm(tmp_path, "other")]
    path = next(iter(arms[1].folders.values())) / "predictions.parquet"
    pl.read_parquet(path).with_columns(pl.col("label") ^ 1).write_parquet(path)
    with pytest.raises(IntegrityError, match="has other rows, labels or domains"):
        compare_arms(arms, baseline="dnn")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "predictions.parquet").unlink(), "predictions.parquet is missing"),
        (lambda folder: (folder / "predictions.parquet").write_bytes(b"PAR1 torn"), "predictions.parquet is damaged"),
        (lambda folder: (folder / "report.json").write_text('{"report_version": 1,'), "report.json is damaged"),
        (lambda folder: (folder / "report.json").write_text('{"report_version": 99}'), "has report format 99"),
        (lambda folder: (folder / "report.json").write_text('{"report_version": NaN}'), "NaN is not a number"),
        (lambda folder: (folder / "report.json").write_text("[]"), "it has no report_version"),
        (
            lambda folder: (folder / "predictions.parquet").write_bytes(
                (folder.parent / "dnn-s0" / "predictions.parquet").read_bytes()
            ),
            "the log loss of",
        ),
    ],
)
def test_a_damaged_run_is_named_with_what_to_do(tmp_path: Path, damage: Callable[[Path], object], said: str) -> None:
    """Also predictions of the same rows from another run, which no checksum of their own tells apart."""
    arms = [arm(tmp_path, "dnn"), arm(tmp_path, "other")]
    folder = arms[1].folders[1]
    damage(folder)
    with pytest.raises(IntegrityError) as caught:
        compare_arms(arms, baseline="dnn")
    assert said in caught.value.message
    assert str(folder) in caught.value.message
    assert "runs rm" in caught.value.hint


def test_data_without_test_rows_are_compared_by_nothing(tmp_path: Path) -> None:
    splits = {"splits": {"test": {"rows": 0, "positives": 0}}}
    found = compare_arms([arm(tmp_path, "dnn", **splits), arm(tmp_path, "other", **splits)], baseline="dnn")
    assert found.rows is None
    assert found.table()[1]["auc_difference"] is None


def test_two_runs_of_the_same_settings_and_seed_are_no_two_arms(tmp_path: Path) -> None:
    folders = [run(tmp_path, "dnn", 0), run(tmp_path, "apg", 0)]
    with pytest.raises(UsageError, match="same model, settings and seed"):
        arms_of_runs([*folders, folders[0]])
    for name in ("elsewhere", "other"):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match="same model, settings and seed"):
        arms_of_runs([*folders, run(tmp_path / "elsewhere", "dnn", 0)])
    with pytest.raises(DataError, match="different data"):
        arms_of_runs([*folders, run(tmp_path / "other", "dnn", 0, fingerprint="0" * 64)])


def test_users_as_clusters_need_users(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="have no user"):
        compare_arms([arm(tmp_path, "dnn"), arm(tmp_path, "other")], baseline="dnn", cluster="user")


def test_a_baseline_that_is_no_arm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an arm"):
        compare_arms([arm(tmp_path, "dnn")], baseline="apg")


def test_runs_that_differ_in_their_seed_alone_make_one_arm_and_names_say_what_differs(tmp_path: Path) -> None:
    folders = [run(tmp_path, "dnn", seed) for seed in (0, 1)]
    for width in (16, 32):
        (tmp_path / str(width)).mkdir()
        folders += [run(tmp_path / str(width), "apg", seed, settings={"rank": width}) for seed in (0, 1)]
    arms = arms_of_runs(folders)
    assert [one.name for one in arms] == ["dnn", "apg model.rank=16", "apg model.rank=32"]
    assert all(list(one.runs) == [0, 1] for one in arms)
    with pytest.raises(DataError, match="no run with seed 1"):
        arms_of_runs(folders[:-1])
    comparison = compare_arms(arms, baseline="dnn")
    rows = {row["setting"]: row for row in differing_settings(comparison.reports)}
    assert rows["model.rank"]["apg model.rank=16"] == "16"
    assert rows["model.rank"]["dnn"] == "–"
    assert set(rows) == {"model.rank", "model.name"}


def test_settings_that_another_model_lacks_are_not_settings_that_differ() -> None:
    """Truth: by hand. model.mode and loop.inner_steps differ from nothing; both were not chosen to differ."""

    def settings(model: str, loop: str = "standard", **own: object) -> list[dict[str, object]]:
        extra = {"inner_steps": 3} if loop == "maml" else {}
        return [{"settings": {"model": {"name": model, **own}, "loop": {"name": loop, "batch_size": 8, **extra}}}]

    reports = {
        "dnn": settings("dnn"),
        "maml": settings("dnn", "maml"),
        "fusion": settings("adasparse", mode="fusion", rank=4),
        "apg": settings("apg", rank=8),
    }
    rows = {row["setting"]: row for row in differing_settings(reports)}
    assert set(rows) == {"model.name", "loop.name"}
    rows = {
        row["setting"]: row
        for row in differing_settings({**reports, "scaling": settings("adasparse", mode="scaling", rank=4)})
    }
    assert set(rows) == {"model.name", "model.mode", "loop.name"}
    assert (rows["model.mode"]["dnn"], rows["model.mode"]["scaling"]) == ("–", "scaling")
