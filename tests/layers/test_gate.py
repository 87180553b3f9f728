"""The gate: factors in their ranges, and gradients worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adasparse_cli.choices import Mode
from adasparse_cli.layers.gate import gate
from tests.models import reference

numbers = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=12)


def factors_of(values: list[float], mode: Mode, *, sharpness: float = 3.0, threshold: float = 0.25) -> torch.Tensor:
    v = torch.tensor([values], dtype=torch.float64)
    gated, _ = gate(
        torch.ones_like(v),
        v,
        mode=mode,
        scale=2.0,
        sharpness=torch.tensor(sharpness),
        threshold=torch.tensor(threshold),
    )
    return gated[0]


@settings(max_examples=100, deadline=None)
@given(numbers, st.floats(0.125, 6, width=32))
def test_factors_lie_where_their_mode_puts_them(values: list[float], sharpness: float) -> None:
    assert set(factors_of(values, Mode.binarization, sharpness=sharpness).tolist()) <= {0.0, 1.0}
    assert all(0 < pi < 2 for pi in factors_of(values, Mode.scaling, sharpness=sharpness).tolist())
    assert all(pi == 0 or 0.25 < pi <= 2 for pi in factors_of(values, Mode.fusion, sharpness=sharpness).tolist())


@pytest.mark.parametrize("mode", list(Mode))
def test_factors_equal_the_reference(mode: Mode) -> None:
    v = np.random.default_rng(0).normal(size=50) * 2
    expected = reference.factors(v, mode.value, scale=2.0, sharpness=3.0, threshold=0.25)
    np.testing.assert_allclose(factors_of(v.tolist(), mode).numpy(), expected, rtol=1e-6)


def test_a_pruned_neuron_is_zero_and_never_minus_one() -> None:
    """Public defect: the paper's sign taken as torch.sign gives −1 for neurons that should be cut."""
    for mode in (Mode.binarization, Mode.fusion):
        found = factors_of([-9.0, -5.0, 5.0], mode)
        assert found[:2].tolist() == [0.0, 0.0]
        assert found[2] > 0
    defective = torch.sign(torch.sigmoid(torch.tensor(-9.0)) - 0.25)
    assert defective == -1  # what this test would have caught


def test_at_the_threshold_itself_a_neuron_is_cut() -> None:
    """step(x) is 1 where x > 0: at v = 0 binarization's v_out is exactly ½."""
    assert factors_of([0.0], Mode.binarization, threshold=0.5).tolist() == [0.0]
    assert factors_of([1e-3], Mode.binarization, threshold=0.5).tolist() == [1.0]


def test_the_share_cut_counts_exact_zeros() -> None:
    v = torch.tensor([[-9.0, -9.0, 9.0, 9.0], [9.0, 9.0, 9.0, -9.0]])
    for mode, expected in ((Mode.binarization, [0.5, 0.25]), (Mode.fusion, [0.5, 0.25]), (Mode.scaling, [0.0, 0.0])):
        _, cut = gate(torch.ones_like(v), v.clone(), mode=mode, scale=2.0, sharpness=torch.tensor(1.0), threshold=0.25)
        assert cut.tolist() == expected


def hand_gradients(
    h: float,
    v: float,
    mode: Mode,
    of_gated: float,
    of_cut: float,
    width: int,
    alpha: float,
    epsilon: float,
    window: float | None,
) -> dict[str, float]:
    """The straight-through gradients of one neuron, from the equations with d step := 1, within the window alone."""
    beta = {Mode.binarization: 1.0}.get(mode, 2.0)
    a = 1.0 if mode is Mode.scaling else alpha
    out = beta * reference.sigmoid(a * v)
    slope = out * (1 - out / beta)  # d out / d (a v)
    step = 1.0 if out > epsilon else 0.0
    if mode is Mode.scaling:
        return {"h": of_gated * out, "v": of_gated * h * slope, "alpha": 0.0, "epsilon": 0.0}
    pi = step if mode is Mode.binarization else out * step
    through_step = of_gated * h * (1.0 if mode is Mode.binarization else out) - of_cut / width
    if window is not None and abs(out - epsilon) > window:
        through_step = 0.0
    direct = 0.0 if mode is Mode.binarization else of_gated * h * step
    return {
        "h": of_gated * pi,
        "v": (direct + through_step) * slope * alpha,
        "alpha": (direct + through_step) * slope * v,
        "epsilon": -through_step,
    }


@pytest.mark.parametrize("window", [None, 0.3])
@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize("mode", list(Mode))
def test_gradients_are_the_hand_derived_straight_through_ones(
    mode: Mode, learnable: bool, window: float | None
) -> None:
    draw = np.random.default_rng(1)
    h, v = (torch.tensor(draw.normal(size=(4, 5)), requires_grad=True) for _ in range(2))
    alpha, epsilon = (torch.tensor(x, dtype=torch.float64, requires_grad=learnable) for x in (1.7, 0.6))
    of_gated, of_cut = torch.tensor(draw.normal(size=(4, 5))), torch.tensor(draw.normal(size=4))
    threshold = epsilon if learnable else epsilon.item()
    gated, cut = gate(h, v.clone(), mode=mode, scale=2.0, sharpness=alpha, threshold=threshold, window=window)
    ((gated * of_gated).sum() + (cut * of_cut).sum()).backward()
    totals = {"alpha": 0.0, "epsilon": 0.0}
    for i in range(4):
        for j in range(5):
            expected = hand_gradients(
                h[i, j].item(), v[i, j].item(), mode, of_gated[i, j].item(), of_cut[i].item(), 5, 1.7, 0.6, window
            )
            assert h.grad is not None
            assert v.grad is not None
            assert h.grad[i, j].item() == pytest.approx(expected["h"], abs=1e-12)
            assert v.grad[i, j].item() == pytest.approx(expected["v"], abs=1e-12)
            for name in totals:
                totals[name] += expected[name]
    if learnable and mode is not Mode.scaling:
        assert alpha.grad is not None
        assert epsilon.grad is not None
        assert alpha.grad.item() == pytest.approx(totals["alpha"], abs=1e-12)
        assert epsilon.grad.item() == pytest.approx(totals["epsilon"], abs=1e-12)


def test_binarization_gives_its_pruner_a_gradient() -> None:
    """Public defect: without a surrogate the step's gradient is exactly zero everywhere."""
    v = torch.randn(3, 4, requires_grad=True)
    gated, _ = gate(
        torch.ones(3, 4), v.clone(), mode=Mode.binarization, scale=2.0, sharpness=torch.tensor(1.0), threshold=0.25
    )
    gated.sum().backward()
    assert v.grad is not None
    assert (v.grad > 0).all()
    defective = v.detach().requires_grad_()
    ((torch.sigmoid(defective) > 0.25).double() * torch.ones(3, 4, requires_grad=True)).sum().backward()
    assert defective.grad is None  # what this test would have caught


def test_scaling_agrees_with_finite_differences() -> None:
    """Scaling is smooth, so its gradient can be checked numerically."""
    inputs = torch.randn(2, 3, 4, dtype=torch.float64)
    weights = torch.randn(3, 4, dtype=torch.float64)

    def total(of: torch.Tensor) -> torch.Tensor:
        h, v = of.unbind()
        one = torch.tensor(1.0, dtype=torch.float64)
        return (gate(h, v.clone(), mode=Mode.scaling, scale=2.0, sharpness=one, threshold=1.0)[0] * weights).sum()

    followed = inputs.clone().requires_grad_()
    total(followed).backward()  # type: ignore[no-untyped-call]
    assert followed.grad is not None
    for place in np.ndindex(2, 3, 4):
        nudge = torch.zeros_like(inputs)
        nudge[place] = 1e-6
        expected = (total(inputs + nudge) - total(inputs - nudge)) / 2e-6
        assert followed.grad[place].item() == pytest.approx(expected.item(), abs=1e-8)


@pytest.mark.parametrize("mode", list(Mode))
def test_what_has_been_written_over_is_not_used_again(mode: Mode) -> None:
    """A second backward pass through the same graph would compute from what the first one left behind."""
    h, v = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    gated, _ = gate(h, v.clone(), mode=mode, scale=2.0, sharpness=torch.tensor(1.0), threshold=0.25)
    gated.sum().backward(retain_graph=True)
    if mode is Mode.scaling:
        return  # it writes over nothing that it kept
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gated.sum().backward()
