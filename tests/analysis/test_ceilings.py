"""Ceilings of prepared data: metrics of the true logits, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from adasparse_cli.analysis.ceilings import ceilings
from adasparse_cli.choices import Split
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.runs.prepare import PrepReport, plan_prep, run_prep
from adasparse_cli.scoring.score import true_metrics


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PrepReport:
    folder = tmp_path_factory.mktemp("data")
    return run_prep(plan_prep(["data=twin", "data.rows=20000", f"paths.data={folder}"]))


def test_ceilings_rise_with_what_is_known_up_to_the_true_probabilities(made: PrepReport) -> None:
    rows = ceilings(made.folder, made.manifest)
    best = true_metrics(made.folder, made.manifest, Split.test)
    assert best is not None
    assert [row["known tastes"] for row in rows] == ["shared", "additive", "pairs", "full"]
    reached = [row["GAUC by domain"] for row in rows]
    assert reached == sorted(reached)
    assert rows[-1]["AUC"] == pytest.approx(best["auc"], abs=1e-9)
    assert rows[-1]["GAUC by domain"] == pytest.approx(best["gauc_domain"], abs=1e-9)


def test_other_settings_than_those_of_the_data_are_found_out(made: PrepReport) -> None:
    settings = {**made.manifest.settings, "straying": 0.5}
    with pytest.raises(IntegrityError, match="give another world"):
        ceilings(made.folder, dataclasses.replace(made.manifest, settings=settings))


def test_data_without_truth_have_no_ceilings(made: PrepReport) -> None:
    files = {name: digest for name, digest in made.manifest.files.items() if not name.startswith("truth/")}
    with pytest.raises(UsageError, match="only synthetic data"):
        ceilings(made.folder, dataclasses.replace(made.manifest, files=files))
