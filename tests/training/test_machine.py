"""Asking for memory of another kind changes no value."""

from __future__ import annotations

import pytest
import torch

from adasparse_cli.training.machine import prefer_large_pages


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
