"""PLE: levels of shared and private experts, a gate for each of the two paths, and a tower per domain.

    s_0 = t_0 = [e_a ; e_d]
    at level k, with shared experts S_i and the row's domain's experts D_j:
        E    = [S_1(s_(k−1)) … ; D_1(t_(k−1)) …]
        s_k  = Σ a E,   a = softmax(G s_(k−1))         the shared path; not at the last level
        t_k  = Σ a E,   a = softmax(G_d t_(k−1))       the domain's path
    logit = tower_d(t_K)

There is one level per hidden layer of the network except the last, which belongs to the tower, with a head. If the network
has one hidden layer, there is one level. A row thus passes as many layers as in the DNN. G_d, the tower's layers and the
experts D_j are (W + V_d) x + b + c_d with W and b shared, which every domain starts with (layers/domain_linear.py).

With at most `full_domains` domains, V_d of an expert is a full matrix: the experts are private, as in the paper. With more
domains, private experts would have as many weights as a network per domain. Then V_d = P_d Q_d has rank `rank`, and a domain's
part of a level has rank (inputs + outputs) numbers instead of inputs × outputs.

Source: Tang et al., Progressive Layered Extraction (PLE), RecSys 2020, with a domain as the task. Differences: a row has one
task, its domain, so the gate of the shared path mixes the shared experts and the private experts of the row's domain. Mixing
the experts of all domains would multiply the cost by their number. Domains start as one shared network, and with many domains
private experts have low rank. A domain that is unseen in training uses only W and b. A batch is sorted by domain and multiplied
in groups, and only the domains in a batch are updated. Normalisation uses the statistics of the rows of all domains.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.domain_linear import DomainLinear
from adasparse_cli.layers.domain_tower import DomainBlock, DomainTower, mixed
from adasparse_cli.layers.grouped import Groups, group_rows
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds
from adasparse_cli.models.settings.ple import PleSettings


class Level(nn.Module):
    """One level of extraction.

    Args:
        inputs: width of s and t. shared, own: the shared experts, and the initial private experts of every domain.
        last: whether this is the last level, which has no shared path.
        rank: of the private experts; None for full matrices.
    """

    def __init__(
        self,
        inputs: int,
        shared: Sequence[nn.Module],
        own: Sequence[nn.Module],
        num_domains: int,
        *,
        last: bool,
        rank: int | None,
    ) -> None:
        super().__init__()
        self.shared = nn.ModuleList(shared)
        self.own = nn.ModuleList(DomainBlock(block, num_domains, rank=rank) for block in own)
        number = len(shared) + len(own)
        self.gate = None if last else nn.Linear(inputs, number, bias=False)
        self.domain_gate = DomainLinear(nn.Linear(inputs, number, bias=False), num_domains)

    def forward(self, s: Tensor, t: Tensor, groups: Groups, places: Tensor) -> tuple[Tensor, Tensor]:
        """s_k and t_k; s is returned unchanged at the last level, where nothing reads it."""
        experts = [*(expert(s) for expert in self.shared), *(expert(t, groups, places) for expert in self.own)]
        below = s
        if self.gate is not None:
            s = mixed(self.gate(below), experts)
        return s, mixed(self.domain_gate(t, groups, places), experts)


class Ple(Model):
    """Shared experts and private experts per domain on several levels, with one gate and one tower per domain."""

    Settings = PleSettings
    twice_differentiable = False
    minimum_hidden = 1

    def __init__(self, settings: PleSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        domains, levels = shape.num_domains, max(1, len(network.hidden) - 1)
        rank = None if domains <= settings.full_domains else settings.rank
        shared = [list(self.hidden_blocks(self.inputs)) for _ in range(settings.shared_experts)]
        own = [list(self.hidden_blocks(self.inputs)) for _ in range(settings.domain_experts)]
        self.levels = nn.ModuleList(
            Level(
                inputs,
                [stack[k] for stack in shared],
                [stack[k] for stack in own],
                domains,
                last=k == levels - 1,
                rank=rank,
            )
            for k, inputs in enumerate([self.inputs, *network.hidden][:levels])
        )
        self.tower = DomainTower(shared[0][levels:], self.outputs, domains)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, sorted by domain."""
        places = self.places(batch)
        groups = group_rows(places)
        s = t = self.embed(batch).all_fields[groups.order]
        places = places[groups.order]
        for level in self.levels:
            s, t = level(s, t, groups, places)
        return Prediction(self.tower(t, groups, places), no_penalty(t))

    def head_bias(self) -> Tensor:
        """The shared bias; each domain adds its bias, which starts at 0."""
        return self.tower.head.shared.bias

    def cost(self) -> Cost:
        """The cost of the model; all but one shared expert of each level and the shared tower counts as added for the domains."""
        backbone = [*(level.shared[0] for level in self.levels if isinstance(level, Level)), *self.tower.shared()]
        own = sum(part.multiply_adds() for part in self.modules() if isinstance(part, DomainLinear))
        others = multiply_adds(self) - sum(multiply_adds(part) for part in backbone)
        return self._cost(backbone=backbone, domain_multiply_adds=own + others)
