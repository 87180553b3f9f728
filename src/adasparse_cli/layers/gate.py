"""Computes gated neurons from a pruner's output, with the straight-through gradient, in few passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from adasparse_cli.choices import Mode


def gate(
    h: Float[Tensor, "rows width"],
    v: Float[Tensor, "rows width"],
    *,
    mode: Mode,
    scale: float,
    sharpness: Float[Tensor, ""],
    threshold: float | Float[Tensor, ""],
    window: float | None = None,
) -> tuple[Float[Tensor, "rows width"], Float[Tensor, " rows"]]:
    """Scale or prune each neuron: h ⊙ π, and the share of neurons pruned per row.

    binarization  π = step(σ(α v) − ε)                             in {0, 1}
    scaling       π = β σ(v)                                       in (0, β)
    fusion        π = v_out · step(v_out − ε), v_out = β σ(α v)    in {0} ∪ (ε, β)

    step(x) is 1 for x > 0, else 0: the paper's figure prints 0 and 1 for its "sign".

    The gradient of the step is 0 almost everywhere. Training uses d step(x)/dx = 1 instead (straight-through),
    in the product and in the share, so that d π/d v_out is 1 for binarization and
    step + v_out for fusion. With a window w, d step(x)/dx = 1 only for |x| ≤ w, else 0: factors far from the
    threshold are not changed by it. The paper does not state its surrogate gradient; this is the choice of this project.

    Args:
        h: neurons after activation, normalisation and dropout.
        v: the pruner's output before the sigmoid. It is overwritten, unless α needs a gradient.
        scale: β. sharpness: α. threshold: ε; a tensor if it needs a gradient. window: w; None for no window.

    Returns:
        The gated neurons, and per row the share (0–1) of factors that are exactly 0 (always 0 in scaling mode).
        Except in scaling mode, the backward pass overwrites saved tensors, so it can run only once; torch refuses a second one.

    Source: Yang et al., AdaSparse, CIKM 2022; the surrogate gradient is this project's.
    """
    gated, cut = _Gate.apply(h, v, sharpness, threshold, mode, scale, window)  # type: ignore[no-untyped-call]
    return gated, cut


def weight_factors(
    v: Float[Tensor, "rows width"],
    *,
    mode: Mode,
    scale: float,
    sharpness: Float[Tensor, ""],
    threshold: float | Float[Tensor, ""],
) -> Float[Tensor, "rows width"]:
    """The factors π, for analyses; their gradient is not the one that `gate` trains with."""
    return _weighed(_squashed(v, mode, scale, sharpness), mode, threshold)


def _squashed(v: Tensor, mode: Mode, scale: float, sharpness: Tensor, *, into: Tensor | None = None) -> Tensor:
    if mode is Mode.scaling:
        return torch.sigmoid(v, out=into).mul_(scale)
    out = torch.mul(v, sharpness, out=into).sigmoid_()
    return out if mode is Mode.binarization else out.mul_(scale)


def _weighed(v_out: Tensor, mode: Mode, threshold: float | Tensor) -> Tensor:
    if mode is Mode.scaling:
        return v_out
    if isinstance(threshold, float):
        kept = functional.threshold(v_out, threshold, 0.0)
        return kept.sign_() if mode is Mode.binarization else kept
    # sign(max(x − ε, 0)) is the step; comparisons and boolean conversions take several times as long
    step = torch.sub(v_out, threshold).clamp_min_(0.0).sign_()
    return step if mode is Mode.binarization else step.mul_(v_out)


class _Gate(torch.autograd.Function):
    """`gate` as one autograd node. Plain operations would save and read three times as many tensors.

    Memory bandwidth limits a step, so results overwrite tensors that are no longer needed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        v: Tensor,
        sharpness: Tensor,
        threshold: float | Tensor,
        mode: Mode,
        scale: float,
        window: float | None,
    ) -> tuple[Tensor, Tensor]:
        # v itself is only needed for the gradient of a learnable sharpness
        kept = v if sharpness.requires_grad else None
        v_out = _squashed(v, mode, scale, sharpness, into=v.detach() if kept is None else None)
        factors = _weighed(v_out, mode, threshold)
        gated = torch.empty_like(h)
        if mode is Mode.scaling:
            cut = torch.zeros(h.shape[0], dtype=h.dtype, device=h.device)
        else:
            step = factors if mode is Mode.binarization else torch.sign(factors, out=gated)
            cut = 1.0 - step.mean(dim=1)
        ctx.mode, ctx.scale, ctx.window = mode, scale, window
        ctx.threshold = threshold.detach() if isinstance(threshold, Tensor) else threshold
        ctx.save_for_backward(h, v_out, factors, sharpness, kept)
        return torch.mul(h, factors, out=gated), cut

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, None, None, None]:
        gradient, gradient_cut = gradients
        h, v_out, factors, sharpness, v = ctx.saved_tensors
        mode, scale = ctx.mode, 1.0 if ctx.mode is Mode.binarization else ctx.scale
        of_h = gradient * factors
        of_threshold = None
        near = None if ctx.window is None else ((v_out - ctx.threshold).abs() <= ctx.window).to(v_out.dtype)
        # with respect to v_out, times v_out
        if mode is Mode.scaling:
            of_product = (gradient * h).mul_(v_out)
        else:
            # the share pruned is 1 − mean(step), so each step receives −1/width of its gradient
            through_cut = (gradient_cut / h.shape[1]).unsqueeze(1)
            if ctx.needs_input_grad[3]:
                of_step = gradient * h if mode is Mode.binarization else (gradient * h).mul_(v_out)
                of_step.sub_(through_cut)
                of_threshold = -(of_step if near is None else of_step.mul_(near)).sum()
            if mode is Mode.fusion:
                # π = v_out · step: (step + v_out) v_out = π + v_out²
                moved = v_out if near is None else v_out * near
                of_product = factors.addcmul_(v_out, moved).mul_(h).mul_(gradient)
                of_product.addcmul_(moved, through_cut, value=-1.0)
            else:
                of_product = torch.mul(gradient, h, out=factors).sub_(through_cut).mul_(v_out)
                if near is not None:
                    of_product.mul_(near)
        # d v_out/d(α v) = v_out (1 − v_out/β)
        of_product.addcmul_(of_product, v_out, value=-1.0 / scale)
        of_sharpness = (of_product * v).sum() if ctx.needs_input_grad[2] and v is not None else None
        of_v = of_product if mode is Mode.scaling else of_product.mul_(sharpness)
        return of_h, of_v, of_sharpness, of_threshold, None, None, None
