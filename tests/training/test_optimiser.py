"""The optimiser of touched rows, against torch's own optimisers and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from adasparse_cli.training import optimiser
from adasparse_cli.training.optimiser import TouchedRowsAdam, summed_by_row


def table(rows: int = 6, width: int = 3) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, width, generator=torch.Generator().manual_seed(0)))


def one_step(weight: nn.Parameter, ids: torch.Tensor, *, sparse: bool) -> None:
    factor = torch.arange(1.0, len(ids) + 1).unsqueeze(1)
    (functional.embedding(ids, weight, sparse=sparse) * factor).pow(2).sum().backward()


def test_rows_touched_in_every_step_move_as_dense_adam_moves_them() -> None:
    """Truth: torch.optim.Adam."""
    ours, theirs = table(), table()
    adam = TouchedRowsAdam(ours, betas=(0.9, 0.999), eps=1e-8)
    dense = torch.optim.Adam([theirs], lr=0.05)
    for _ in range(7):
        ids = torch.tensor([5, 0, 1, 2, 3, 4, 0, 5, 5])
        one_step(ours, ids, sparse=True)
        one_step(theirs, ids, sparse=False)
        adam.step(0.05)
        dense.step()
        dense.zero_grad()
    torch.testing.assert_close(ours.data, theirs.data, rtol=1e-5, atol=1e-6)


def test_rows_not_touched_keep_weights_and_moments_to_the_bit() -> None:
    weight = table()
    adam = TouchedRowsAdam(weight, betas=(0.9, 0.999), eps=1e-8)
    one_step(weight, torch.tensor([1, 3]), sparse=True)
    adam.step(0.1)
    before = [weight.data.clone(), adam.first_moment.clone(), adam.second_moment.clone()]
    one_step(weight, torch.tensor([2]), sparse=True)
    adam.step(0.1)
    for old, new in zip(before, [weight.data, adam.first_moment, adam.second_moment], strict=True):
        assert torch.equal(old[[0, 1, 3, 4, 5]], new[[0, 1, 3, 4, 5]])
    assert not torch.equal(before[0][2], weight.data[2])


def test_update_follows_the_equation_in_its_docstring() -> None:
    """Truth: the equation in plain floats, for a row first met in the third step."""
    weight = nn.Parameter(torch.zeros(2, 1))
    adam = TouchedRowsAdam(weight, betas=(0.8, 0.9), eps=1e-3)
    for ids in ([0], [0], [1, 1]):
        (functional.embedding(torch.tensor(ids), weight, sparse=True) * 3.0).sum().backward()
        adam.step(0.5)
    g, m, u = 6.0, 0.2 * 6.0, 0.1 * 36.0
    expected = -0.5 * (m / (1 - 0.8**3)) / (math.sqrt(u / (1 - 0.9**3)) + 1e-3)
    assert g == 6.0
    assert weight[1].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("long", [1, 2000])
def test_with_steps_of_its_own_a_row_moves_as_if_training_began_with_it(long: int) -> None:
    """Truth: torch.optim.Adam on that row alone. Counting all steps, its first move would be three times as long."""
    weight = nn.Parameter(torch.zeros(2, long))
    alone = nn.Parameter(torch.zeros(1, long))
    adam = TouchedRowsAdam(weight, betas=(0.9, 0.999), eps=1e-8, own_steps=True)
    theirs = torch.optim.Adam([alone], lr=0.05)
    for step in range(2000):
        if step == 1990:
            saved = {name: tensor.clone() for name, tensor in adam.state().items()}
            adam = TouchedRowsAdam(weight, betas=(0.9, 0.999), eps=1e-8, own_steps=True)
            adam.load_state(saved)
        ids = torch.tensor([0, 1] if step in (1980, 1985, 1995) else [0])
        (functional.embedding(ids, weight, sparse=True) * (step % 7 - 2.5)).sum().backward()
        adam.step(0.05)
        if 1 in ids:
            (functional.embedding(torch.tensor([0]), alone) * (step % 7 - 2.5)).sum().backward()
            theirs.step()
            theirs.zero_grad()
    torch.testing.assert_close(weight[1], alone[0], rtol=1e-4, atol=1e-6)


def test_of_a_dense_gradient_rows_of_zeros_are_not_moved() -> None:
    """Truth: the same rows with a sparse gradient."""
    sparse, dense = table(), table()
    one, two = (TouchedRowsAdam(weight, betas=(0.9, 0.999), eps=1e-8) for weight in (sparse, dense))
    for ids in ([1, 2, 2], [4], [2, 5]):
        one_step(sparse, torch.tensor(ids), sparse=True)
        one_step(dense, torch.tensor(ids), sparse=False)
        one.step(0.1)
        two.step(0.1)
    torch.testing.assert_close(dense, sparse)
    assert torch.equal(dense[3], table()[3])


def test_without_a_gradient_nothing_moves() -> None:
    weight = table()
    adam = TouchedRowsAdam(weight, betas=(0.9, 0.999), eps=1e-8)
    before = weight.data.clone()
    adam.step(0.1)
    assert torch.equal(before, weight.data)
    assert adam.steps == 0


def test_a_saved_state_goes_on_to_the_same_bits() -> None:
    first, second = table(), table()
    one, two = (TouchedRowsAdam(weight, betas=(0.9, 0.999), eps=1e-8) for weight in (first, second))
    for ids in ([1, 2], [2, 2, 5]):
        one_step(first, torch.tensor(ids), sparse=True)
        one.step(0.1)
    second.data.copy_(first.data)
    two.load_state({name: tensor.clone() for name, tensor in one.state().items()})
    for weight, adam in ((first, one), (second, two)):
        one_step(weight, torch.tensor([0, 2]), sparse=True)
        adam.step(0.1)
    assert torch.equal(first.data, second.data)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_sums_by_row_equal_a_plain_loop(ids: list[int]) -> None:
    values = torch.arange(len(ids) * 2, dtype=torch.float32).view(-1, 2)
    rows, sums = summed_by_row(torch.tensor(ids), values)
    expected: dict[int, list[float]] = {}
    for k, row in enumerate(ids):
        old = expected.get(row, [0.0, 0.0])
        expected[row] = [old[0] + values[k, 0].item(), old[1] + values[k, 1].item()]
    assert dict(zip(rows.tolist(), sums.tolist(), strict=True)) == expected


@pytest.mark.parametrize("double", [True, False])
def test_long_rows_are_updated_in_place_as_short_ones_are(double: bool) -> None:
    """A domain's matrices: few rows, long ones, whose gradient is given once. Truth: the other way of updating."""
    torch.manual_seed(0)
    kind = torch.float64 if double else torch.float32
    start = torch.randn(6, 40, 50, dtype=kind)
    gathered, in_place = (nn.Parameter(start.clone()) for _ in range(2))
    one, two = (TouchedRowsAdam(table, betas=(0.9, 0.999), eps=1e-8) for table in (gathered, in_place))
    for present in ([0, 2, 5], [2], [1, 2, 4, 5], [0, 5]):
        rows = torch.tensor(present)
        g = torch.randn(len(present), 40, 50, dtype=kind)
        in_place.grad = torch.sparse_coo_tensor(
            rows.unsqueeze(0), g, start.shape, is_coalesced=True, check_invariants=False
        )
        one.steps += 1
        with torch.no_grad():
            one.update_gathered(rows, g, 0.01)
        two.step(0.01)
        assert in_place.grad is None
    torch.testing.assert_close(in_place, gathered)
    torch.testing.assert_close(two.second_moment, one.second_moment)
    assert torch.equal(in_place[3], start[3])
    assert one.steps == two.steps == 4


@pytest.mark.parametrize(("ids", "sums"), [([0, 2, 5], 0), ([0, 2, 2], 1), ([2, 0, 5], 1)])
def test_long_rows_are_summed_only_where_they_may_stand_twice(
    ids: list[int], sums: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What autograd hands over has lost the mark of a coalesced gradient; summing it again was a fifth of a step."""
    summed: list[int] = []

    def watched(ids: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        summed.append(len(ids))
        return summed_by_row(ids, values)

    monkeypatch.setattr(optimiser, "summed_by_row", watched)
    ours, theirs = table(6, 2000), table(6, 2000)
    adam, truth = TouchedRowsAdam(ours, betas=(0.9, 0.999), eps=1e-8), torch.optim.Adam([theirs], lr=0.01)
    for weight, sparse in ((ours, True), (theirs, False)):
        (functional.embedding(torch.tensor(ids), weight, sparse=sparse) ** 2).sum().backward()
    assert ours.grad is not None
    assert not ours.grad.is_coalesced()
    adam.step(0.01)
    truth.step()
    torch.testing.assert_close(ours, theirs)
    assert len(summed) == sums
