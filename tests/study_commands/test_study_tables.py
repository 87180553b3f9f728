"""What a study says of its arms, where all can be had and where something cannot; words that would be lost."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.comparison import compare_arms
from adasparse_cli.studies.study import StudyReport
from adasparse_cli.study_commands.study import show_study
from adasparse_cli.terminal import render
from adasparse_cli.terminal.render import Format
from tests.commands.typing_in import adasparse
from tests.studies.test_comparison import run

NUMBER = 300
Valid = dict[str, float | None]


def arms_of(root: Path, names: Sequence[str], seeds: int) -> list[Arm]:
    return [Arm(name=name, runs={seed: run(root, name, seed) for seed in range(seeds)}) for name in names]


def study(
    root: Path,
    names: Sequence[str] = ("dnn", "longer"),
    *,
    seeds: int = 2,
    labels: np.ndarray | None = None,
    domains: np.ndarray | None = None,
    valid: dict[str, Valid] | None = None,
    arms: Sequence[Arm] | None = None,
) -> StudyReport:
    """Runs on these labels and domains, with these figures of the valid split by arm."""
    found = list(arms or arms_of(root, names, seeds))
    for arm in found:
        for folder in arm.folders.values():
            path = folder / "predictions.parquet"
            frame = pl.read_parquet(path)
            for name, values in (("label", labels), ("domain", domains)):
                if values is not None:
                    frame = frame.with_columns(pl.Series(name, values.astype(np.int32)))
            frame.write_parquet(path)
            logits, label = frame["logit"].to_numpy().astype(np.float64), frame["label"].to_numpy()
            report = json.loads((folder / "report.json").read_text())
            report["metrics"]["valid"] |= (valid or {}).get(arm.name, {})
            report["metrics"]["test"]["log_loss"] = float((np.logaddexp(0, logits) - label * logits).mean())
            (folder / "report.json").write_text(json.dumps(report))
    comparison = compare_arms(found, baseline="dnn")
    return StudyReport(folder=root / "made", title="Made", question="Which?", comparison=comparison, failed={})


def said(report: StudyReport, form: Format = Format.text, *, width: int = 250, **how: Any) -> str:
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "out", Console(file=text, width=width))
        show_study(report, form, **how)
    return text.getvalue()


def test_a_study_shows_each_metric_and_says_which_arms_are_better(tmp_path: Path) -> None:
    text = said(study(tmp_path))
    for title in (
        "GAUC by domain, difference to dnn",
        "AUC, difference to dnn",
        "log loss (lower is better), difference",
    ):
        assert title in text
    assert "95 % interval" in text
    assert "GAUC by domain, better than dnn: longer" in text or "undecided against dnn: longer" in text
    assert "Intervals cover" in text


def test_domains_of_one_class_leave_the_other_metrics(tmp_path: Path) -> None:
    """Half of the domains are all positive, the others all negative: an AUC, a log loss, no GAUC."""
    domains = np.arange(NUMBER) % 6
    text = said(study(tmp_path, domains=domains, labels=domains % 2))
    assert "GAUC by domain is not available: no test domain has both classes." in text
    assert "GAUC by domain, difference" not in text
    assert "AUC, difference to dnn" in text
    assert "log loss (lower is better), difference to dnn" in text
    assert "\nAUC, " in text  # what is real is judged by what there is
    assert "Intervals cover" in text


def test_test_rows_of_one_class_leave_the_log_loss(tmp_path: Path) -> None:
    text = said(study(tmp_path, labels=np.zeros(NUMBER)))
    assert "GAUC by domain is not available: no test domain has both classes." in text
    assert "\nAUC is not available: all test rows are of one class." in text
    assert "log loss (lower is better), difference to dnn" in text
    assert "AUC, difference" not in text
    assert "\nlog loss, " in text


def test_less_log_loss_is_better(tmp_path: Path) -> None:
    """Truth: the arm that says 0.5 everywhere loses log 2, the other one almost nothing."""
    arms = arms_of(tmp_path, ("dnn", "longer"), 2)
    for arm, size in zip(arms, (0.0, -8.0), strict=True):
        for seed, folder in arm.folders.items():
            path = folder / "predictions.parquet"
            pl.read_parquet(path).with_columns(logit=pl.lit(size + 0.001 * seed)).write_parquet(path)
    text = said(study(tmp_path, arms=arms, labels=np.zeros(NUMBER)))
    assert "log loss, better than dnn: longer" in text


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (
            {"seeds": 1},
            "No interval is available: one seed does not show the variation between seeds; use --seeds 3.",
        ),
        ({"domains": np.zeros(NUMBER)}, "No interval is available: all test rows are of one domain."),
    ],
)
def test_without_an_interval_nothing_is_called_undecided(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    text = said(study(tmp_path, **how))
    assert text.count("No interval is available") == 1
    assert why in text
    assert "AUC, difference to dnn" in text
    for word in ("undecided", "Intervals cover", "95 % interval", "p (Holm)"):
        assert word not in text


def test_a_single_domain_of_both_classes_has_no_interval_of_its_gauc(tmp_path: Path) -> None:
    domains = np.arange(NUMBER) % 6
    labels = np.where(domains == 0, np.arange(NUMBER) % 4 == 0, domains % 2)
    text = said(study(tmp_path, domains=domains, labels=labels))
    assert "No interval is available for GAUC by domain: only one domain has rows in domains of both classes." in text
    assert "\nAUC, " in text


def test_an_arm_that_lacks_a_run_is_not_called_undecided(tmp_path: Path) -> None:
    arms = arms_of(tmp_path, ("dnn", "longer", "lacking"), 2)
    arms[2] = Arm(name="lacking", runs={**arms[2].runs, 1: None})
    text = said(study(tmp_path, arms=arms))
    assert "GAUC by domain, not compared with dnn: lacking" in text
    alone = said(study(tmp_path, arms=[arms[0], arms[2]]))
    assert "No difference to dnn is available: it needs the baseline and another arm, each with all seeds." in alone


@pytest.mark.parametrize("width", [60, 160])
def test_sentences_in_latex_are_comments_and_in_markdown_bullets_of_one_line(tmp_path: Path, width: int) -> None:
    report = study(tmp_path)
    latex = said(report, Format.latex, width=width, choose=True)
    (line,) = [line for line in latex.splitlines() if "Intervals cover" in line]
    assert line.startswith("% ")
    assert line.endswith("80 %.")
    inside = False
    for line in latex.splitlines():
        inside = inside or line.startswith(r"\begin{table}")
        assert inside or not line or line.startswith("% "), line
        inside = inside and not line.startswith(r"\end{table}")
    markdown = said(report, Format.markdown, width=width, choose=True)
    (line,) = [line for line in markdown.splitlines() if "Intervals cover" in line]
    assert line.startswith("- ")
    assert line.endswith("80 %.")


def test_a_sweep_names_the_best_by_the_valid_split_and_not_by_the_test_split(tmp_path: Path) -> None:
    """`longer` is far better on the test rows, `other` on the valid rows."""
    valid: dict[str, Valid] = {
        "dnn": {"gauc_domain": 0.61},
        "longer": {"gauc_domain": 0.60},
        "other": {"gauc_domain": 0.7},
    }
    report = study(tmp_path, ("dnn", "longer", "other"), valid=valid)
    row = next(row for row in report.comparison.table() if row["arm"] == "other")
    gap = row["gauc_domain_difference"]
    text = said(report, choose=True)
    assert (
        f"Best by GAUC by domain on the valid split: other with 0.7000, 0.6000 on the test split, {gap:+.4f} to dnn. "
        "Choose by the valid split only" in text
    )
    assert "Best by" not in said(report)


@pytest.mark.parametrize(
    ("valid", "sentence"),
    [
        ({"dnn": {"gauc_domain": 0.9}}, "GAUC by domain on the valid split: dnn with 0.9000, 0.6000 on the test split, the baseline itself"),
        (
            {"dnn": {"gauc_domain": None, "auc": None, "log_loss": 0.5}, "longer": {"gauc_domain": None, "auc": None, "log_loss": 0.4}},
            "Best by log loss on the valid split: longer with 0.4000",
        ),
        (
            {name: {"gauc_domain": None, "auc": None, "log_loss": None} for name in ("dnn", "longer")},
            "No best arm: no arm has a metric on the valid split.",
        ),
    ],
)  # fmt: skip
def test_the_best_is_named_by_the_first_metric_that_there_is(
    tmp_path: Path, valid: dict[str, Valid], sentence: str
) -> None:
    assert sentence in said(study(tmp_path, valid=valid), choose=True)


def test_without_test_rows_there_is_a_sentence_and_still_a_best(tmp_path: Path) -> None:
    none = {"splits": {"test": {"rows": 0, "positives": 0}}}
    arms = [
        Arm(name=name, runs={seed: run(tmp_path, name, seed, **none) for seed in (0, 1)}) for name in ("dnn", "longer")
    ]
    for arm in arms:
        for folder in arm.folders.values():
            report = json.loads((folder / "report.json").read_text())
            report["metrics"]["valid"]["gauc_domain"] = 0.6 if arm.name == "dnn" else 0.7
            del report["metrics"]["test"]
            (folder / "report.json").write_text(json.dumps(report))
    comparison = compare_arms(arms, baseline="dnn")
    text = said(StudyReport(folder=tmp_path, title="Made", question="?", comparison=comparison, failed={}), choose=True)
    assert "No difference to dnn is available: there are no test rows." in text
    assert "longer with 0.7000, no value on the test split." in text


def test_an_arm_that_lacks_a_run_is_not_the_best(tmp_path: Path) -> None:
    arms = arms_of(tmp_path, ("dnn", "longer"), 2)
    arms[1] = Arm(name="longer", runs={**arms[1].runs, 1: None})
    text = said(study(tmp_path, arms=arms, valid={"longer": {"gauc_domain": 0.99}}), choose=True)
    assert "valid split: dnn with" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compare", "--models", "dnn,star", "model=apg"), "varies model: its arms have dnn, star"),
        (("compare", "--models", "dnn,maml", "loop=standard"), "varies loop: its arms have maml"),
        (("sweep", "model=dnn,apg", "model=star"), "varies model: its arms have dnn, apg"),
        (("sweep", "seed=1,2", "seed=3"), "varies seed: its arms have 1, 2"),
        (("sweep", "loop.learning_rate=0.1,0.2", "loop.learning_rate=0.3"), "varies loop.learning_rate: its arms have 0.1, 0.2"),
        (("compare", "--models", ""), "--models names no model"),
        (("compare", "--models", " , "), "--models names no model"),
        (("compare", "--models", "", "--experiment", "parts"), "--models and --experiment"),
        (("sweep", "loop.learning_rate=0.001,0.002,0.001"), "loop.learning_rate has the value 0.001 twice"),
        (("sweep", "loop.learning_rate=0.001,1e-3", "model=dnn"), "loop.learning_rate has the value 0.001 twice"),
        (("sweep", "model=dnn,dnn"), "model has the value dnn twice"),
        (("sweep", "loop.learning_rate=1,1.0", "model=dnn"), "'loop.learning_rate=1' and 'loop.learning_rate=1.0' would train identical runs"),
        (("sweep", "loop.learning_rate=0.1,0.2", "loop.learning_rate=0.3,0.4"), "loop.learning_rate is given twice"),
    ],
)  # fmt: skip
def test_words_that_would_be_lost_are_refused(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = adasparse(tmp_path, *words, "--dry-run", code=2)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_words_that_only_some_arms_set_are_for_the_others(tmp_path: Path) -> None:
    assert "fusion placebo" in adasparse(tmp_path, "ablate", "loop.placebo=false", "--dry-run").stdout
    assert "model=dnn" in adasparse(tmp_path, "sweep", "model=dnn,apg", "loop=standard", "--dry-run").stdout


def test_a_sweep_ends_with_its_best_setting(tmp_path: Path) -> None:
    tiny = (
        "data.rows=4000",
        "network.hidden=[8]",
        "loop.batch_size=256",
        "network.embedding_width=2",
        "loop.max_steps=4",
    )
    shown = adasparse(tmp_path, "sweep", "loop.learning_rate=0.001,0.01", "model=dnn", *tiny).stdout
    assert "Best by GAUC by domain on the valid split: loop.learning_rate=0.0" in shown
    assert shown.count("No interval is available: one seed") == 1


@pytest.mark.parametrize("words", [("data=twin", "loop.epochs=7"), ("loop.epochs=7",), ("train", "loop.epochs=7")])
def test_settings_are_shown_of_train_where_no_command_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "epochs: 7" in adasparse(tmp_path, "config", "show", *words).stdout


def test_settings_of_other_data_are_shown(tmp_path: Path) -> None:
    assert adasparse(tmp_path, "config", "show", "data=tabular", "data.label=y", "data.domain=[d]", "raw=x").stdout
    assert "recipe: tabular" in adasparse(tmp_path, "config", "show", "data=tabular").stdout


@pytest.mark.parametrize(
    ("root", "hint"),
    [("loop", "valid commands: train, prep; settings are given as key=value"), ("trian", "did you mean train?")],
)
def test_a_command_without_settings_is_answered_with_those_that_have_some(tmp_path: Path, root: str, hint: str) -> None:
    done = adasparse(tmp_path, "config", "show", root, code=2)
    assert f"'{root}' is not a command with settings" in done.stderr
    assert hint in done.stderr
