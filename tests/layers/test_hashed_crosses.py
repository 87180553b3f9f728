"""Hashed crosses against whole numbers of Python, which do not overflow."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.layers.embedding import AgnosticRows
from adasparse_cli.layers.hashed_crosses import HashedCrosses, splitmix64

ALL = (1 << 64) - 1
NO_BAGS = torch.zeros(0, dtype=torch.long)


def splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & ALL
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & ALL
    return x ^ (x >> 31)


def place_of(value: int, domain: int, *, domains: int, buckets: int) -> int:
    return (splitmix(value * (domains + 1) + domain) & (ALL >> 1)) % buckets


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=20))
def test_splitmix64_is_that_of_unsigned_numbers(numbers: list[int]) -> None:
    """Its published first outputs from the seed 0 are those of the numbers 0, step, 2 step."""
    found = splitmix64(torch.tensor(numbers)).tolist()
    assert [number & ALL for number in found] == [splitmix(number & ALL) for number in numbers]


def test_splitmix64_gives_the_generators_published_outputs() -> None:
    """Truth: the reference implementation's first three outputs from the seed 0."""
    step = 0x9E3779B97F4A7C15 - (1 << 64)
    found = splitmix64(torch.tensor([0, step, 2 * step + (1 << 64)])).tolist()
    assert [number & ALL for number in found] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("buckets", [1, 7, 1000, 1 << 20])
def test_pairs_are_placed_where_whole_numbers_say(buckets: int) -> None:
    crosses = HashedCrosses(5, buckets, pooling="mean")
    values, domains = torch.arange(40).repeat_interleave(6), torch.arange(6).repeat(40)
    found = crosses.places_of(values, domains).tolist()
    expected = [place_of(v, d, domains=5, buckets=buckets) for v in range(40) for d in range(6)]
    assert found == expected
    assert all(0 <= place < buckets for place in found)


def test_pairs_are_spread_over_the_table() -> None:
    """Of n pairs in B rows, B (1 − (1 − 1/B)ⁿ) rows are used on average; sd below √B / 2."""
    crosses, buckets = HashedCrosses(100, 10_000, pooling="mean"), 10_000
    places = crosses.places_of(torch.arange(200).unsqueeze(1), torch.arange(100))
    expected = buckets * (1 - (1 - 1 / buckets) ** 20_000)
    assert abs(len(torch.unique(places)) - expected) < 5 * buckets**0.5 / 2


def test_places_are_the_same_in_another_process() -> None:
    script = (
        "import torch; from adasparse_cli.layers.hashed_crosses import HashedCrosses\n"
        "print(HashedCrosses(5, 1000, pooling='mean').places_of(torch.arange(20), torch.arange(20) % 5).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    here = HashedCrosses(5, 1000, pooling="mean").places_of(torch.arange(20), torch.arange(20) % 5).tolist()
    assert done.stdout.strip() == str(here)


def test_values_of_a_bag_are_pooled_and_an_empty_bag_adds_nothing() -> None:
    """Two rows with two bags each: [1, 2], [] and [3], [4, 4, 5]; 11 and 12 are single values."""
    rows = AgnosticRows(
        singles=torch.tensor([[11], [12]]),
        values=torch.tensor([1, 2, 3, 4, 4, 5]),
        first_value=torch.tensor([0, 2, 2, 3]),
        lengths=torch.tensor([2, 0, 1, 3]),
    )
    for pooling in ("mean", "sum"):
        crosses = HashedCrosses(3, 500, pooling=pooling)
        torch.nn.init.normal_(crosses.weight)

        def u(value: int, domain: int, table: torch.Tensor = crosses.weight) -> float:
            return table[place_of(value, domain, domains=3, buckets=500), 0].item()

        half, third = (0.5, 1 / 3) if pooling == "mean" else (1.0, 1.0)
        first = u(11, 0) + half * (u(1, 0) + u(2, 0))
        second = u(12, 2) + u(3, 2) + third * (2 * u(4, 2) + u(5, 2))
        found = crosses(rows, torch.tensor([0, 2])).tolist()
        assert found == pytest.approx([first, second], abs=1e-6)


def test_a_domain_that_is_not_of_training_has_no_pairs() -> None:
    crosses = HashedCrosses(3, 50, pooling="mean")
    torch.nn.init.ones_(crosses.weight)
    rows = AgnosticRows(torch.tensor([[1], [1]]), NO_BAGS, NO_BAGS, NO_BAGS)
    assert crosses(rows, torch.tensor([3, 2])).tolist() == [0.0, 1.0]
