"""The values that all models of a comparison share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Activation, Between, Normalisation, Pooling
from adasparse_cli.layers.settings import ContextSettings


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Settings that all models of a comparison share (the `network` section).

    Args:
        embedding_width: width of the embedding of a field.
        embedding_std: standard deviation of the embeddings' initial values.
        pooling: how the values of a multi-valued field become one embedding.
        context: the domain context, for the models that read it.
        hidden: widths of the hidden layers.
        activation: non-linearity of the hidden layers.
        normalisation: normalisation before the activation.
        dropout: share (0–1) of hidden neurons dropped in training, after the activation.
    """

    embedding_width: Annotated[int, Between(1)]
    embedding_std: Annotated[float, Between(0)]
    pooling: Pooling
    context: ContextSettings
    hidden: tuple[Annotated[int, Between(1)], ...]
    activation: Activation
    normalisation: Normalisation
    dropout: Annotated[float, Between(0, 0.99)]
