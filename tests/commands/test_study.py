"""Studies as a person types them: planned, killed, gone on with, compared."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands.test_commands import ENVIRONMENT, adasparse

TINY = ("data.rows=4000", "network.hidden=[8]", "loop.batch_size=256", "network.embedding_width=2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    adasparse(folder, "prep", *TINY[:1])
    return folder


def test_a_study_killed_on_the_way_ends_with_the_table_of_one_left_alone(home: Path) -> None:
    """And trains nothing twice: the second time, with other workers, everything is found done."""
    words = ("compare", "--models", "dnn,biasnet", "--seeds", "2", *TINY)
    plan = adasparse(home, *words, "--dry-run")
    assert "4 of 4 runs are to be done" in plan.stdout
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
        time.sleep(4.0)  # a run whose parent was killed goes on to its end, and holds its folder until then
    table = json.loads(adasparse(home, *words, "--format", "json").stdout)
    assert [row["arm"] for row in table] == ["dnn", "biasnet"]
    assert all(row["seeds"] == 2 for row in table)
    assert table[1]["gauc_domain_low"] < table[1]["gauc_domain_difference"] < table[1]["gauc_domain_high"]
    assert table[0]["gauc_domain_difference"] is None

    alone = ("compare", "--models", "dnn,biasnet", "--seeds", "2", *TINY, "paths.runs=elsewhere", "paths.studies=there")
    assert json.loads(adasparse(home, *alone, "--workers", "2", "--format", "json").stdout) == table

    before = sorted(home.glob("runs/*/*/*"))
    shown = adasparse(home, *words, "--format", "markdown").stdout
    assert "| biasnet |" in shown
    assert "undecided against dnn: biasnet" in shown
    assert sorted(home.glob("runs/*/*/*")) == before
    study = json.loads(next(home.glob("studies/compare-*/study.json")).read_text())
    assert all((home / run).exists() for arm in study["arms"] for run in arm["runs"].values())


def test_a_run_that_fails_is_named_and_does_not_stop_the_others(home: Path) -> None:
    done = adasparse(home, "sweep", "loop.learning_rate=0.001,1e20", "model=dnn", *TINY, "--format", "latex")
    assert "failed: loop.learning_rate=1e+20, seed 0: the loss is not finite at step" in " ".join(done.stderr.split())
    assert r"loop.learning\_rate=0.001 & 1 & 0." in done.stdout
    assert r"loop.learning\_rate=1e+20 & 0 & n/a & n/a & n/a" in done.stdout


def test_a_study_of_another_version_is_refused(home: Path) -> None:
    words = ("sweep", "loop.learning_rate=0.001,0.002", "model=dnn", *TINY)
    adasparse(home, *words)
    (path,) = [path for path in home.glob("studies/sweep-*/study.json") if "0.002" in path.read_text()]
    path.write_text(path.read_text().replace('"study_version": 1', '"study_version": 99'))
    assert "is of study format 99" in adasparse(home, *words, code=4).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "--models", "dnn,strar"), "did you mean star"),
        (("compare", "--models", "dnn,star", "--baseline", "apg"), "none of the arms"),
        (("sweep", "loop.learning_rate=0.1"), "no setting has several values"),
        (("sweep", "loop.learning_rate=0.1,(0.2"), "cannot be read"),
        (("sweep", "loop.lerning_rate=0.1,0.2"), "loop.learning_rate"),
        (("ablate", "model.mode=sideways"), "binarization, scaling, fusion"),
    ],
)
def test_wrong_words_exit_with_2_and_help(home: Path, words: tuple[str, ...], message: str) -> None:
    done = adasparse(home, *words, code=2)
    assert message in done.stderr or message.removeprefix("did you mean ") in done.stderr


def test_ablate_names_its_arms(home: Path) -> None:
    done = adasparse(home, "ablate", "--parts", "--dry-run", "--format", "csv", *TINY)
    arms = {line.split(",seed")[0].rsplit(",", 3)[0].strip('"') for line in done.stdout.splitlines()[1:]}
    assert {"dnn", "scaling", "binarization", "fusion", "fusion on dcnv2"} <= arms
    assert len(arms) == 13
