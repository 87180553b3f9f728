"""`adasparse tune` on a small twin: what it finds, that it goes on, and the study that it writes."""

from __future__ import annotations

import json
from pathlib import Path

from adasparse_cli.runs.saved_run import read_report
from tests.commands.typing_in import adasparse

TINY = ("data.rows=12000", "network.hidden=[16,8]", "loop.batch_size=256", "network.embedding_width=4", "loop.epochs=1")
WORDS = ("tune", "--models", "dnn,biasnet", "--trials", "5", "--least-gain", "0", *TINY)


def test_models_are_searched_and_compared_at_their_best(tmp_path: Path) -> None:
    done = adasparse(tmp_path, *WORDS, "--verify", "--json")
    rows = json.loads(done.stdout)["tables"][0]["rows"]
    assert {row["model"] for row in rows} == {"dnn", "biasnet"}
    runs = sorted(tmp_path.glob("runs/twin/*/*"))
    for row in rows:
        own = [read_report(run) for run in runs if run.parent.name == row["model"]]
        assert row["trials"] == len(own) == 5
        values = [report["metrics"]["valid"]["gauc_domain"] for report in own]
        assert row["valid_gauc_domain_best"] == max(values)
        packaged = next(report for report in own if report["settings"]["loop"]["learning_rate"] == 0.002)
        assert row["valid_gauc_domain_packaged"] == packaged["metrics"]["valid"]["gauc_domain"]
    # asked again, it trains nothing and says the same
    assert json.loads(adasparse(tmp_path, *WORDS, "--json").stdout)["tables"][0]["rows"] == rows
    assert sorted(tmp_path.glob("runs/twin/*/*")) == runs
    # its study is planned with the settings that were found
    folder = next(tmp_path.glob("studies/tune-*"))
    words = ("--config-dir", str(folder), "compare", "--experiment", "tuned-twin", "--seeds", "1", *TINY, "threads=1")
    plan = json.loads(adasparse(tmp_path, *words, "--dry-run", "--json").stdout)["rows"]
    assert {row["arm"]: row["state"] for row in plan} == {"dnn": "done", "biasnet": "done"}


def test_settings_that_are_named_are_not_searched(tmp_path: Path) -> None:
    words = ("--models", "dnn", "--trials", "3", *TINY, "loop.learning_rate=0.003")
    adasparse(tmp_path, "tune", *words)
    rates = {read_report(run)["settings"]["loop"]["learning_rate"] for run in tmp_path.glob("runs/twin/dnn/*")}
    assert rates == {0.003}


def test_words_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    assert "unknown model 'stra'" in adasparse(tmp_path, "tune", "--models", "stra", code=2).stderr
    assert "would apply to every model" in adasparse(tmp_path, "tune", "model.mode=fusion", code=2).stderr
    assert not list(tmp_path.iterdir())
