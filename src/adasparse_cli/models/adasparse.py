"""AdaSparse: a pruner per layer scales or prunes its neurons, from the domain or from the layer and the domain.

With h^0 = e_a and h^l the output of hidden layer l, for l = 0 … L − 1 (L layers, the last is the head):

    v^l   = W_p^l [h^l ; c] + b^l                          one pruner per layer, not shared
    π^l   = factors(v^l)                                   see layers/gate.py for the three modes
    h^l  <- h^l ⊙ π^l                                      after activation, normalisation and dropout
    h^1   = layer_1([h^0 ; e_d]),   h^(l+1) = layer_(l+1)(h^l),   logit = head(h^(L−1))

c is the domain context (layers/context.py). With `pruner.inputs: [domain]`, the default, v^l = W_p^l c + b^l: the factors
depend only on the domain and are computed once per condition. The sources have both forms: the paper's figure shows
[h^l ; e_d]; descriptions of it write π^l(d) and mention a dedicated sub-network for each scenario.

With the DCNv2 backbone, the cross network also reads [h^0 ; e_d], after e_a was pruned, and the head reads
[cross ; h^(L−1)]. Cross layers have no pruners.

e_a is pruned, e_d is not. A penalty added to the cross-entropy keeps the sparsity in an interval:

    R_s = (1/L) Σ_l λ^l |r^l − r|,   r = (r_min + r_max)/2,
    λ^l = 0 if r_min ≤ r^l ≤ r_max, else λ̂ |r^l − r|      (a constant in the gradient)

where r^l is the share of factors in the batch that are exactly 0, with the straight-through gradient. With `per: row` it is
the mean over rows. With `per: domain` it is the mean over the distinct conditions in the batch of each condition's mean, so
that domains with few rows are also kept in the interval.

Source: Yang et al., AdaSparse: Learning Adaptively Sparse Structures for Multi-Domain Click-Through
Rate Prediction, CIKM 2022 (arXiv 2206.13108). Choices of this project where the sources say nothing: one linear map as
pruner; ε = 0.25; the straight-through step; α linear and λ̂ exponential in the step; λ^l constant in the
gradient; the position of the cross network. Differences: pruners have separate embeddings of the domain; the paper
writes r^l = 1 − ‖π^l‖₁/N_l, which is the share of zeros only if π is 0 or 1, and for fusion this project uses the share.
Scaling prunes nothing and has no penalty.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.choices import (
    Backbone,
    Mode,
    PenaltyUnit,
    PrunerInput,
    SharpnessRule,
    ThresholdRule,
)
from adasparse_cli.layers import ranks
from adasparse_cli.layers.context import Context
from adasparse_cli.layers.cross import CrossNetwork
from adasparse_cli.layers.gate import gate, weight_factors
from adasparse_cli.layers.pruner import Pruner
from adasparse_cli.layers.waits import may_wait
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, one_logit
from adasparse_cli.models.settings.adasparse import (
    AdaSparseSettings,
)


class AdaSparse(Model):
    """A fully connected network with one pruner per layer, which scales or prunes its neurons."""

    Settings = AdaSparseSettings
    reads_context = True
    twice_differentiable = False

    def __init__(self, settings: AdaSparseSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        self.settings = settings
        self.mode = settings.mode
        self.blocks = self.hidden_blocks(self.inputs)
        cross = settings.cross
        crossed = settings.backbone is Backbone.dcnv2
        self.cross = CrossNetwork(self.inputs, layers=cross.layers, rank=cross.rank) if crossed else None
        self.head = nn.Linear(self.outputs + (self.inputs if crossed else 0), 1)
        widths = [self.embedding.agnostic_width, *network.hidden]
        first = 0 if settings.pruner.input_layer else 1
        self.pruners = nn.ModuleDict(
            {
                str(layer): Pruner(width, self.context.width, inputs=settings.pruner.inputs, rank=settings.pruner.rank)
                for layer, width in enumerate(widths)
                if layer >= first
            }
        )
        self.per_row = PrunerInput.hidden in settings.pruner.inputs
        self.gated_layers = tuple("input" if layer == "0" else f"hidden {layer}" for layer in self.pruners)
        readers = [*network.hidden, 1]
        self.gated_widths = tuple((widths[int(layer)], readers[int(layer)]) for layer in self.pruners)
        gates = len(self.gated_layers)
        prunes = self.mode is not Mode.scaling
        if prunes and settings.regulariser.enabled:
            self.sparsity_interval = settings.regulariser.interval
            self.sparsity_by_domain = settings.regulariser.per is PenaltyUnit.domain

        self.log_sharpness: nn.Parameter | None = None
        self.learnt_threshold: nn.Parameter | None = None
        if prunes and settings.sharpness.rule is SharpnessRule.learnable:
            # its logarithm is trained, so that α stays positive
            self.log_sharpness = nn.Parameter(torch.full((gates,), settings.sharpness.initial).log())
        if prunes and settings.threshold.rule is ThresholdRule.learnable:
            self.learnt_threshold = nn.Parameter(torch.full((gates,), settings.threshold.value))
        # Training state, saved with the weights: scores depend on the sharpness that a model was trained to.
        self.register_buffer("sharpness", torch.tensor(settings.sharpness.start))
        self.register_buffer("regulariser_weight", torch.tensor(settings.regulariser.start))

    sharpness: Tensor
    regulariser_weight: Tensor

    def schedule(self, progress: float) -> None:
        """α linear, λ̂ exponential in `progress` (0–1)."""
        sharpness, regulariser = self.settings.sharpness, self.settings.regulariser
        self.sharpness.fill_(sharpness.start + (sharpness.end - sharpness.start) * progress)
        self.regulariser_weight.fill_(regulariser.start * (regulariser.end / regulariser.start) ** progress)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows; the penalty is R_s."""
        return self._run(batch)

    def factors(self, batch: Batch) -> list[Tensor]:
        """The weight factors π of each gated layer, rows × width, in the order of `gated_layers`; for analyses."""
        watched: list[Tensor] = []
        with torch.no_grad():
            self._run(batch, watched)
        return watched

    def _run(self, batch: Batch, watched: list[Tensor] | None = None) -> Prediction:
        agnostic, aware = self.embed(batch).parts()
        context = self.context_of(batch)
        cuts: list[Tensor] = []
        crossed: list[Tensor] = []
        h = agnostic
        for layer in range(len(self.blocks) + 1):
            name = str(layer)
            if name in self.pruners:
                h, cut = self._gated(self.pruners[name](h, context), h, context, len(cuts), watched)
                cuts.append(cut)
            if layer == 0:
                h = torch.cat([h, aware], dim=1)
                crossed = [] if self.cross is None else [self.cross(h)]
            if layer < len(self.blocks):
                h = self.blocks[layer](h)
        logits = one_logit(self.head, torch.cat([*crossed, h], dim=1) if crossed else h)
        return Prediction(logits, self._penalty(cuts, logits, batch), torch.stack(cuts, dim=1).detach())

    def _gated(
        self, v: Tensor, h: Tensor, context: Context, place: int, watched: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        sharpness, threshold = self.sharpness_and_threshold(place)
        scale, window = self.settings.scale, self.settings.threshold.window
        if watched is not None:
            found = weight_factors(v, mode=self.mode, scale=scale, sharpness=sharpness, threshold=threshold)
            watched.append(found if self.per_row else Context(found, context.of_row).by_row())
        if self.per_row:
            return gate(h, v, mode=self.mode, scale=scale, sharpness=sharpness, threshold=threshold, window=window)
        # the same arithmetic on one row per condition: the gate of a neuron equal to 1 is the factor
        factors, cut = gate(
            torch.ones_like(v), v, mode=self.mode, scale=scale, sharpness=sharpness, threshold=threshold, window=window
        )
        return h * Context(factors, context.of_row).by_row(), cut.index_select(0, context.of_row)

    def cost(self) -> Cost:
        """The cost of the model. Pruners that read the layer cost about as much as the network that they prune."""
        pruners = [pruner.multiply_adds() for pruner in self.pruners.values() if isinstance(pruner, Pruner)]
        cross = () if self.cross is None else (self.cross,)
        return self._cost(backbone=(*cross, self.blocks, self.head), domain_multiply_adds=sum(pruners))

    def sharpness_and_threshold(self, gate_index: int) -> tuple[Tensor, float | Tensor]:
        """α and ε of a gated layer, by its index in `gated_layers`."""
        sharpness = self.sharpness if self.log_sharpness is None else self.log_sharpness[gate_index].exp()
        learnt = self.learnt_threshold
        threshold = float(self.settings.threshold.value) if learnt is None else learnt[gate_index]
        return sharpness, threshold

    def _penalty(self, cuts: list[Tensor], like: Tensor, batch: Batch) -> Tensor:
        if self.sparsity_interval is None or not cuts:
            return no_penalty(like)
        low, high = self.sparsity_interval
        condition_ids, conditions = batch.condition_ids, len(batch.conditions)
        if self.settings.regulariser.per is PenaltyUnit.row:
            sparsity = torch.stack([ranks.mean_over_rows(cut) for cut in cuts])
        elif ranks.are_joined() or not may_wait(like.device):
            counts = like.new_zeros(conditions).index_add(0, condition_ids, torch.ones_like(like.detach()))
            counts = ranks.summed(counts)
            shares = 1.0 / ((counts > 0).sum() * counts[condition_ids])
            sparsity = ranks.summed(torch.stack([cut @ shares for cut in cuts]))
        else:
            _, own, counts = torch.unique(condition_ids, return_inverse=True, return_counts=True)
            shares = 1.0 / (len(counts) * counts[own]).to(like.dtype)  # weight of a row in the mean over conditions
            sparsity = torch.stack([cut @ shares for cut in cuts])
        distance = (sparsity - (low + high) / 2).abs()
        outside = (sparsity < low) | (sparsity > high)
        weight = (self.regulariser_weight * distance * outside).detach()
        return (weight * distance).mean()
