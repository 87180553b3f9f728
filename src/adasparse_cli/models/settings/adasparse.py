"""Settings of `model=adasparse`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import (
    Backbone,
    Between,
    Mode,
    PenaltyUnit,
    PrunerInput,
    SharpnessRule,
    ThresholdRule,
)
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.settings import CrossSettings


@dataclass(frozen=True, kw_only=True)
class PrunerSettings:
    """The form of the pruner.

    Args:
        inputs: `[hidden, domain]` as in the paper, or `[domain]`: factors depend only on the domain.
        rank: inner width of a low-rank pruner; null for one full linear map.
        input_layer: whether the network's input (e_a, all embeddings) is pruned too, as in the paper.
    """

    inputs: tuple[PrunerInput, ...]
    rank: Annotated[int, Between(1)] | None
    input_layer: bool

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UsageError("model.pruner.inputs is empty", hint="use [hidden, domain], [hidden] or [domain]")


@dataclass(frozen=True, kw_only=True)
class SharpnessSettings:
    """α: how close the sigmoid is to a step function.

    Args:
        rule: `scheduled`, linear in the step from `start` to `end`; or `learnable`, one positive number per layer.
        start: α at the first step, for `scheduled`.
        end: α at the last step, for `scheduled`.
        initial: α at the first step, for `learnable`.
    """

    rule: SharpnessRule
    start: Annotated[float, Between(0, exclusive=True)]
    end: Annotated[float, Between(0, exclusive=True)]
    initial: Annotated[float, Between(0, exclusive=True)]


@dataclass(frozen=True, kw_only=True)
class ThresholdSettings:
    """ε: neurons with factors at or below it are pruned.

    Args:
        rule: `fixed`, or `learnable`, one number per layer that starts at `value`.
        value: ε, on the scale of the weight factors, 0 to β.
        window: largest distance of a weight factor from ε at which the step has a gradient; null for no limit.
    """

    rule: ThresholdRule
    value: Annotated[float, Between(0)]
    window: Annotated[float, Between(0, exclusive=True)] | None


@dataclass(frozen=True, kw_only=True)
class RegulariserSettings:
    """R_s: the penalty that keeps each layer's sparsity in an interval.

    Args:
        enabled: whether the penalty is added.
        per: whether the share of zeros is a mean over rows (`row`), or over the distinct domains of a batch (`domain`).
        interval: [r_min, r_max], the shares of zeros (0–1) between which there is no penalty.
        start: λ̂ at the first step; it grows exponentially in the step.
        end: λ̂ at the last step.
    """

    enabled: bool
    per: PenaltyUnit
    interval: tuple[Annotated[float, Between(0, 1)], Annotated[float, Between(0, 1)]]
    start: Annotated[float, Between(0, exclusive=True)]
    end: Annotated[float, Between(0, exclusive=True)]

    def __post_init__(self) -> None:
        low, high = self.interval
        if low > high:
            raise UsageError(
                f"model.regulariser.interval goes from {low:g} down to {high:g}", hint=f"write [{high:g},{low:g}]"
            )


@dataclass(frozen=True, kw_only=True)
class AdaSparseSettings:
    """Settings of AdaSparse.

    Args:
        mode: range of the weight factors: 0 or 1 (`binarization`), 0 to β (`scaling`), or 0 or ε to β (`fusion`).
        backbone: `mlp`, or `dcnv2` with the cross network that `cross` describes.
        scale: β, the upper end of a weight factor (binarization ignores it).
    """

    name: str
    mode: Mode
    backbone: Backbone
    cross: CrossSettings
    scale: Annotated[float, Between(0, exclusive=True)]
    pruner: PrunerSettings
    sharpness: SharpnessSettings
    threshold: ThresholdSettings
    regulariser: RegulariserSettings
