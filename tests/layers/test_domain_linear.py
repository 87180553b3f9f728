"""Maps of each domain's own against a loop over rows, gradients included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adasparse_cli.layers.domain_linear import DomainLinear
from adasparse_cli.layers.grouped import group_rows

DOMAINS = torch.tensor([2, 0, 3, 2, 2, 0, 3, 1])  # 3: not of training


def made(rank: int | None, *, bias: bool) -> DomainLinear:
    torch.manual_seed(0)
    return DomainLinear(nn.Linear(5, 4, bias=bias), 3, rank=rank).double()


def one_row(layer: DomainLinear, x: torch.Tensor, domain: int) -> torch.Tensor:
    own = layer.weight.weight[domain]
    own = own if layer.first is None else own @ layer.first.weight[domain]
    y = (layer.shared.weight + own) @ x
    return y if layer.bias is None else y + layer.shared.bias + layer.bias.weight[domain]


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_and_gradients_equal_those_of_a_loop(rank: int | None, bias: bool) -> None:
    layer, other = made(rank, bias=bias), made(rank, bias=bias)
    for one in (layer, other):
        torch.manual_seed(1)
        for parameter in one.parameters():
            nn.init.normal_(parameter)
    x = torch.randn(len(DOMAINS), 5, dtype=torch.float64)
    groups = group_rows(DOMAINS)
    found = layer(x[groups.order], groups, DOMAINS[groups.order])[groups.back]
    expected = torch.stack([one_row(other, row, int(domain)) for row, domain in zip(x, DOMAINS, strict=True)])
    torch.testing.assert_close(found, expected)
    factors = torch.randn_like(found)
    (found * factors).sum().backward()
    (expected * factors).sum().backward()
    for (name, ours), theirs in zip(layer.named_parameters(), other.parameters(), strict=True):
        assert ours.grad is not None, name
        torch.testing.assert_close(ours.grad.to_dense(), theirs.grad)


@pytest.mark.parametrize("rank", [None, 2])
def test_every_domain_starts_with_the_shared_map(rank: int | None) -> None:
    layer = made(rank, bias=True)
    x = torch.randn(len(DOMAINS), 5, dtype=torch.float64)
    groups = group_rows(DOMAINS)
    found = layer(x[groups.order], groups, DOMAINS[groups.order])[groups.back]
    torch.testing.assert_close(found, layer.shared(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("rank", "expected"), [(None, 4 * 5), (2, 2 * (4 + 5))])
def test_a_domains_part_costs_what_it_holds(rank: int | None, expected: int) -> None:
    layer = made(rank, bias=False)
    assert layer.multiply_adds() == expected
    own = [part for name, part in layer.named_parameters() if not name.startswith("shared")]
    assert sum(part[0].numel() for part in own) == expected
