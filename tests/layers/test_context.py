"""The domain context, against look-ups and shares worked out in NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from adasparse_cli.choices import ContextNormalisation, FieldKind, FieldRole, Pooling
from adasparse_cli.layers.context import (
    ROWS_PER_CONDITION,
    Context,
    ContextSettings,
    DomainContext,
    ReadsContext,
    context_shares,
)
from adasparse_cli.schema import Field
from tests import small

FIELDS = (
    Field(name="item", role=FieldRole.domain_agnostic, kind=FieldKind.categorical, size=40),
    Field(name="place", role=FieldRole.domain_aware, kind=FieldKind.categorical, size=3),
    Field(name="tags", role=FieldRole.domain_aware, kind=FieldKind.multi_valued, size=9, bags=5),
)
CONDITIONS = torch.tensor([[1, 3], [2, 1], [0, 0], [2, 4]])


def built(**changes: object) -> DomainContext:
    torch.manual_seed(0)
    settings = ContextSettings(width=2, std=1.0, gain=None, normalisation=ContextNormalisation.none)
    return DomainContext(FIELDS, small.BAGS, replace(settings, **changes), pooling=Pooling.mean).double()  # type: ignore[arg-type]


def expected_of(layer: DomainContext, condition: int) -> np.ndarray:
    """The embeddings of the fields one after another; the second field's values begin behind those of the first."""
    table = layer.table.weight.detach().numpy()
    place, bag = CONDITIONS[condition].tolist()
    values = small.BAGS["tags"].values[small.BAGS["tags"].starts[bag] : small.BAGS["tags"].starts[bag + 1]].tolist()
    pooled = np.mean([table[3 + value] for value in values], axis=0) if values else np.zeros(2)
    return np.concatenate([table[place], pooled])


@pytest.mark.parametrize("rows", [4, 5, ROWS_PER_CONDITION * 4])
def test_each_row_gets_the_embeddings_of_its_condition(rows: int) -> None:
    """With few rows only their conditions are computed, with many all of them; `only_present` always the former."""
    layer = built()
    ids = torch.arange(rows) % 3 + 1
    for only_present in (False, True):
        found = layer(CONDITIONS, ids, only_present=only_present)
        assert len(found.values) == (4 if rows >= ROWS_PER_CONDITION * 4 and not only_present else 3)
        expected = np.stack([expected_of(layer, int(k)) for k in ids])
        np.testing.assert_allclose(found.by_row().detach().numpy(), expected, rtol=1e-12)


def test_the_gain_is_trained_and_multiplies_after_the_normalisation() -> None:
    plain = built()
    layer = built(gain=3.0, normalisation=ContextNormalisation.layer)
    found = layer(CONDITIONS, torch.arange(4)).values
    expected = np.stack([expected_of(plain, k) for k in range(4)])
    deviation = np.sqrt(expected.var(axis=1, keepdims=True) + 1e-5)  # torch's layer_norm adds 1e-5
    normalised = (expected - expected.mean(axis=1, keepdims=True)) / deviation
    np.testing.assert_allclose(found.detach().numpy(), 3.0 * normalised, rtol=1e-9, atol=1e-12)
    found[:, 0].sum().backward()
    assert layer.gain is not None
    assert layer.gain.grad is not None


def test_conditions_without_rows_have_no_gradient() -> None:
    """The optimiser then leaves them as they are."""
    layer = built()
    layer(CONDITIONS, torch.zeros(100, dtype=torch.long)).by_row().sum().backward()
    gradient = layer.table.weight.grad
    assert gradient is not None
    assert set(gradient.ne(0).any(dim=1).nonzero().flatten().tolist()) == {1, 3 + 4, 3 + 8}


class _Sum(ReadsContext):
    """f(x) + w · c."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: torch.Tensor, context: Context) -> torch.Tensor:
        return x + self.weight * context.by_row()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 5.0])
def test_the_share_of_a_sum_is_the_contexts_part_of_the_variance(weight: float) -> None:
    """x and c are independent here, so that Var(x + w c) = Var x + w² Var c."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(60_000, 2, generator=draw)
    values, ids = torch.randn(500, 2, generator=draw), torch.randint(0, 500, (60_000,), generator=draw)
    model = nn.ModuleDict({"part": _Sum(weight)})
    shares = context_shares(model, lambda: model["part"](x, Context(values, ids)), seed=0)
    of_context = weight**2 * float(values[ids].var(dim=0).sum())
    assert shares["part"] == pytest.approx(of_context / (float(x.var(dim=0).sum()) + of_context), abs=0.06)


def test_looking_at_shares_leaves_no_hook_and_no_trace() -> None:
    model = small.model("adasparse")
    model.train()
    batch = small.rows(200).batch(slice(0, 200))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = model.context_shares(batch)
    assert first == model.context_shares(batch)
    assert set(first) == {"pruners.0", "pruners.1", "pruners.2"}
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks for part in model.modules())
