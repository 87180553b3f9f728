"""Studies over several worlds: one data set for each, alike in all but the seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.errors import UsageError
from adasparse_cli.runs.prepare import plan_prep, run_prep
from adasparse_cli.studies.plan import plan_compare, plan_of
from adasparse_cli.studies.worlds import worlds_of

MODELS = ["dnn", "biasnet"]


def words(root: Path, *more: str) -> list[str]:
    return [f"paths.data={root / 'data'}", f"paths.runs={root / 'runs'}", f"paths.studies={root / 'studies'}", *more]


def test_worlds_are_read_as_seeds() -> None:
    assert worlds_of(None) == ()
    assert worlds_of("0, 1,12") == (0, 1, 12)
    for text in ("", "a", "1,", "-1", "1.5", "0,0", "\u0663"):
        with pytest.raises(UsageError, match="--worlds"):
            worlds_of(text)


def test_each_world_has_data_of_its_own_that_differ_in_seed_and_name_alone(tmp_path: Path) -> None:
    job = plan_compare(
        MODELS, words(tmp_path, "data.rows=5000", "data.heterogeneity=2"), seeds=2, baseline=None, worlds=(0, 1, 2)
    )
    assert job.worlds == (0, 1, 2)
    assert job.seeds == [0, 1]
    for arm in job.arms:
        found = [(job.world_of(own), own.seed, own.data.settings.name, own.config["data"]["name"]) for own in arm.jobs]
        names = ("twin", "twin-world1", "twin-world2")
        assert found == [(world, seed, names[world], names[world]) for seed in (0, 1) for world in (0, 1, 2)]
        same = [{**own.config["data"], "name": "", "seed": 0} for own in arm.jobs]
        assert all(one == same[0] for one in same)
    assert (same[0]["rows"], same[0]["heterogeneity"]) == (5000, 2)
    assert [run.world for run in plan_of(job)] == [0, 1, 2] * 4


def test_worlds_of_prepared_data_have_their_settings(tmp_path: Path) -> None:
    run_prep(plan_prep(words(tmp_path, "data=twin", "data.name=mine", "data.rows=2000", "data.seed=5")))
    job = plan_compare(MODELS, words(tmp_path, "data=mine"), seeds=1, baseline=None, worlds=(5, 6))
    first, second = (own.data.settings for own in job.arms[0].jobs)
    assert (first.name, second.name) == ("mine", "mine-world6")
    assert vars(second) == {**vars(first), "name": "mine-world6", "seed": 6}


def test_a_world_that_was_prepared_otherwise_is_refused(tmp_path: Path) -> None:
    run_prep(plan_prep(words(tmp_path, "data=twin", "data.name=twin-world1", "data.rows=2000", "data.seed=1")))
    with pytest.raises(UsageError, match=r"twin-world1 have data.rows=2000, but this study needs data.rows=200000"):
        plan_compare(MODELS, words(tmp_path), seeds=1, baseline=None, worlds=(0, 1))


def test_one_world_is_a_study_as_any_other(tmp_path: Path) -> None:
    job = plan_compare(MODELS, words(tmp_path), seeds=1, baseline=None, worlds=(3,))
    assert job.worlds == ()
    assert job.arms[0].jobs[0].data.settings.name == "twin-world3"


def test_worlds_are_of_synthetic_data_alone(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("y,d\n" + "1,a\n0,b\n" * 20)
    tabular = ["data=tabular", "data.name=t", f"raw={table}", "data.label=y", "data.domain=[d]", "data.split=random"]
    with pytest.raises(UsageError, match=r"t \(recipe tabular\) is not synthetic"):
        plan_compare(MODELS, words(tmp_path, *tabular), seeds=1, baseline=None, worlds=(0, 1))
    with pytest.raises(UsageError, match=r"--worlds and data\.seed exclude each other"):
        plan_compare(MODELS, words(tmp_path, "data.seed=3"), seeds=1, baseline=None, worlds=(0, 1))
