"""The interface of every model: settings, a network of common shape, and one logit per row."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.batches import Batch, Prediction
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.context import Context, DomainContext, context_shares
from adasparse_cli.layers.embedding import Bags, EmbeddedRows, FieldEmbedding
from adasparse_cli.layers.grouped import DomainTable
from adasparse_cli.layers.mlp import Block
from adasparse_cli.layers.partitioned_norm import PartitionedNorm
from adasparse_cli.models.settings.network import NetworkSettings as NetworkSettings
from adasparse_cli.schema import Field

# names of parameters with a separate learning rate
EMBEDDING, CONTEXT = "embedding.weight", "context.table.weight"


@dataclass(frozen=True, kw_only=True)
class DataShape:
    """The properties of the data that determine a model's shape.

    Args:
        base_rate: share of positives in training, in (0, 1); None if unknown.
    """

    fields: tuple[Field, ...]
    bags: Mapping[str, Bags]
    num_domains: int
    base_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters, and multiply-adds per row of a forward pass, of a model's three parts.

    `backbone` is the part that a network without domains has, `domain` the part that is added for domains.
    Multiply-adds are counted for matrix products. Products computed once per domain are counted as if each row computed them.
    """

    embedding_parameters: int
    backbone_parameters: int
    domain_parameters: int
    backbone_multiply_adds: int
    domain_multiply_adds: int


class Model(nn.Module, ABC):
    """A network that computes one logit for each row of a batch.

    Subclasses are final. A model keeps all training state in parameters and persistent
    buffers. Evaluation changes none of it, and in evaluation rows do not influence each other.
    """

    Settings: ClassVar[type[Any]]
    gated_layers: tuple[str, ...] = ()
    gated_widths: tuple[tuple[int, int], ...] = ()  # width of each gated layer, and of the layer that reads it
    minimum_hidden: ClassVar[int] = 0
    reads_context: bool = False  # whether the domain context is an input
    twice_differentiable: bool = True  # False if a hand-written gradient has no second derivative
    spans_ranks: bool = (
        True  # False if training mixes rows of a batch by other means than `ranks.summed` and `BatchNorm`
    )
    sparsity_interval: tuple[float, float] | None = None
    sparsity_by_domain: bool = False  # whether the sparsity is a mean over distinct domains, not over rows

    def __init__(self, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__()
        if len(network.hidden) < self.minimum_hidden:
            raise UsageError(
                f"this model needs {self.minimum_hidden} hidden layer(s), network.hidden has {len(network.hidden)}",
                hint="for example network.hidden=[256,128,64]",
            )
        self.network = network
        self.embedding = FieldEmbedding(
            shape.fields,
            shape.bags,
            width=network.embedding_width,
            std=network.embedding_std,
            pooling=network.pooling,
        )
        if self.reads_context:
            self.context = DomainContext(shape.fields, shape.bags, network.context, pooling=network.pooling)
        self.num_domains = shape.num_domains
        self.inputs = self.embedding.agnostic_width + self.embedding.aware_width
        self.outputs = network.hidden[-1] if network.hidden else self.inputs

    @property
    def device(self) -> torch.device:
        """The device of its parameters."""
        return self.embedding.weight.device

    def start_at(self, rate: float) -> None:
        """Set the head's bias to the log-odds of `rate`, so that no step is needed to learn the base rate."""
        bias = self.head_bias()
        with torch.no_grad():
            bias.fill_(math.log(rate / (1 - rate)))

    def head_bias(self) -> Tensor:
        """The bias of the logit."""
        head = self.head
        assert isinstance(head, nn.Linear)
        return head.bias

    @abstractmethod
    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The training loss without the penalty: the mean cross-entropy, -y·log p - (1-y)·log(1-p), p = σ(logit).

        A model may define another loss: a number, the mean over the rows.
        """
        return functional.binary_cross_entropy_with_logits(logits, labels)

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Prepare for saved weights whose shapes the settings do not determine; few models have such."""

    @abstractmethod
    def cost(self) -> Cost:
        """The cost of the model."""

    def schedule(self, progress: float) -> None:
        """Set training state for `progress` (0 at the first step, 1 at the last); the loop calls this before each step."""

    def embed(self, batch: Batch) -> EmbeddedRows:
        """The batch's embeddings."""
        return EmbeddedRows(self.embedding(batch.field_ids, batch.bag_values), self.embedding.agnostic_width)

    def context_of(self, batch: Batch, *, only_present: bool = False) -> Context:
        """The batch's domain context; `only_present` omits conditions without rows in the batch."""
        found: Context = self.context(batch.conditions, batch.condition_ids, only_present=only_present)
        return found

    def set_bags(self, bags: Mapping[str, Bags]) -> None:
        """Replace the bags, for example by the stored bags followed by the bags of a new file."""
        for part in self.modules():
            if isinstance(part, FieldEmbedding):
                part.set_bags(bags)

    def context_shares(self, batch: Batch, *, seed: int = 0) -> dict[str, float]:
        """For each part that reads the domain context, the share (0–1) of its variance that depends on it.

        Sets the model to evaluation mode; see `layers.context.context_shares`.
        """
        was_training = self.training
        self.eval()
        try:
            return context_shares(self, lambda: self(batch), seed=seed)
        finally:
            self.train(was_training)

    def places(self, batch: Batch) -> Tensor:
        """The batch's domains as rows of a `DomainTable`; domains that are unseen in training share the last row."""
        return batch.domain_ids.clamp(max=self.num_domains)

    def row_tables(self) -> dict[str, nn.Parameter]:
        """Parameters of which a step updates only the rows used in the batch."""
        tables = {f"{name}.weight": part.weight for name, part in self.named_modules() if isinstance(part, DomainTable)}
        if self.reads_context:
            tables[CONTEXT] = self.context.table.weight
        return {EMBEDDING: self.embedding.weight, **tables}

    def moving_statistics(self) -> list[nn.Module]:
        """Parts that update moving statistics in training and use them in evaluation."""
        return [part for part in self.modules() if isinstance(part, (nn.BatchNorm1d, PartitionedNorm))]

    def hidden_blocks(self, inputs: int) -> nn.ModuleList:
        """The hidden layers of every model's tower, from `inputs` numbers on."""
        widths = [inputs, *self.network.hidden]
        return nn.ModuleList(self._block(before, after) for before, after in itertools.pairwise(widths))

    def last_block(self) -> Block:
        """An additional hidden layer like the last one, for models with several in parallel."""
        before = self.network.hidden[-2] if len(self.network.hidden) > 1 else self.inputs
        return self._block(before, self.outputs)

    def _block(self, inputs: int, outputs: int) -> Block:
        network = self.network
        return Block(
            inputs,
            outputs,
            activation=network.activation,
            normalisation=network.normalisation,
            dropout=network.dropout,
        )

    def _cost(
        self, *, backbone: Iterable[nn.Module], domain_multiply_adds: int = 0, backbone_multiply_adds: int | None = None
    ) -> Cost:
        """The cost from the modules: `backbone` are modules that a network without domains has too.

        Its multiply-adds are counted in its linear layers, unless they are given.
        """
        parts = list(backbone)
        of_embedding = _parameters(self.embedding)
        of_backbone = sum(_parameters(part) for part in parts)
        return Cost(
            embedding_parameters=of_embedding,
            backbone_parameters=of_backbone,
            domain_parameters=_parameters(self) - of_embedding - of_backbone,
            backbone_multiply_adds=sum(multiply_adds(part) for part in parts)
            if backbone_multiply_adds is None
            else backbone_multiply_adds,
            domain_multiply_adds=domain_multiply_adds,
        )


def one_logit(head: nn.Linear, x: Tensor) -> Tensor:
    """The last layer's single output, one number per row."""
    logits: Tensor = head(x).squeeze(1)
    return logits


def multiply_adds(module: nn.Module) -> int:
    """Multiply-adds per row of a module's matrix products, each used once."""
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
