"""Costs of models that hold no values: the same as those of real ones, and found without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adasparse_cli.models.base import Model
from adasparse_cli.models.unfilled import unfilled
from tests import small
from tests.models.test_contract import TREES


def built(words: list[str]) -> Model:
    name = next((word.partition("=")[2] for word in words if word.startswith("model=")), "adasparse")
    return small.model(name, 0, *words)


@pytest.mark.parametrize("words", TREES.values(), ids=TREES)
def test_a_model_without_values_costs_the_same(words: list[str]) -> None:
    whole = built(words)
    with unfilled():
        empty = built(words)
    assert empty.cost() == whole.cost()
    assert all(one.is_meta for one in empty.parameters())
    assert [one.shape for one in empty.parameters()] == [one.shape for one in whole.parameters()]


def test_no_model_loads_the_compiler() -> None:
    """It takes more than a second, and every run and every plan would wait for it."""
    script = f"""
import sys
from adasparse_cli.models.base import Model
from adasparse_cli.models.unfilled import unfilled
from tests.models.test_unfilled import built
for words in {list(TREES.values())!r}:
    with unfilled():
        built(words).cost()
print([name for name in ("torch._dynamo",) if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
