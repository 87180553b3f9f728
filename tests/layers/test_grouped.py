"""Grouped products against a loop over rows, gradients included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adasparse_cli.layers.grouped import DomainTable, group_rows, grouped_linear

IDS = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(IDS)
def test_rows_are_sorted_by_group_and_can_be_put_back(ids: list[int]) -> None:
    rows = torch.tensor(ids)
    groups = group_rows(rows)
    assert groups.members.tolist() == sorted(set(ids))
    assert torch.equal(rows[groups.order][groups.back], rows)
    for member, start, end in zip(groups.members.tolist(), groups.bounds[:-1], groups.bounds[1:], strict=True):
        assert groups.order[start:end].tolist() == [k for k, own in enumerate(ids) if own == member]


@given(IDS, st.integers(1, 3))
def test_repeated_groups_are_those_of_rows_laid_out_several_times(ids: list[int], times: int) -> None:
    ours, theirs = group_rows(torch.tensor(ids)).repeated(times), group_rows(torch.tensor(ids).repeat_interleave(times))
    assert torch.equal(ours.order, theirs.order)
    assert torch.equal(ours.back, theirs.back)
    assert ours.bounds == theirs.bounds


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("with_shared", [True, False])
@given(ids=IDS)
@settings(max_examples=20)
def test_products_and_gradients_equal_those_of_a_loop_over_rows(
    sparse: bool, with_shared: bool, ids: list[int]
) -> None:
    torch.manual_seed(0)
    if not sparse:  # weights made for the groups of the batch alone
        ids = [sorted(set(ids)).index(own) for own in ids]
    rows = torch.tensor(ids)
    groups = group_rows(rows)
    number = 6 if sparse else len(groups.members)
    x = torch.randn(len(ids), 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(number, 3, 4, dtype=torch.float64, requires_grad=True)
    shared = torch.randn(3, 4, dtype=torch.float64, requires_grad=True) if with_shared else None
    factor = torch.ones(3, 4, dtype=torch.float64) if shared is None else shared
    expected = torch.stack([(weights[own] * factor) @ x[k] for k, own in enumerate(ids)])
    found = grouped_linear(x[groups.order], groups, weights, shared=shared, sparse=sparse)[groups.back]
    torch.testing.assert_close(found, expected)
    inputs = [part for part in (x, weights, shared) if part is not None]
    ours = torch.autograd.grad(found.pow(2).sum(), inputs)
    theirs = torch.autograd.grad(expected.pow(2).sum(), inputs)
    assert ours[1].is_sparse == sparse
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.to_dense() if one.is_sparse else one, other)


def test_a_table_starts_the_same_for_every_domain_and_one_more() -> None:
    table = DomainTable(3, torch.tensor([1.0, 2.0]))
    assert table.weight.tolist() == [[1.0, 2.0]] * 4
    assert table(torch.tensor([3, 0])).tolist() == [[1.0, 2.0]] * 2
