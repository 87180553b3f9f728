"""Numbers that are not finite are found before they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adasparse_cli.checkpoints.checkpoint import load_checkpoint
from adasparse_cli.checkpoints.state import Gradients
from adasparse_cli.errors import NumericError
from adasparse_cli.training.finite import first_not_finite
from adasparse_cli.training.loop import BEST, LAST
from tests.training.test_standard import loop_in


def test_the_first_tensor_that_is_not_finite_is_named() -> None:
    large = torch.full((4,), 3e38)  # finite, though its sum is not
    good = {"a": torch.ones(3), "b": torch.tensor([1, 2]), "c": large}
    assert first_not_finite(good) is None
    for value in (float("nan"), float("inf"), -float("inf")):
        assert first_not_finite({**good, "d": torch.tensor([0.0, value])}) == "d"
    assert first_not_finite({"d": torch.tensor([float("inf"), -float("inf")])}) == "d"


@pytest.mark.parametrize("part", ["embedding.weight", "head.weight"])
def test_weights_that_a_gradient_made_infinite_are_not_kept_though_the_loss_is_finite(
    tmp_path: Path, part: str
) -> None:
    """The embedding of a value that no row has, or a weight behind a neuron that is always 0: the loss does not see them."""
    loop = loop_in(tmp_path, "dnn", max_steps=30, evaluations=3)

    def spoil(count: int, figures: dict[str, float]) -> None:
        if loop.state.step == 15:
            with torch.no_grad():
                if part == "head.weight":
                    loop.model.get_parameter("blocks.1.linear.weight")[0] = 0.0
                    loop.model.get_parameter("blocks.1.linear.bias")[0] = -1e30
                    # 0 · (a large finite number) is 0 in the forward pass; Adam's step makes it infinite
                    loop.model.get_parameter(part)[0, 0] = 3.4e38
                    loop.model.get_parameter(part)[0, 0] *= 10
                else:
                    loop.model.get_parameter(part)[0, 0] = float("inf")

    loop.on_step = spoil
    with pytest.raises(NumericError) as caught:
        loop.run()
    assert part in caught.value.message or "loss is not finite" in caught.value.message
    assert "step" in caught.value.message
    for folder in (LAST, BEST):
        kept, state = load_checkpoint(tmp_path / folder)
        assert state["step"] < 16
        assert all(torch.isfinite(tensor).all() for tensor in kept.values() if tensor.is_floating_point())


@pytest.mark.parametrize(
    ("value", "found"), [(float("inf"), "head.weight"), (1e25, "state of head.weight: exp_avg_sq")]
)
def test_a_gradient_that_is_infinite_or_whose_square_is_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, found: str
) -> None:
    """With an infinite second moment a weight is finite and never moves again."""
    loop = loop_in(tmp_path, "dnn", max_steps=30)
    add = loop.add_gradients

    def spoilt(rows: torch.Tensor) -> Gradients:
        result = add(rows)
        if loop.state.step == 10:
            gradient = loop.model.get_parameter("head.weight").grad
            assert gradient is not None
            gradient[0, 0] = value
        return result

    monkeypatch.setattr(loop, "add_gradients", spoilt)
    with pytest.raises(NumericError, match=found):
        loop.run()


@pytest.mark.parametrize("rate", [1e12, 1e20, 1e30])
def test_scores_that_are_not_finite_at_an_evaluation_end_the_run_as_a_loss_does(tmp_path: Path, rate: float) -> None:
    """The weights of the first step are finite, and no loss was computed with them yet."""
    with pytest.raises(NumericError, match="finite at step"):
        loop_in(tmp_path, "dnn", evaluations=1000, learning_rate=rate).run()
