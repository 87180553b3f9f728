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

from adasparse_cli.choices import Normalisation
from adasparse_cli.config.compose import compose
from adasparse_cli.errors import UsageError
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.evaluate import score
from adasparse_cli.training.maml import MamlLoop, adapting_domains
from adasparse_cli.training.maml_settings import MamlSettings
from adasparse_cli.training.standard import StandardLoop
from adasparse_cli.typed import typed
from tests import small


def settings(**changes: Any) -> MamlSettings:
    packaged = typed(compose("train", ["loop=maml"])["loop"], MamlSettings, "loop")
    base = {name: getattr(small.loop_settings(), name) for name in vars(small.loop_settings()) if name != "name"}
    return replace(
        packaged,
        **{**base, "support_rows": 12, "minimum_rows": 8, "tasks_per_step": 3, "inner_learning_rate": 0.5, **changes},
    )


def loop_in(
    folder: Path, name: str = "dnn", rows: Rows | None = None, *, network: dict[str, Any] | None = None, **changes: Any
) -> MamlLoop:
    folder.mkdir(exist_ok=True)
    train = small.rows(500, 1) if rows is None else rows
    return MamlLoop(small.model(name, **(network or {})), train, small.rows(300, 2), 6, settings(**changes), 3, folder)


def plain_loss(model: Any, weights: dict[str, Any], rows: Rows, chosen: torch.Tensor) -> Any:
    batch = rows.batch(chosen)
    prediction = functional_call(model, weights, (batch,))
    return functional.binary_cross_entropy_with_logits(prediction.logits, batch.labels) + prediction.penalty


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("dnn", {"second_order": False}),
        ("dnn", {"second_order": True}),
        ("dnn", {"second_order": True, "inner_steps": 2}),
        ("dnn", {"second_order": False, "inner_steps": 2}),
        ("adasparse", {"second_order": False, "inner_learning_rate": 0.01}),  # has a penalty
    ],
)
def test_gradients_equal_a_plain_computation_by_finite_differences(
    tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    """Truth: the outer loss as a function of θ, differentiated numerically; for first order with the inner
    gradients held where they were."""
    loop = loop_in(tmp_path, name, **changes)
    loop.model.double()
    loop.model.schedule(0.7)
    loop.train = train = replace(loop.train, labels=loop.train.labels.double())
    rows = loop.epoch_batches(0)[0]
    others, tasks = loop.tasks_of(rows)
    assert len(tasks) == 3
    assert sorted([*others.tolist(), *(row for _, query in tasks for row in query.tolist())]) == sorted(rows.tolist())
    rate, steps = loop.own_settings.inner_learning_rate, loop.own_settings.inner_steps
    dense = {key: part.detach().clone() for key, part in loop.dense.items()}

    def inner(weights: dict[str, Any], chosen: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        moves = []
        for _ in range(steps):
            asked = {key: part.clone().requires_grad_() for key, part in weights.items()}
            own = torch.autograd.grad(plain_loss(loop.model, asked, train, chosen), list(asked.values()))
            moves.append({key: rate * g for key, g in zip(asked, own, strict=True)})
            weights = {key: part - moves[-1][key] for key, part in weights.items()}
        return moves

    held = [inner(dense, support) for support, _ in tasks]

    def outer(weights: dict[str, Any]) -> float:
        total = len(others) / len(rows) * plain_loss(loop.model, weights, train, others).item()
        for k, (support, query) in enumerate(tasks):
            moves = inner(weights, support) if loop.own_settings.second_order else held[k]
            adapted = {key: part - sum(move[key] for move in moves) for key, part in weights.items()}
            total += len(query) / len(rows) * plain_loss(loop.model, adapted, train, query).item()
        return total

    found = loop.add_gradients(rows)
    assert (found.loss + found.penalty).item() == pytest.approx(outer(dense), rel=1e-9)
    if name == "adasparse":  # its straight-through gradient is no derivative of its loss
        assert found.penalty.item() > 0
        return
    for key, place in (("head.bias", (0,)), ("head.weight", (0, 3)), ("blocks.0.linear.weight", (2, 1))):
        moved = []
        for step in (1e-5, -1e-5):
            weights = {other: part.clone() for other, part in dense.items()}
            weights[key][place] += step
            moved.append(outer(weights))
        numeric = (moved[0] - moved[1]) / 2e-5
        assert loop.dense[key].grad[place].item() == pytest.approx(numeric, rel=1e-4, abs=1e-8), key


@pytest.mark.parametrize("name", ["dnn", "adasparse", "star"])
def test_with_an_inner_rate_of_zero_it_is_the_standard_loop(tmp_path: Path, name: str) -> None:
    """Truth: the standard loop itself, on the same seeds, step by step up to rounding."""
    ends = []
    for kind, folder in ((MamlLoop, "maml"), (StandardLoop, "standard")):
        (tmp_path / folder).mkdir()
        own = settings(inner_learning_rate=0.0, epochs=1)
        model = small.model(name, 0, *(["model.partitioned_norm.enabled=false"] if name == "star" else []))
        model.regulariser_weight = torch.zeros(())  # the penalty is of a batch's mean, not a sum over its rows
        model.schedule = lambda progress: None  # type: ignore[method-assign]
        loop = kind(model, small.rows(500, 1), small.rows(300, 2), 6, own, 3, tmp_path / folder)
        loop.run()
        ends.append({key: part.detach().clone() for key, part in model.named_parameters()})
    for key, part in ends[0].items():
        torch.testing.assert_close(part, ends[1][key], rtol=2e-3, atol=2e-4)


def test_supports_are_a_domains_other_training_rows(tmp_path: Path) -> None:
    loop = loop_in(tmp_path)
    for step in range(10):
        loop.state.step = step
        rows = loop.epoch_batches(0)[step]
        for support, query in loop.tasks_of(rows)[1]:
            assert len(support) == 12
            (domain,) = torch.unique(loop.train.domain_ids[query]).tolist()
            assert torch.unique(loop.train.domain_ids[support]).tolist() == [domain]
            assert not set(support.tolist()) & set(rows.tolist())
            assert len(torch.unique(loop.train.labels[support])) == 2


@pytest.mark.parametrize("name", ["dnn", "star"])
def test_statistics_move_once_a_step_by_rows_that_are_no_tasks(tmp_path: Path, name: str) -> None:
    loop = loop_in(tmp_path, name, network={"normalisation": Normalisation.batch})
    rows = loop.epoch_batches(0)[0]
    others, _ = loop.tasks_of(rows)
    alone = loop_in(tmp_path / "alone", name, network={"normalisation": Normalisation.batch}).model
    alone.train()(loop.train.batch(others))
    loop.model.train()
    loop.add_gradients(rows)
    expected = dict(alone.named_buffers())
    moved = {key: value for key, value in loop.model.named_buffers() if "running" in key or key.startswith("norm.")}
    assert moved
    for key, value in moved.items():
        torch.testing.assert_close(value, expected[key], msg=key)
    assert all(part.training for part in loop.model.modules())


def test_a_lone_row_beside_the_tasks_is_no_obstacle_to_batch_normalisation(tmp_path: Path) -> None:
    few = small.rows(500, 1)
    loop = loop_in(tmp_path, rows=few, network={"normalisation": Normalisation.batch}, tasks_per_step=6)
    own = torch.from_numpy(np.flatnonzero(few.domains < 5))[:20]
    lone = torch.from_numpy(np.flatnonzero(few.domains == 5))[:1]
    loop.adapting[5] = False
    loop.model.train()
    found = loop.add_gradients(torch.cat([own, lone]))
    assert torch.isfinite(found.loss)


def test_small_and_one_class_domains_do_not_adapt() -> None:
    rows = small.rows(300)
    labels = rows.labels.clone()
    labels[rows.domain_ids == 2] = 0.0
    kept = torch.from_numpy(np.flatnonzero((rows.domains != 4) | (np.arange(300) < 12)))
    few = replace(rows, labels=labels[kept], domain_ids=rows.domain_ids[kept], domains=rows.domains[kept.numpy()])
    found = adapting_domains(few, 8)
    assert found.tolist() == [True, True, False, True, False, True]


def test_a_step_takes_no_domain_for_a_task_that_may_not_adapt(tmp_path: Path) -> None:
    loop = loop_in(tmp_path, minimum_rows=90, tasks_per_step=6)
    large = set(np.flatnonzero(np.bincount(loop.train.domains) >= 90))
    assert 0 < len(large) < 6
    rows = torch.arange(200)
    tasks = {int(loop.train.domain_ids[query[0]]) for _, query in loop.tasks_of(rows)[1]}
    assert tasks == large


@pytest.mark.parametrize("support_rows", [1000, 20])
def test_adapting_before_a_test_scores_each_domain_with_its_own_weights_and_leaves_no_trace(
    tmp_path: Path, support_rows: int
) -> None:
    """With dropout and batch normalisation, which must both be as in evaluation."""
    network = {"normalisation": Normalisation.batch, "dropout": 0.3}
    loop = loop_in(tmp_path, network=network, adapt_before_test=True, test_support_rows=support_rows)
    for _ in range(20):
        loop.model.train()(loop.train.batch(slice(0, 200)))
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}
    found = loop.scores(loop.valid)
    assert loop.model.training
    assert all(torch.equal(before[name], value) for name, value in loop.model.state_dict().items())
    plain = score(loop.model, loop.valid, batch_size=64).logits
    assert not np.allclose(found.logits, plain)
    loop.model.eval()
    dense = {name: part.detach().clone().requires_grad_() for name, part in loop.dense.items()}
    known = np.flatnonzero(loop.train.domains == 3)
    support = torch.from_numpy(np.random.default_rng(3).permutation(known)[:support_rows])
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
