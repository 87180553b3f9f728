"""What every model is: settings, a network of common shape, and one logit per row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction
from adasparse_cli.choices import Activation, Between, Normalisation, Pooling
from adasparse_cli.layers.embedding import Bags, EmbeddedRows, FieldEmbedding
from adasparse_cli.layers.mlp import Block
from adasparse_cli.schema import Field


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What all models of a comparison share (the `network` section).

    Args:
        embedding_width: numbers per field.
        embedding_std: standard deviation of the embeddings' initial values.
        pooling: how the values of a multi-valued field become one embedding.
        hidden: widths of the hidden layers.
        activation: non-linearity of the hidden layers.
        normalisation: what stands before it.
        dropout: share (0–1) of hidden neurons dropped in training, after the activation.
    """

    embedding_width: Annotated[int, Between(1)]
    embedding_std: Annotated[float, Between(0)]
    pooling: Pooling
    hidden: tuple[Annotated[int, Between(1)], ...]
    activation: Activation
    normalisation: Normalisation
    dropout: Annotated[float, Between(0, 0.99)]


@dataclass(frozen=True, kw_only=True)
class DataShape:
    """What a model must know of the data to be built."""

    fields: tuple[Field, ...]
    bags: Mapping[str, Bags]
    num_domains: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Parameters, and multiply-adds per row, of a model's three parts; `domain` is what it adds for domains."""

    embedding_parameters: int
    backbone_parameters: int
    domain_parameters: int
    backbone_multiply_adds: int
    domain_multiply_adds: int


class Model(nn.Module, ABC):
    """A network that gives each row of a batch one logit.

    Subclasses are final. A model keeps all state that training needs in parameters and persistent
    buffers; evaluation changes none of it; in evaluation rows do not influence one another.
    """

    Settings: ClassVar[type[Any]]
    gated_layers: tuple[str, ...] = ()
    sparsity_interval: tuple[float, float] | None = None

    def __init__(self, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__()
        self.network = network
        self.embedding = FieldEmbedding(
            shape.fields,
            shape.bags,
            width=network.embedding_width,
            std=network.embedding_std,
            pooling=network.pooling,
        )

    @abstractmethod
    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""

    @abstractmethod
    def cost(self) -> Cost:
        """What the model weighs."""

    def schedule(self, progress: float) -> None:
        """Move training state to `progress` (0 at the first step, 1 at the last); the loop calls this before a step."""

    def embed(self, batch: Batch) -> EmbeddedRows:
        """The batch's embeddings."""
        embedded: EmbeddedRows = self.embedding(batch.field_ids, batch.condition_ids, batch.conditions)
        return embedded

    def hidden_blocks(self, inputs: int) -> nn.ModuleList:
        """The hidden layers every model's tower has, from `inputs` numbers on."""
        blocks = nn.ModuleList()
        for width in self.network.hidden:
            blocks.append(
                Block(
                    inputs,
                    width,
                    activation=self.network.activation,
                    normalisation=self.network.normalisation,
                    dropout=self.network.dropout,
                )
            )
            inputs = width
        return blocks

    def _cost(self, *, backbone: Mapping[str, nn.Module], domain_multiply_adds: int = 0) -> Cost:
        """Counts from the modules: `backbone` names those that a plain network has too."""
        of_embedding = _parameters(self.embedding)
        of_backbone = sum(_parameters(module) for module in backbone.values())
        linear = [part for module in backbone.values() for part in module.modules() if isinstance(part, nn.Linear)]
        return Cost(
            embedding_parameters=of_embedding,
            backbone_parameters=of_backbone,
            domain_parameters=_parameters(self) - of_embedding - of_backbone,
            backbone_multiply_adds=sum(part.weight.numel() for part in linear),
            domain_multiply_adds=domain_multiply_adds,
        )


def one_logit(head: nn.Linear, x: Tensor) -> Tensor:
    """The last layer's single output, one number per row."""
    logits: Tensor = head(x).squeeze(1)
    return logits


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
