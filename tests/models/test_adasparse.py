"""AdaSparse against the NumPy reference, and against every defect that public versions have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from adasparse_cli.batches import Batch
from adasparse_cli.choices import Mode, Normalisation, PenaltyUnit, PrunerInput, SharpnessRule, ThresholdRule
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.context import Context
from adasparse_cli.layers.pruner import Pruner
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.models.settings.adasparse import (
    PrunerSettings,
    RegulariserSettings,
    SharpnessSettings,
    ThresholdSettings,
)
from tests import small
from tests.models import reference

NO_PENALTY = RegulariserSettings(enabled=False, per=PenaltyUnit.row, interval=(0.15, 0.25), start=0.01, end=100.0)


def built(mode: Mode = Mode.fusion, *, progress: float = 0.7, network: Any = None, **changes: Any) -> AdaSparse:
    torch.manual_seed(0)
    model = AdaSparse(small.adasparse_settings(mode, **changes), network or small.network(), small.SHAPE).double()
    with torch.no_grad():  # so that every layer cuts some neurons, but not all
        for pruner in model.pruners.values():
            for parameter in pruner.parameters():
                parameter.normal_(0, 1.0)
        model.embedding.weight.normal_(0, 1.0)
    model.schedule(progress)
    return model


def batch(count: int = 40, seed: int = 5) -> Batch:
    found = small.rows(count, seed).batch(slice(0, count))
    return replace(found, labels=found.labels.double() if found.labels is not None else None)


def weights_of(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def referenced(model: AdaSparse, rows: Batch, mode: Mode) -> tuple[np.ndarray, list[np.ndarray]]:
    return reference.adasparse(
        weights_of(model),
        small.FIELDS,
        small.BAGS,
        rows.field_ids.numpy(),
        rows.conditions.numpy()[rows.condition_ids.numpy()],
        mode.value,
        layers=2,
        scale=2.0,
        sharpness=model.sharpness.item(),
        threshold=0.25,
    )


@pytest.mark.parametrize("mode", list(Mode))
def test_logits_sparsity_and_penalty_equal_the_reference(mode: Mode) -> None:
    model, rows = built(mode), batch()
    prediction = model(rows)
    logits, pi = referenced(model, rows, mode)
    np.testing.assert_allclose(prediction.logits.detach().numpy(), logits, rtol=1e-9, atol=1e-9)
    assert prediction.pruned is not None
    for k, layer in enumerate(pi):
        np.testing.assert_allclose(prediction.pruned[:, k].numpy(), (layer == 0).mean(axis=1), atol=1e-12)
    expected = 0.0
    if mode is not Mode.scaling:
        expected = reference.penalty(pi, interval=(0.15, 0.25), weight=model.regulariser_weight.item())
        assert expected > 0
        assert any(0.05 < float((layer == 0).mean()) < 0.95 for layer in pi)
    assert prediction.penalty.item() == pytest.approx(expected, abs=1e-12)


def test_the_input_is_pruned_and_the_domain_embedding_is_not() -> None:
    """Public defect: the input never pruned. With all of e_a cut, only e_d can still move the logit."""
    model, rows = built(), batch()
    with torch.no_grad():
        pruner = model.pruners["0"]
        assert isinstance(pruner, Pruner)
        pruner.bias.fill_(-1e4)
    before = model(rows)
    assert before.pruned is not None
    assert (before.pruned[:, 0] == 1).all()
    other_items = replace(rows, field_ids=rows.field_ids.clone())
    other_items.field_ids[:, 0] = (other_items.field_ids[:, 0] + 1) % 40
    assert torch.equal(model(other_items).logits, before.logits)
    other_place = replace(rows, field_ids=rows.field_ids.clone())
    other_place.field_ids[:, 3] = other_place.field_ids[:, 3] % 6 + 1
    assert not torch.equal(model(other_place).logits, before.logits)


def test_each_layer_has_a_pruner_of_its_own_made_from_its_own_neurons() -> None:
    """Public defects: one shared pruner; π made from the wrong layer."""
    model, rows = built(), batch()
    pruners = list(model.pruners.values())
    assert len(pruners) == len(model.blocks) + 1
    assert len({id(parameter) for pruner in pruners for parameter in pruner.parameters()}) == 3 * len(pruners)
    base = model(rows).pruned
    with torch.no_grad():
        model.blocks[0].linear.weight.mul_(-1)  # changes h^1 and what follows, not h^0
    changed = model(rows).pruned
    assert torch.equal(base[:, 0], changed[:, 0])
    assert not torch.equal(base[:, 1], changed[:, 1])


@pytest.mark.parametrize("normalisation", list(Normalisation))
def test_pruned_neurons_stay_exactly_zero_where_they_enter_the_next_layer(normalisation: Normalisation) -> None:
    """Public defect: a normalisation after the product brings cut neurons back to life."""
    model = built(network=small.network(normalisation=normalisation, dropout=0.2)).train()
    seen: list[torch.Tensor] = []
    model.blocks[1].linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    rows = batch()
    pruned = model(rows).pruned
    zeros = (seen[0] == 0).double().mean(dim=1)
    assert (zeros >= pruned[:, 1] - 1e-12).all()
    assert pruned[:, 1].mean() > 0
    # what this test would have caught: normalised after the product, hardly a zero is left
    revived = functional.layer_norm(seen[0], (seen[0].shape[1],))
    assert (revived == 0).double().mean() < pruned[:, 1].mean() / 2


def test_sharpness_and_regulariser_follow_their_schedules_and_are_saved() -> None:
    """Public defect: α missing from the checkpoint, growing in evaluation. α is linear, λ̂ exponential."""
    model = built()
    for progress, sharpness, weight in ((0.0, 0.1, 0.01), (0.5, 2.55, 1.0), (1.0, 5.0, 100.0)):
        model.schedule(progress)
        assert model.sharpness.item() == pytest.approx(sharpness)
        assert model.regulariser_weight.item() == pytest.approx(weight)
    assert {"sharpness", "regulariser_weight"} <= model.state_dict().keys()
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        model(batch())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_penalty_pulls_each_layer_towards_the_interval() -> None:
    """Public defect: no regulariser. Its gradient moves v up where too much is cut, down where too little is."""
    for bias, sign in ((-0.6, -1), (8.0, 1)):
        model, rows = built(network=small.network(hidden=(12,))), batch()
        with torch.no_grad():
            for pruner in model.pruners.values():
                for parameter in pruner.parameters():
                    parameter.mul_(0.05)
                pruner.bias.fill_(bias)
        prediction = model(rows)
        assert prediction.penalty > 0
        prediction.penalty.backward()
        for pruner in model.pruners.values():
            assert (torch.sign(pruner.bias.grad) == sign).all()


@pytest.mark.parametrize("inputs", [(PrunerInput.domain,), (PrunerInput.hidden, PrunerInput.domain)])
def test_per_domain_each_distinct_domain_of_the_batch_counts_once(inputs: tuple[PrunerInput, ...]) -> None:
    """R_s of the mean over conditions, written out; a domain with many rows counts as one with few does."""
    pruner = PrunerSettings(inputs=inputs, rank=None, input_layer=True)
    per_domain = RegulariserSettings(enabled=True, per=PenaltyUnit.domain, interval=(0.15, 0.25), start=0.01, end=100.0)
    model = built(pruner=pruner, regulariser=per_domain)
    found = batch(200)
    ids = torch.where(torch.arange(200) < 150, torch.tensor(2), found.condition_ids)
    ids = torch.where(ids == 4, torch.tensor(2), ids)  # a condition that the batch does not have
    found = replace(found, condition_ids=ids)
    pi = [part.numpy() for part in model.factors(found)]
    low, high, total = 0.15, 0.25, 0.0
    for layer in pi:
        zeros = (layer == 0).mean(axis=1)
        r = float(np.mean([zeros[ids.numpy() == condition].mean() for condition in np.unique(ids.numpy())]))
        distance = abs(r - 0.2)
        total += 0.0 if low <= r <= high else model.regulariser_weight.item() * distance**2
    penalty = model(found).penalty
    assert penalty.item() == pytest.approx(total / len(pi), abs=1e-12)
    assert penalty.item() > 0
    by_row = built(pruner=pruner)
    assert by_row(found).penalty.item() != pytest.approx(penalty.item(), rel=1e-3)
    penalty.backward()
    assert model.pruners["1"].bias.grad is not None
    assert float(model.pruners["1"].bias.grad.abs().sum()) > 0


def test_inside_the_interval_there_is_no_penalty_and_no_gradient_of_it() -> None:
    wide = RegulariserSettings(enabled=True, per=PenaltyUnit.row, interval=(0.0, 1.0), start=0.01, end=100.0)
    prediction = built(regulariser=wide)(batch())
    assert prediction.penalty.item() == 0.0


def test_training_lands_the_sparsity_in_its_interval() -> None:
    torch.manual_seed(0)
    model = AdaSparse(small.adasparse_settings(), small.network(hidden=(64, 32)), small.SHAPE)
    optimiser = torch.optim.Adam([p for name, p in model.named_parameters() if name != "embedding.weight"], lr=3e-3)
    rows = small.rows(4000)
    for step in range(600):
        model.schedule(step / 599)
        start = step * 100 % 4000
        found = rows.batch(slice(start, start + 100))
        prediction = model(found)
        loss = functional.binary_cross_entropy_with_logits(prediction.logits, found.labels) + prediction.penalty
        optimiser.zero_grad()
        model.embedding.weight.grad = None
        loss.backward()
        optimiser.step()
    pruned = model.eval()(rows.batch(slice(0, 4000))).pruned.mean(0)
    assert ((pruned > 0.13) & (pruned < 0.27)).all(), pruned


def test_what_a_pruner_is_told_is_the_condition_and_the_tower_keeps_the_rows_own_ids() -> None:
    """The control arm rests on this: another row's condition changes π and nothing else."""
    model, rows = built(), batch()
    moved = replace(rows, condition_ids=(rows.condition_ids + 1) % 6)
    logits, _ = referenced(model, moved, Mode.fusion)
    found = model(moved).logits.detach().numpy()
    np.testing.assert_allclose(found, logits, rtol=1e-9, atol=1e-9)
    assert not np.allclose(found, model(rows).logits.detach().numpy())


def test_a_pruner_that_sees_the_domain_alone_lets_its_sub_network_be_cut_out_exactly() -> None:
    """One domain's neurons with π = 0 removed, the others scaled: a smaller plain network, the same logits."""
    pruner = PrunerSettings(inputs=(PrunerInput.domain,), rank=None, input_layer=True)
    model = built(pruner=pruner)
    rows = batch(60)
    own = torch.nonzero(rows.condition_ids == rows.condition_ids[0]).flatten()
    rows = Batch(rows.field_ids[own], rows.domain_ids[own], rows.condition_ids[own], rows.conditions)
    weights = weights_of(model)
    told = rows.conditions.numpy()[rows.condition_ids[:1].numpy()]
    aware = reference.embed(weights, small.FIELDS, small.BAGS, told, [3])
    context = weights["context.table.weight"][told[:, 0]]
    h = reference.embed(weights, small.FIELDS, small.BAGS, rows.field_ids.numpy()[:, :3], [0, 1, 2])
    removed = 0
    for layer in range(3):
        v = context @ weights[f"pruners.{layer}.domain.weight"].T + weights[f"pruners.{layer}.bias"]
        pi = reference.factors(v, "fusion", scale=2.0, sharpness=model.sharpness.item(), threshold=0.25)[0]
        alive = np.flatnonzero(pi)
        removed += len(pi) - len(alive)
        matrix, bias = (
            (weights["head.weight"], weights["head.bias"])
            if layer == 2
            else (weights[f"blocks.{layer}.linear.weight"], weights[f"blocks.{layer}.linear.bias"])
        )
        width = h.shape[1]
        small_matrix = matrix[:, :width][:, alive] * pi[alive]
        out = h[:, alive] @ small_matrix.T + bias
        if layer == 0:
            out = out + aware @ matrix[:, width:].T
        h = out if layer == 2 else np.maximum(out, 0)
    assert removed > 3
    np.testing.assert_allclose(model(rows).logits.detach().numpy(), h[:, 0], rtol=1e-9, atol=1e-9)


def test_a_low_rank_pruner_is_its_matrix_product() -> None:
    torch.manual_seed(0)
    pruner = Pruner(6, 4, inputs=(PrunerInput.hidden, PrunerInput.domain), rank=2).double()
    h, conditions = torch.randn(5, 6, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    rows = torch.tensor([0, 2, 2, 1, 0])
    whole = torch.cat([pruner.hidden.weight, pruner.domain.weight], dim=1)
    expected = torch.cat([h, conditions[rows]], dim=1) @ whole.T @ pruner.up.weight.T + pruner.bias
    torch.testing.assert_close(pruner(h, Context(conditions, rows)), expected)
    assert pruner.multiply_adds() == 2 * (6 + 4) + 2 * 6


def test_the_domains_part_once_per_condition_equals_the_plain_concatenation() -> None:
    torch.manual_seed(0)
    pruner = Pruner(6, 4, inputs=(PrunerInput.hidden, PrunerInput.domain), rank=None).double()
    h = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    conditions = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([0, 2, 2, 1, 0])
    whole = torch.cat([pruner.hidden.weight, pruner.domain.weight], dim=1)
    expected = torch.cat([h, conditions[rows]], dim=1) @ whole.T + pruner.bias
    ours = torch.autograd.grad(pruner(h, Context(conditions, rows)).pow(2).sum(), [h, conditions, *pruner.parameters()])
    theirs = torch.autograd.grad(expected.pow(2).sum(), [h, conditions, *pruner.parameters()])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_learnable_sharpness_and_threshold_are_trained_one_per_layer() -> None:
    model = built(
        sharpness=SharpnessSettings(rule=SharpnessRule.learnable, start=0.1, end=5.0, initial=1.5),
        threshold=ThresholdSettings(rule=ThresholdRule.learnable, value=0.25, window=None),
        regulariser=NO_PENALTY,
    )
    assert model.log_sharpness is not None
    assert model.learnt_threshold is not None
    torch.testing.assert_close(model.log_sharpness.exp().detach(), torch.full((3,), 1.5, dtype=torch.float64))
    rows = batch()
    functional.binary_cross_entropy_with_logits(model(rows).logits, rows.labels).backward()
    assert (model.log_sharpness.grad != 0).all()
    assert (model.learnt_threshold.grad != 0).all()


def test_scaling_prunes_nothing_and_has_no_penalty() -> None:
    prediction = built(Mode.scaling)(batch())
    assert prediction.penalty.item() == 0
    assert (prediction.pruned == 0).all()
    assert built(Mode.scaling).sparsity_interval is None


def test_the_input_layer_may_be_left_whole() -> None:
    model = built(pruner=PrunerSettings(inputs=(PrunerInput.hidden, PrunerInput.domain), rank=None, input_layer=False))
    assert model.gated_layers == ("hidden 1", "hidden 2")
    assert model(batch()).pruned.shape[1] == 2


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(UsageError, match=r"from 0\.5 down to 0\.2"):
        RegulariserSettings(enabled=True, per=PenaltyUnit.row, interval=(0.5, 0.2), start=0.01, end=100.0)
    with pytest.raises(UsageError, match="inputs is empty"):
        PrunerSettings(inputs=(), rank=None, input_layer=True)
