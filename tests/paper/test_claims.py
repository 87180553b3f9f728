"""Verdicts on the paper's claims are of what the claim is about, and of nothing beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from adasparse_cli.analysis.similarity import label_similarity
from adasparse_cli.analysis.statistics import TestRows
from adasparse_cli.analysis.verdict import Verdict
from adasparse_cli.neurons.overlap import mantel_tests
from adasparse_cli.paper import claims
from adasparse_cli.paper.claims import little_exposure
from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.comparison import COMPARED, Comparison


def exposed(monkeypatch: pytest.MonkeyPatch, *, one_class: int | None) -> Any:
    """The claim about exposure on 20 domains in which fusion is far better; the `one_class` sparsest have no positives."""
    draw = np.random.default_rng(0)
    of = np.repeat(np.arange(20), 200)
    labels = (draw.random(len(of)) < 0.4).astype(np.float64)
    labels[of < (one_class or 0)] = 0.0
    logits = {
        "dnn": [draw.normal(size=len(of)) for _ in range(3)],
        "fusion": [2 * labels + draw.normal(size=len(of)) for _ in range(3)],
    }
    comparison = Comparison(
        arms=tuple(Arm(name=arm, runs={}) for arm in logits), baseline="dnn", seeds=(0, 1, 2), cluster="domain",
        reports={}, rows=TestRows(labels=labels, domains=of, clusters=of), logits=logits,
        differences={metric: {} for metric in COMPARED}, uplifts={},
    )  # fmt: skip
    table = pl.DataFrame({"train_rows": [10 * (k + 1) for k in range(20)]})
    monkeypatch.setattr(claims, "domain_table", lambda comparison: table)
    return little_exposure(comparison)


def test_the_next_bin_does_not_answer_for_a_sparsest_one_without_positives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exposed(monkeypatch, one_class=None).verdict is Verdict.holds
    found = exposed(monkeypatch, one_class=8)
    assert any(row["verdict"] == "supported" for row in found.rows)
    assert found.verdict is Verdict.undecided
    assert "sparsest bin" in found.remarks[0]


@pytest.mark.parametrize("learned", [False, True])
def test_only_what_goes_beyond_the_key_is_a_sign_of_learning(learned: bool) -> None:
    """A random linear map of the key's embeddings learns nothing, yet its neurons go with everything that follows the key.

    By simulation: labels follow the key's fields one by one; or, where something was learned, also their combination,
    which the neurons then see as well.
    """
    plain, beyond, studies = 0, 0, 40
    levels = (4, 6)
    keys = [(a, b) for a in range(levels[0]) for b in range(levels[1])]
    texts = [[str(key[k]) for key in keys] for k in range(2)]
    for seed in range(studies):
        draw = np.random.default_rng(seed)
        embeddings = [draw.normal(size=(number, 4)) for number in levels]
        told = np.array([np.concatenate([embeddings[0][a], embeddings[1][b]]) for a, b in keys])
        tastes = [draw.normal(size=(number, 5)) for number in levels]
        taste = np.array([tastes[0][a] + tastes[1][b] for a, b in keys])
        if learned:
            taste += draw.normal(size=taste.shape)
            told = np.concatenate([told, 0.5 * taste], axis=1)
        neurons = 1 / (1 + np.exp(-told @ draw.normal(size=(told.shape[1], 40))))
        closeness = 1 - np.abs(neurons[:, None] - neurons[None]).mean(2)
        domains = np.repeat(np.arange(len(keys)), 3000)
        column = draw.integers(0, 5, len(domains)).astype(np.int32)
        labels = (draw.random(len(domains)) < 1 / (1 + np.exp(2 - taste[domains, column]))).astype(np.float32)
        similar = {"labels": label_similarity(column[:, None], labels, domains, np.arange(len(keys)))}
        found = mantel_tests(similar, closeness, keys=texts, permutations=199)
        one, other = found["labels"], found["labels | key"]
        assert one is not None
        assert other is not None
        plain += one.p < 0.05
        beyond += other.p < 0.05
    assert plain > 0.75 * studies
    assert beyond > 0.8 * studies if learned else beyond < 0.1 * studies
