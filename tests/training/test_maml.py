"""MAML: its gradients against a plain computation, its rules for small domains, and adapting before a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from adasparse_cli.config import compose, typed
from adasparse_cli.errors import UsageError
from adasparse_cli.training.dataset import Rows
from adasparse_cli.training.evaluate import score
from adasparse_cli.training.maml import MamlLoop, MamlSettings, adapting_domains
from tests import small


def settings(**changes: Any) -> MamlSettings:
    packaged = typed(compose("train", ["loop=maml"])["loop"], MamlSettings, "loop")
    base = {name: getattr(small.loop_settings(), name) for name in vars(small.loop_settings()) if name != "name"}
    return replace(packaged, **{**base, "task_rows": 16, "minimum_rows": 8, "inner_learning_rate": 0.5, **changes})


def loop_in(folder: Path, name: str = "dnn", rows: Rows | None = None, **changes: Any) -> MamlLoop:
    folder.mkdir(exist_ok=True)
    train = small.rows(500, 1) if rows is None else rows
    return MamlLoop(small.model(name), train, small.rows(300, 2), 6, settings(**changes), 3, folder)


def plain_loss(model: Any, weights: dict[str, Any], rows: Rows, chosen: torch.Tensor) -> Any:
    batch = rows.batch(chosen)
    return functional.binary_cross_entropy_with_logits(functional_call(model, weights, (batch,)).logits, batch.labels)


@pytest.mark.parametrize("second_order", [False, True])
def test_gradients_equal_a_plain_computation_by_finite_differences(tmp_path: Path, second_order: bool) -> None:
    """Truth: the outer loss as a function of θ, differentiated numerically; for first order with the inner
    gradients held where they were."""
    loop = loop_in(tmp_path, second_order=second_order)
    loop.model.double()
    rows = loop._epoch(0)[0]
    dense = {name: part.detach().clone() for name, part in loop._dense.items()}

    def inner(weights: dict[str, Any], chosen: torch.Tensor) -> list[torch.Tensor]:
        asked = {name: part.clone().requires_grad_() for name, part in weights.items()}
        return list(torch.autograd.grad(plain_loss(loop.model, asked, train, chosen), list(asked.values())))

    train = replace(loop.train, labels=loop.train.labels.double())
    loop.train = train
    tasks, rest = [], []
    for domain in range(6):
        own = rows[train.domain_ids[rows] == domain]
        if len(own):
            halves = own[: len(own) // 2], own[len(own) // 2 :]
            for support, query in (halves, halves[::-1]):
                one_class = len(set(train.labels[support].tolist())) < 2
                (rest if one_class else tasks).append((support, query))
    assert len(tasks) > 3
    held = {k: inner(dense, support) for k, (support, _) in enumerate(tasks)}

    def outer(weights: dict[str, Any]) -> float:
        total = 0.0
        for k, (support, query) in enumerate(tasks):
            steps = inner(weights, support) if second_order else held[k]
            adapted = {name: part - 0.5 * g for (name, part), g in zip(weights.items(), steps, strict=True)}
            total += len(query) / len(rows) * plain_loss(loop.model, adapted, train, query).item()
        for _, query in rest:
            total += len(query) / len(rows) * plain_loss(loop.model, weights, train, query).item()
        return total

    found = loop._add_gradients(rows)
    assert found.loss.item() == pytest.approx(outer(dense), rel=1e-9)
    for name, place in (("head.bias", (0,)), ("head.weight", (0, 3)), ("blocks.0.linear.weight", (2, 1))):
        moved = []
        for step in (1e-5, -1e-5):
            weights = {key: part.clone() for key, part in dense.items()}
            weights[name][place] += step
            moved.append(outer(weights))
        numeric = (moved[0] - moved[1]) / 2e-5
        assert loop._dense[name].grad[place].item() == pytest.approx(numeric, rel=1e-4, abs=1e-8), name


def test_with_an_inner_rate_of_zero_it_is_plain_training(tmp_path: Path) -> None:
    loop = loop_in(tmp_path, inner_learning_rate=0.0)
    rows = loop._epoch(0)[0]
    loop._add_gradients(rows)
    ours = {name: part.grad.clone() for name, part in loop._dense.items()}
    for part in loop._dense.values():
        part.grad = None
    loop.model.embedding.weight.grad = None
    plain_loss(loop.model, {}, loop.train, rows).backward()
    for name, part in loop._dense.items():
        torch.testing.assert_close(ours[name], part.grad, rtol=1e-4, atol=1e-6)


def test_every_row_is_in_one_step_of_each_epoch_and_a_domains_rows_come_together(tmp_path: Path) -> None:
    loop = loop_in(tmp_path)
    first, second = loop._epoch(0), loop._epoch(1)
    assert len(first) == len(second) == loop.steps_per_epoch == 500 // 32
    for epoch in (first, second):
        assert sorted(torch.cat(epoch).tolist()) == list(range(500))
        assert min(len(rows) for rows in epoch) > 0
    assert torch.cat(first).tolist() != torch.cat(second).tolist()
    domains = [len(torch.unique(loop.train.domain_ids[rows])) for rows in first]
    assert np.mean(domains) < 4  # of six: a random batch of 32 holds all of them


def test_small_and_one_class_domains_do_not_adapt() -> None:
    rows = small.rows(300)
    labels = rows.labels.clone()
    labels[rows.domain_ids == 2] = 0.0
    kept = torch.from_numpy(np.flatnonzero((rows.domains != 4) | (np.arange(300) < 12)))
    few = replace(rows, labels=labels[kept], domain_ids=rows.domain_ids[kept], domains=rows.domains[kept.numpy()])
    found = adapting_domains(few, 8)
    assert found.tolist() == [True, True, False, True, False, True]


def test_adapting_before_a_test_scores_each_domain_with_its_own_weights_and_leaves_no_trace(tmp_path: Path) -> None:
    loop = loop_in(tmp_path, adapt_before_test=True, support_rows=1000)
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}
    loop.model.train()
    found = loop.scores(loop.valid)
    assert loop.model.training
    assert all(torch.equal(before[name], value) for name, value in loop.model.state_dict().items())
    plain = score(loop.model, loop.valid, batch_size=64).logits
    assert not np.allclose(found.logits, plain)
    dense = {name: part.detach().clone().requires_grad_() for name, part in loop._dense.items()}
    support = torch.from_numpy(np.flatnonzero(loop.train.domains == 3))
    gradients = torch.autograd.grad(plain_loss(loop.model, dense, loop.train, support), list(dense.values()))
    adapted = {name: part - 0.5 * g for (name, part), g in zip(dense.items(), gradients, strict=True)}
    theirs = torch.from_numpy(np.flatnonzero(loop.valid.domains == 3))
    expected = functional_call(loop.model, adapted, (loop.valid.batch(theirs),)).logits.detach().numpy()
    np.testing.assert_allclose(found.logits[theirs.numpy()], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dnn", "adasparse", "star"])
def test_it_learns_with_any_model_inside(tmp_path: Path, name: str) -> None:
    loop = loop_in(tmp_path, name, epochs=10, inner_learning_rate=0.05)
    loop.run()
    assert '"kind": "valid"' in (tmp_path / "metrics.jsonl").read_text()
    scores = loop.scores(loop.valid)
    labels = loop.valid.labels.numpy()
    assert scores.logits[labels == 1].mean() > scores.logits[labels == 0].mean() + 0.5


def test_second_order_is_refused_for_models_that_cannot_have_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="second_order"):
        loop_in(tmp_path, "adasparse", second_order=True)


def test_a_task_is_never_larger_than_a_step(tmp_path: Path) -> None:
    loop = loop_in(tmp_path, task_rows=4096)
    assert min(len(rows) for rows in loop._epoch(0)) > 0
    assert max(len(rows) for rows in loop._epoch(0)) < 3 * 32
