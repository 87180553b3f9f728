"""Studies as a person types them: planned, killed, gone on with, compared."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.errors import UsageError
from adasparse_cli.files import write_sealed
from adasparse_cli.runs.chosen import find_run
from adasparse_cli.studies.plan import plan_compare, plan_experiment, plan_sweep
from adasparse_cli.studies.study import open_study
from adasparse_cli.typed import flat, plain
from tests.commands.typing_in import ENVIRONMENT, adasparse

TINY = ("data.rows=4000", "network.hidden=[8]", "loop.batch_size=256", "network.embedding_width=2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    adasparse(folder, "prep", *TINY[:1])
    return folder


# What a clock measures.
MEASURED = (
    "seconds", "training_rows_per_second", "serving_rows_per_second", "sub_network_rows_per_second"
)  # fmt: skip


def without_times(text: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in json.loads(text)["rows"]]


def test_a_study_killed_on_the_way_ends_with_the_table_of_one_left_alone(home: Path) -> None:
    """And trains nothing twice: the second time, with other workers, everything is found done."""
    words = ("compare", "--models", "dnn,biasnet", "--seeds", "2", *TINY)
    plan = adasparse(home, *words, "--dry-run")
    assert "4 of 4 runs left, 1 at a time: about" in plan.stdout
    for wait, number in ((6.0, signal.SIGKILL), (9.0, signal.SIGTERM)):
        process = subprocess.Popen(
            [sys.executable, "-m", "adasparse_cli", *words], cwd=home, env=ENVIRONMENT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        process.wait()
    table = without_times(adasparse(home, *words, "--format", "json").stdout)
    assert [row["arm"] for row in table] == ["dnn", "biasnet"]
    assert all(row["seeds"] == 2 for row in table)
    assert table[1]["gauc_domain_low"] < table[1]["gauc_domain_difference"] < table[1]["gauc_domain_high"]
    assert table[0]["gauc_domain_difference"] is None

    alone = ("compare", "--models", "dnn,biasnet", "--seeds", "2", *TINY, "paths.runs=elsewhere", "paths.studies=there")
    assert without_times(adasparse(home, *alone, "--workers", "2", "--json").stdout) == table

    before = sorted(home.glob("runs/*/*/*"))
    shown = adasparse(home, *words, "--format", "markdown").stdout
    assert "| biasnet |" in shown
    assert "undecided against dnn: biasnet" in shown
    assert sorted(home.glob("runs/*/*/*")) == before
    path = next(home.glob("studies/compare-*/study.json"))
    arms = json.loads(path.read_text())["arms"]
    assert all((path.parent / run).exists() for arm in arms for run in arm["runs"].values())


def test_a_study_over_two_worlds_is_trained_once_shown_and_read_back(home: Path) -> None:
    words = ("compare", "--models", "dnn,biasnet", "--seeds", "1", "--worlds", "0,1", *TINY)
    table = without_times(adasparse(home, *words, "--json").stdout)
    assert [(row["arm"], row["worlds"], row["seeds"]) for row in table] == [("dnn", 2, 1), ("biasnet", 2, 1)]
    assert table[1]["auc_low"] < table[1]["auc_difference"] < table[1]["auc_high"]
    before = sorted(home.glob("runs/*/*/*"))
    shown = adasparse(home, *words).stdout
    assert "difference to dnn by world" in shown
    assert "world 1: twin-world1" in " ".join(shown.split())
    assert sorted(home.glob("runs/*/*/*")) == before

    (path,) = (own for own in home.glob("studies/*/study.json") if "worlds" in json.loads(own.read_text()))
    found = json.loads(path.read_text())
    assert {world: data["name"] for world, data in found["worlds"].items()} == {"0": "twin", "1": "twin-world1"}
    study = open_study(path.parent)
    assert json.loads(json.dumps(study.comparison.table())) == json.loads((path.parent / "table.json").read_text())
    assert find_run(f"{path.parent.name}/dnn", home / "runs", home / "studies").parent == home / "runs" / "twin" / "dnn"
    adasparse(home, "report", path.parent.name)
    assert "difference to dnn by world" in (path.parent / "report.html").read_text()


def test_a_run_that_fails_is_named_and_does_not_stop_the_others(home: Path) -> None:
    done = adasparse(home, "sweep", "loop.learning_rate=0.001,1e20", "model=dnn", *TINY, "--format", "latex", code=1)
    assert "failed: loop.learning_rate=1e+20, seed 0: the loss is not finite at step" in " ".join(done.stderr.split())
    assert r"loop.learning\_rate=0.001 & 1 & 0." in done.stdout
    assert r"loop.learning\_rate=1e+20 & 0 & n/a & n/a & n/a" in done.stdout


def test_a_study_of_another_version_is_refused(home: Path) -> None:
    words = ("sweep", "loop.learning_rate=0.001,0.002", "model=dnn", *TINY)
    adasparse(home, *words)
    (path,) = [path for path in home.glob("studies/sweep-*/study.json") if "0.002" in path.read_text()]
    values = json.loads(path.read_text())
    write_sealed(path, {**{key: own for key, own in values.items() if key != "checksum"}, "study_version": 99})
    assert "has format 99" in adasparse(home, *words, code=4).stderr


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (lambda: plan_compare(["dnn", "strar"], [], seeds=1, baseline=None), "star"),
        (lambda: plan_compare(["dnn", "star"], [], seeds=1, baseline="apg"), "dnn, star"),
        (lambda: plan_sweep(["loop.learning_rate=0.1"], seeds=1), "sweep loop.learning_rate="),
        (lambda: plan_sweep(["loop.learning_rate=0.1,(0.2"], seeds=1), "a grid is written"),
        (lambda: plan_sweep(["loop.lerning_rate=0.1,0.2"], seeds=1), "loop.learning_rate"),
        (lambda: plan_sweep(["data.heterogeneity=0,1"], seeds=1), "once per data set"),
        (lambda: plan_experiment("ablation", ["model.mode=scaling"]), "omit model.mode=scaling"),
        (lambda: plan_experiment("ablation", ["model.regularizer.enabled=false"]), "model.regulariser"),
        (lambda: plan_experiment("ablatoin", []), "ablation"),
        (lambda: plan_experiment("ablation", ["model=star"]), "omit model=star"),
        (lambda: plan_sweep(["model=dnn,apg", "loop=maml", "model=star"], seeds=1), "omit model=star"),
        (lambda: plan_sweep(["paths.runs=x,y"], seeds=1), "arms must differ in a setting"),
        (lambda: plan_sweep(["=1,2"], seeds=1), "key=a,b,c"),
        (lambda: plan_sweep(["model=dnn,epnet", "model.rank=8,16"], seeds=1), "settings here: model.name"),
    ],
)
def test_wrong_words_are_refused_with_the_right_one(plan: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan()
    assert message in caught.value.hint


def test_words_below_model_go_to_the_arms_that_have_the_setting() -> None:
    job = plan_experiment("ablation", ["model.regulariser.interval=[0.35,0.4]", "loop.batch_size=99"])
    for arm in job.arms:
        own = arm.jobs[0]
        assert own.loop.batch_size == 99
        if arm.name != "dnn":
            assert own.model.regulariser.interval == (0.35, 0.4)


def test_the_parts_of_fusion_differ_from_it_in_one_setting_each() -> None:
    """But for arms of other models."""
    arms = {arm.name: flat(plain(arm.jobs[0].config)) for arm in plan_experiment("parts", []).arms}
    fusion = arms.pop("fusion")
    for name, own in arms.items():
        if not own["model.name"].startswith("adasparse"):
            continue
        assert sum(own[key] != fusion[key] for key in fusion) == 1, name


def test_a_wrong_word_ends_with_exit_2(home: Path) -> None:
    done = adasparse(home, "compare", "--models", "dnn,strar", code=2)
    assert "did you mean star?" in done.stderr
