"""Neurons counted domain by domain, against a count row by row; factors against the forward pass that uses them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from adasparse_cli.choices import Backbone, Mode, Normalisation, PrunerInput
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.models.settings.adasparse import PrunerSettings
from adasparse_cli.neurons.activity import Activity, activity
from adasparse_cli.rows.dataset import Rows
from tests import small
from tests.models import reference

SCALE, ABSENT = 2.0, (2, 7)  # domains that no row below is of


def built(mode: Mode = Mode.fusion, *, network: Any = None, **changes: Any) -> AdaSparse:
    """A model in double precision, of which every layer cuts some neurons and not all."""
    torch.manual_seed(0)
    model = AdaSparse(small.adasparse_settings(mode, **changes), network or small.network(), small.SHAPE).double()
    with torch.no_grad():
        for parameter in model.pruners.parameters():
            parameter.normal_(0, 1.0)
        model.embedding.weight.normal_(0, 1.0)
    model.schedule(0.7)
    return model


def some_rows() -> Rows:
    """Rows of five of eight domains in no order; the sixth that `small.rows` knows is moved to another number."""
    rows = small.rows(160, seed=3)
    return replace(rows, domains=np.where(rows.domains == ABSENT[0], 6, rows.domains))


def counted(model: AdaSparse, rows: Rows, mode: Mode) -> dict[int, list[np.ndarray]]:
    """Per domain and layer the share of its rows in which each neuron's π is not 0 (or the mean π over β)."""
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    sums: dict[int, list[np.ndarray]] = {}
    for k in range(len(rows)):
        _, pi = reference.adasparse(
            weights,
            small.FIELDS,
            small.BAGS,
            rows.field_ids[k : k + 1].numpy(),
            rows.conditions[rows.condition_ids[k : k + 1]].numpy(),
            mode.value,
            layers=2,
            scale=SCALE,
            sharpness=model.sharpness.item(),
            threshold=0.25,
        )
        own = [layer[0] / SCALE if mode is Mode.scaling else (layer[0] != 0).astype(float) for layer in pi]
        before = sums.get(int(rows.domains[k]), [0.0] * len(own))
        sums[int(rows.domains[k])] = [a + b for a, b in zip(before, own, strict=True)]
    return {domain: [layer / int((rows.domains == domain).sum()) for layer in own] for domain, own in sums.items()}


@pytest.mark.parametrize("mode", list(Mode))
def test_activity_is_a_count_row_by_row_whatever_the_batch_size(mode: Mode) -> None:
    """Truth: the NumPy reference of the model (tests/models/reference.py), one row at a time."""
    model, rows = built(mode), some_rows()
    expected = counted(model, rows, mode)
    for batch_size in (1, 7, 64, 1000):  # 7 and 64 cut domains apart, 1000 takes all at once
        found = activity(model, rows, num_domains=8, batch_size=batch_size)
        assert found.layers == ("input", "hidden 1", "hidden 2")
        assert found.prunes == (mode is not Mode.scaling)
        assert found.rows.tolist() == [sum(int(d) == k for d in rows.domains) for k in range(8)]
        for layer, shares in enumerate(found.shares):
            assert np.isnan(shares[list(ABSENT)]).all()
            for domain, own in expected.items():
                np.testing.assert_allclose(shares[domain], own[layer], atol=1e-6)
    assert set(expected) == {0, 1, 3, 4, 5, 6}
    every = np.concatenate([np.concatenate(own) for own in expected.values()])
    assert ((every > 0) & (every < 1)).mean() > 0.1  # shares that a wrong count would miss


def test_activity_groups_by_the_true_domain_where_the_model_is_told_another() -> None:
    model, rows = built(), some_rows().with_another_rows_domain(1)
    found = activity(model, rows, num_domains=8, batch_size=50)
    for domain, own in counted(model, rows, Mode.fusion).items():
        for layer, shares in enumerate(found.shares):
            np.testing.assert_allclose(shares[domain], own[layer], atol=1e-6)


def test_the_layers_stand_side_by_side() -> None:
    first, second = np.arange(6.0).reshape(3, 2), np.arange(12.0).reshape(3, 4) + 10
    whole = Activity(layers=["a", "b"], shares=[first, second], rows=np.ones(3, dtype=np.int64), prunes=True)
    assert whole.all_layers().tolist() == [[*a, *b] for a, b in zip(first.tolist(), second.tolist(), strict=True)]


@pytest.mark.parametrize("training", [True, False])
def test_looking_leaves_no_trace_and_is_done_as_in_evaluation(training: bool) -> None:
    """With dropout and batch normalisation, which a pass in training would feel and move."""
    model = built(network=small.network(dropout=0.5, normalisation=Normalisation.batch))
    rows = some_rows()
    expected = activity(model.eval(), rows, num_domains=8, batch_size=64)
    model.train(training)
    before, chance = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = activity(model, rows, num_domains=8, batch_size=64)
    assert all(part.training is training for part in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(before) == set(model.state_dict())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(chance, torch.get_rng_state())
    for one, other in zip(found.shares, expected.shares, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("backbone", list(Backbone))
@pytest.mark.parametrize("input_layer", [True, False])
@pytest.mark.parametrize("inputs", [(PrunerInput.hidden, PrunerInput.domain), (PrunerInput.domain,)])
def test_factors_are_those_the_forward_pass_multiplies_its_layers_with(
    mode: Mode, backbone: Backbone, input_layer: bool, inputs: tuple[PrunerInput, ...]
) -> None:
    """Truth: the pass written out, each gated layer times what `factors` says, gives the model's own logits."""
    pruner = PrunerSettings(inputs=inputs, rank=None, input_layer=input_layer)
    model = built(mode, backbone=backbone, pruner=pruner).eval()
    batch = small.rows(50, seed=4).batch(slice(0, 50))
    factors = model.factors(batch)
    assert len(factors) == len(model.gated_layers) == 2 + input_layer
    assert not any(pi.requires_grad for pi in factors)
    with torch.no_grad():
        (agnostic, aware), rest = model.embed(batch).parts(), list(factors)
        h = torch.cat([agnostic * rest.pop(0) if input_layer else agnostic, aware], dim=1)
        crossed = [] if model.cross is None else [model.cross(h)]
        for block in model.blocks:
            h = block(h) * rest.pop(0)
        logits = model.head(torch.cat([*crossed, h], dim=1))[:, 0]
        prediction = model(batch)
    np.testing.assert_allclose(logits.numpy(), prediction.logits.numpy(), rtol=1e-9, atol=1e-9)
    assert prediction.pruned is not None
    for layer, pi in enumerate(factors):
        zeros = [sum(value == 0 for value in row) / len(row) for row in pi.tolist()]
        np.testing.assert_allclose(prediction.pruned[:, layer].numpy(), zeros, atol=1e-6)
        assert (max(zeros) > 0) == (mode is not Mode.scaling)
