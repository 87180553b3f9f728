"""The shared table against a look-up row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adasparse_cli.choices import FieldKind, FieldRole, Pooling
from adasparse_cli.layers.embedding import Bags, EmbeddedRows, FieldEmbedding
from adasparse_cli.schema import Field
from tests import small
from tests.models import reference


def table(pooling: Pooling = Pooling.mean) -> FieldEmbedding:
    torch.manual_seed(0)
    return FieldEmbedding(small.FIELDS, small.BAGS, width=3, std=0.5, pooling=pooling)


def test_rows_are_looked_up_in_their_fields_part_of_the_table() -> None:
    layer, rows = table(), small.rows(50).batch(slice(0, 50))
    found = EmbeddedRows(layer(rows.field_ids), layer.agnostic_width)
    weights = {"embedding.weight": layer.weight.detach().numpy()}
    ids = rows.field_ids.numpy()
    for part, which in zip(found.parts(), ([0, 1, 2], [3]), strict=True):
        expected = reference.embed(weights, small.FIELDS, small.BAGS, ids[:, which], which)
        np.testing.assert_allclose(part.detach().numpy(), expected, rtol=1e-6)


def test_bags_can_be_summed_and_an_empty_one_is_zero() -> None:
    layer = table(Pooling.sum)
    ids = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1]], dtype=torch.int32)
    found = layer(ids)
    offset = 40 + 15
    torch.testing.assert_close(found[0, 6:9], layer.weight[offset + 1] + layer.weight[offset + 2])
    assert (found[1, 6:9] == 0).all()


def test_id_0_starts_at_zero_in_every_field_and_no_other_does() -> None:
    weight = table().weight.detach()
    firsts = [0, 40, 55, 64]
    assert (weight[firsts] == 0).all()
    others = [k for k in range(len(weight)) if k not in firsts]
    assert (weight[others] != 0).any(dim=1).all()


def test_only_rows_looked_up_have_a_gradient() -> None:
    layer, rows = table(), small.rows(5).batch(slice(0, 5))
    layer(rows.field_ids).sum().backward()
    touched = set(layer.weight.grad.coalesce().indices()[0].tolist())
    assert {int(k) for k in rows.field_ids[:, 0]} <= touched
    assert len(touched) < len(layer.weight) / 2


def test_new_bags_go_behind_the_stored_ones() -> None:
    layer = table()
    ids = torch.tensor([[0, 0, 5, 1]], dtype=torch.int32)
    stored = small.BAGS["tags"]
    values, starts = torch.cat([stored.values, torch.tensor([7])]), torch.cat([stored.starts, torch.tensor([7])])
    layer.set_bags({"tags": Bags(values=values, starts=starts)})
    torch.testing.assert_close(layer(ids)[0, 6:9], layer.weight[55 + 7])


def test_domain_aware_multi_valued_fields_come_behind_the_domain_agnostic_ones() -> None:
    fields = (
        Field(name="item", role=FieldRole.domain_agnostic, kind=FieldKind.categorical, size=4),
        Field(name="place", role=FieldRole.domain_aware, kind=FieldKind.categorical, size=3),
        Field(name="tags", role=FieldRole.domain_aware, kind=FieldKind.multi_valued, size=9, bags=5),
    )
    layer = FieldEmbedding(fields, small.BAGS, width=2, std=1.0, pooling=Pooling.mean)
    ids = torch.tensor([[1, 2, 1], [3, 1, 3]], dtype=torch.int32)
    found = EmbeddedRows(layer(ids), layer.agnostic_width)
    weights = {"embedding.weight": layer.weight.detach().numpy()}
    expected = reference.embed(weights, fields, small.BAGS, ids.numpy()[:, 1:], [1, 2])
    np.testing.assert_allclose(found.parts()[1].detach().numpy(), expected, rtol=1e-6)


def test_domain_aware_fields_must_come_last() -> None:
    with pytest.raises(ValueError, match="last"):
        FieldEmbedding(small.FIELDS[::-1], small.BAGS, width=2, std=1.0, pooling=Pooling.mean)
