"""Arms over several worlds: paired within a world and seed, worlds averaged and shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.compared_worlds import compare_worlds
from adasparse_cli.studies.comparison import compare_arms
from tests.studies.test_comparison import arm


def in_worlds(root: Path, seeds: int = 2) -> dict[int, list[Arm]]:
    """Two arms in three worlds, each world with data of its own; the scores of a run follow the length of its name."""
    worlds = {}
    for world in (0, 1, 7):
        folder = root / str(world)
        folder.mkdir()
        data = {"fingerprint": str(world) * 64}
        worlds[world] = [arm(folder, name + "x" * world, seeds, **data) for name in ("dnn", "other")]
        worlds[world] = [
            Arm(name=name, runs=own.runs) for name, own in zip(("dnn", "other"), worlds[world], strict=True)
        ]
    return worlds


def test_a_difference_over_worlds_is_the_mean_of_those_within_them(tmp_path: Path) -> None:
    worlds = in_worlds(tmp_path)
    found = compare_worlds(worlds, baseline="dnn")
    row = found.table()[1]
    assert (row["arm"], row["worlds"], row["seeds"]) == ("other", 3, 2)
    for metric in ("auc", "log_loss", "gauc_domain"):
        each = {
            world: compare_arms(arms, baseline="dnn").differences[metric]["other"] for world, arms in worlds.items()
        }
        shown = {world: row[f"{metric}_difference_world_{world}"] for world in worlds}
        assert shown == pytest.approx({world: one.difference for world, one in each.items()})
        assert row[f"{metric}_difference"] == pytest.approx(np.mean([*shown.values()]))
        assert row[f"{metric}_low"] < row[f"{metric}_difference"] < row[f"{metric}_high"]
        assert found.differences[metric]["other"].freedom == 2
    assert row["auc"] == pytest.approx(np.mean([report["metrics"]["test"]["auc"] for report in found.reports["other"]]))
    assert "world 7: made, data 777777777777, 300 test rows, 6 domains, seeds 0, 1" in found.caption
    assert found.has_test_rows
    assert list(found.arms[0].runs) == ["0/0", "0/1", "1/0", "1/1", "7/0", "7/1"]


def test_one_seed_in_several_worlds_has_an_interval(tmp_path: Path) -> None:
    row = compare_worlds(in_worlds(tmp_path, seeds=1), baseline="dnn").table()[1]
    assert row["auc_low"] < row["auc_difference"] < row["auc_high"]


def test_an_arm_that_lacks_a_run_in_one_world_is_not_judged(tmp_path: Path) -> None:
    worlds = in_worlds(tmp_path)
    dnn, other = worlds[1]
    worlds[1] = [dnn, Arm(name="other", runs={0: other.folders[0], 1: None})]
    row = compare_worlds(worlds, baseline="dnn").table()[1]
    assert row["seeds"] == 1
    assert row["auc_difference"] is None
    assert row["uplift_domains"] is None
    assert row["auc_difference_world_0"] is not None
    assert row["auc_difference_world_1"] is None
