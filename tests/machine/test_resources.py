"""Memory of another kind changes no value; the precision of products is changed for a while."""

from __future__ import annotations

import pytest
import torch

from adasparse_cli.choices import MatmulPrecision
from adasparse_cli.machine.resources import matmul_precision, prefer_large_pages


@pytest.mark.parametrize("rows", [0, 1, 1 << 10, 1 << 17])
@pytest.mark.parametrize("first", [0, 3])
def test_large_pages_leave_every_value_as_it_was(rows: int, first: int) -> None:
    whole = torch.randn(rows + first, 16)
    before = whole.clone()
    prefer_large_pages(whole[first:])
    assert torch.equal(whole, before)
    whole[first:] += 1
    assert torch.equal(whole[first:], before[first:] + 1)
    assert torch.equal(whole[:first], before[:first])


def test_products_are_exact_again_after_a_failure_inside() -> None:
    with pytest.raises(ZeroDivisionError), matmul_precision(MatmulPrecision.medium):
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == "highest"


def test_lower_precision_rounds_the_factors_and_nothing_else() -> None:
    """Truth: the product of factors rounded to bf16, summed in double; where torch has no units for it they stay exact."""
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=draw) for _ in range(2))
    with matmul_precision(MatmulPrecision.medium):
        found = a @ b
    exact, rounded = a.double() @ b.double(), a.bfloat16().double() @ b.bfloat16().double()
    errors = [(found - truth).abs().max().item() for truth in (exact, rounded)]
    assert min(errors) < 1e-4
    assert (exact - rounded).abs().max().item() > 1e-2
