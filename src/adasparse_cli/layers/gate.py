"""From a pruner's output to gated neurons, with the straight-through gradient, in few passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from adasparse_cli.choices import Mode


def gate(
    h: Float[Tensor, "rows width"],
    v: Float[Tensor, "rows width"],
    *,
    mode: Mode,
    scale: float,
    sharpness: Float[Tensor, ""],
    threshold: Float[Tensor, ""],
) -> tuple[Float[Tensor, "rows width"], Float[Tensor, " rows"]]:
    """Weigh or cut each neuron: h ⊙ π, and the share of neurons cut per row.

    binarization  π = step(σ(α v) − ε)                             in {0, 1}
    scaling       π = β σ(v)                                       in (0, β)
    fusion        π = v_out · step(v_out − ε), v_out = β σ(α v)    in {0} ∪ (ε, β)

    step(x) is 1 where x > 0, else 0: the paper's figure prints 0 and 1 for its "sign".

    The step has no useful gradient; it is passed through as if d step(x)/dx = 1 (straight-through),
    in the product as well as in the share, so that d π/d v_out is 1 for binarization and
    step + v_out for fusion. The paper does not say which surrogate it uses; this is our choice.

    Args:
        h: neurons after activation, normalisation and dropout.
        v: the pruner's output before the sigmoid.
        scale: β. sharpness: α. threshold: ε.

    Returns:
        The gated neurons, and per row the share (0–1) of factors that are exactly 0 (always 0 in scaling mode).

    Source: Yang et al., AdaSparse, CIKM 2022; the surrogate gradient is ours.
    """
    gated, cut = _Gate.apply(h, v, sharpness, threshold, mode, scale)  # type: ignore[no-untyped-call]
    return gated, cut


def weight_factors(
    v: Float[Tensor, "rows width"],
    *,
    mode: Mode,
    scale: float,
    sharpness: Float[Tensor, ""],
    threshold: Float[Tensor, ""],
) -> Float[Tensor, "rows width"]:
    """π itself, for looking at; its gradient is not the one that `gate` trains with."""
    v_out = _squashed(v, mode, scale, sharpness)
    if mode is Mode.scaling:
        return v_out
    step = _step(v_out, threshold)
    return step if mode is Mode.binarization else step.mul_(v_out)


def _squashed(v: Tensor, mode: Mode, scale: float, sharpness: Tensor) -> Tensor:
    out = torch.sigmoid(v) if mode is Mode.scaling else torch.mul(v, sharpness).sigmoid_()
    return out if mode is Mode.binarization else out.mul_(scale)


def _step(v_out: Tensor, threshold: Tensor) -> Tensor:
    # sign(max(x − ε, 0)) is the step; comparing and converting booleans takes several times as long
    return torch.sub(v_out, threshold).clamp_min_(0.0).sign_()


class _Gate(torch.autograd.Function):
    """The chain of `gate` as one node: autograd would keep and pass over three times as many tensors."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, v: Tensor, sharpness: Tensor, threshold: Tensor, mode: Mode, scale: float
    ) -> tuple[Tensor, Tensor]:
        v_out = _squashed(v, mode, scale, sharpness)
        if mode is Mode.scaling:
            factors = v_out
            cut = torch.zeros(h.shape[0], dtype=h.dtype, device=h.device)
        else:
            step = _step(v_out, threshold)
            cut = 1.0 - step.mean(dim=1)
            factors = step if mode is Mode.binarization else step.mul_(v_out)
        ctx.mode, ctx.scale = mode, scale
        # v itself is needed for the gradient of a learnable sharpness alone.
        ctx.save_for_backward(h, v_out, factors, sharpness, v if sharpness.requires_grad else None)
        return h * factors, cut

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, None, None]:
        gradient, gradient_cut = gradients
        h, v_out, factors, sharpness, v = ctx.saved_tensors
        mode, scale = ctx.mode, 1.0 if ctx.mode is Mode.binarization else ctx.scale
        of_h = gradient * factors
        of_out = gradient * h  # with respect to π
        of_threshold = None
        if mode is not Mode.scaling:
            # the share cut is 1 − mean(step), so each step receives −1/width of its gradient
            through_cut = (gradient_cut / h.shape[1]).unsqueeze(1)
            if mode is Mode.fusion:
                # π = v_out · step: the step's own part is gradient · h · v_out, the other's gradient · h · step
                of_step = torch.mul(of_out, v_out).sub_(through_cut)
                of_out.mul_(factors.sign()).add_(of_step)
            else:
                of_step = of_out = of_out.sub_(through_cut)
            if ctx.needs_input_grad[3]:
                of_threshold = -of_step.sum()
        # d v_out/d(α v) = v_out (1 − v_out/β)
        of_product = of_out.mul_(v_out)
        of_product.addcmul_(of_product, v_out, value=-1.0 / scale)
        of_sharpness = (of_product * v).sum() if ctx.needs_input_grad[2] and v is not None else None
        of_v = of_product if mode is Mode.scaling else of_product.mul_(sharpness)
        return of_h, of_v, of_sharpness, of_threshold, None, None
