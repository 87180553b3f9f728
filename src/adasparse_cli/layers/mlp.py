"""Fully connected blocks, the same for every model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from adasparse_cli.choices import Activation, Normalisation
from adasparse_cli.layers.batch_norm import BatchNorm

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.relu: nn.ReLU,
    Activation.leaky_relu: nn.LeakyReLU,
    Activation.gelu: nn.GELU,
    Activation.silu: nn.SiLU,
}
NORMALISATIONS: dict[Normalisation, type[nn.Module]] = {
    Normalisation.batch: BatchNorm,
    Normalisation.layer: nn.LayerNorm,
}


class Block(nn.Module):
    """One hidden layer: y = dropout(activation(normalise(W x + b))).

    Weights are initialised with He's uniform rule for ReLU-like activations, biases with zero.
    """

    def __init__(
        self, inputs: int, outputs: int, *, activation: Activation, normalisation: Normalisation, dropout: float
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_uniform_(self.linear.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)
        steps: list[nn.Module] = []
        if normalisation in NORMALISATIONS:
            steps.append(NORMALISATIONS[normalisation](outputs))
        steps.append(ACTIVATIONS[activation]())
        if dropout > 0:
            steps.append(nn.Dropout(dropout))
        self.after = nn.Sequential(*steps)

    def forward(self, x: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
        """Apply the layer."""
        result: Tensor = self.after(self.linear(x))
        return result


def plain_mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """A small network with ReLU between its layers and no activation at its end, for the parts that models add to the tower."""
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
