"""The tensors of a checkpoint besides the weights, with which a resumed run takes the same steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from adasparse_cli.training.optimiser import TouchedRowsAdam


@dataclass(frozen=True, kw_only=True)
class TrainingTensors:
    """Moments of the optimisers, states of the random generators, and sums since the last line of the training log.

    Args:
        dense: optimiser of the dense parameters.
        parameters: number of dense parameters.
        tables: optimisers of the tables.
        sums: sums since the last line of the log.
    """

    dense: torch.optim.Adam
    parameters: int
    tables: Mapping[str, TouchedRowsAdam]
    sums: Mapping[str, Tensor]
    device: torch.device

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        tensors: dict[str, Tensor] = {}
        for name, adam in self.tables.items():
            tensors |= named(f"table.{name}:", adam.state())
        for index, moments in self.dense.state_dict()["state"].items():
            tensors |= named(f"dense.{index}.", moments)
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors | named("sums.", dict(self.sums))

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore saved tensors."""
        for name, adam in self.tables.items():
            adam.load_state(_below(f"table.{name}:", tensors))
        moments = {
            index: _below(f"dense.{index}.", tensors)
            for index in range(self.parameters)
            if f"dense.{index}.step" in tensors
        }
        self.dense.load_state_dict({"state": moments, "param_groups": self.dense.state_dict()["param_groups"]})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        for name, value in self.sums.items():
            value.copy_(tensors[f"sums.{name}"])


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with a prefix before each name."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
