"""`adasparse tune` on a small twin: what it finds, that it goes on, and the study that it writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from adasparse_cli.runs.saved_run import read_report
from tests.commands.typing_in import adasparse

TINY = ("data.rows=12000", "network.hidden=[16,8]", "loop.batch_size=256", "network.embedding_width=4", "loop.epochs=1")
WORDS = ("tune", "--models", "dnn,biasnet", "--trials", "5", "--least-gain", "0", *TINY)


def test_models_are_searched_and_compared_at_their_best(tmp_path: Path) -> None:
    done = adasparse(tmp_path, *WORDS, "--verify", "--json")
    rows = json.loads(done.stdout)["tables"][0]["rows"]
    assert {row["model"] for row in rows} == {"dnn", "biasnet"}
    runs = sorted(tmp_path.glob("runs/twin/*/*"))
    lines = [line for line in done.stderr.splitlines() if "best so far" in line]
    assert len(lines) == len(runs) == 10
    for row in rows:
        require_lines(row["model"], lines, [read_report(run) for run in runs if run.parent.name == row["model"]])
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


def require_lines(model: str, lines: list[str], reports: list[dict[str, Any]]) -> None:
    """A line per run: the setting tried, the seed, its metric, and the best metric of this model so far."""
    form = rf"{model} (\S.*), seed 0 +valid gauc_domain (\S+)  best so far (\S+)(?: \({model} .*, seed 0\))?  \d of \d runs of round \d"
    found = [match for line in lines if (match := re.fullmatch(form, line))]
    values = [match[2] for match in found]
    assert sorted(values) == sorted(f"{report['metrics']['valid']['gauc_domain']:.4f}" for report in reports)
    assert [match[3] for match in found] == [max(values[: k + 1]) for k in range(len(values))]
    assert found[0][1] == "packaged settings"
    assert all("=" in match[1] for match in found[1:])


def test_with_several_seeds_the_mean_of_a_trial_is_compared(tmp_path: Path) -> None:
    """Finished trials are counted, not repeated."""
    words = ("tune", "--models", "dnn", "--seeds", "2", "--metric", "log_loss", "--least-gain", "0", *TINY)
    adasparse(tmp_path, *words, "--trials", "2", "--json")
    before = {read_report(run)["metrics"]["valid"]["log_loss"] for run in tmp_path.glob("runs/twin/dnn/*")}
    said = adasparse(tmp_path, *words, "--trials", "3", "--json").stderr
    assert "finished before: 2 trials" in said
    new = [
        report
        for run in tmp_path.glob("runs/twin/dnn/*")
        if (report := read_report(run)["metrics"]["valid"])["log_loss"] not in before
    ]
    assert len(new) == 2
    each = re.findall(r"^dnn loop\.\S+, seed [01] +valid log_loss (\S+)  \d of 2 runs of round 2$", said, re.MULTILINE)
    assert sorted(each) == sorted(f"{metrics['log_loss']:.4f}" for metrics in new)
    mean = sum(metrics["log_loss"] for metrics in new) / 2
    (line,) = (line for line in said.splitlines() if "best so far" in line)
    assert f"valid log_loss {mean:.4f}  best so far " in line
    assert line.endswith("  mean of 2 seeds")


def test_settings_that_are_named_are_not_searched(tmp_path: Path) -> None:
    words = ("--models", "dnn", "--trials", "3", *TINY, "loop.learning_rate=0.003")
    adasparse(tmp_path, "tune", *words)
    rates = {read_report(run)["settings"]["loop"]["learning_rate"] for run in tmp_path.glob("runs/twin/dnn/*")}
    assert rates == {0.003}


def test_words_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    assert "unknown model 'stra'" in adasparse(tmp_path, "tune", "--models", "stra", code=2).stderr
    unlike = adasparse(tmp_path, "tune", "--models", "nope", code=2).stderr
    assert "did you mean" not in unlike, "a suggestion is similar"
    assert "valid models: adasparse, apg" in unlike
    assert "would apply to every model" in adasparse(tmp_path, "tune", "model.mode=fusion", code=2).stderr
    assert not list(tmp_path.iterdir())
