"""Extracts the sub-network of a domain from AdaSparse. It is exact, because pruned neurons are 0 for every row.

K_l are the neurons of layer l that are not pruned (π^l ≠ 0), e_d the embeddings of the domain's fields, all for one condition:

    W_1' = diag(π^0) W_1[K_0, K_1]      b_1' = b_1[K_1] + e_d W_1[e_d, K_1]
    W_l' = diag(π^(l−1)) W_l[K_(l−1), K_l]      b_l' = b_l[K_l]
    logit = act(… act(e_a[K_0] W_1' + b_1') …) w' + b

(W is inputs × outputs.) With DCNv2, a pruned input is 0 in each x_l, so its rows and columns of the cross network are removed,
too. The columns of e_d remain, because x_l is not constant there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from adasparse_cli.choices import Activation, Normalisation, PrunerInput
from adasparse_cli.numpy_engine.dense import Affine, Dense
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.network import Network, Shape


@dataclass(frozen=True, kw_only=True)
class CrossCut:
    """The cross network of one condition.

    Args:
        factors: π of the kept inputs. aware: e_d. maps: per layer one matrix, or two thin ones. head: the logit's weights.
    """

    factors: np.ndarray
    aware: np.ndarray
    maps: tuple[tuple[Affine, ...], ...]
    head: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SubNetwork:
    """The network of one condition.

    Args:
        inputs: kept columns of e_a. layers: hidden layers, then the head.
    """

    inputs: np.ndarray
    layers: tuple[Affine, ...]
    cross: CrossCut | None
    activation: Activation

    @cached_property
    def _dense(self) -> Dense:
        return Dense(self.layers, self.activation)

    @cached_property
    def _columns(self) -> np.ndarray:
        return self.inputs.astype(np.intp)

    def logits(self, agnostic: np.ndarray) -> np.ndarray:
        """Logits, float32, one per row, from e_a of rows of this condition."""
        # `wrap` is the fastest mode; all columns exist
        all_kept = len(self._columns) == agnostic.shape[1]
        chosen = agnostic if all_kept else agnostic.take(self._columns, axis=1, mode="wrap")
        logits = self._dense(chosen)
        return logits if self.cross is None else logits + self._crossed(chosen, self.cross)

    def _crossed(self, chosen: np.ndarray, cross: CrossCut) -> np.ndarray:
        x = np.empty((len(chosen), len(cross.factors) + len(cross.aware)), dtype=chosen.dtype)
        np.multiply(chosen, cross.factors, out=x[:, : len(cross.factors)])
        x[:, len(cross.factors) :] = cross.aware
        crossed = x
        for parts in cross.maps:
            step = crossed
            for part in parts:
                step = part(step)
            crossed = x * step + crossed
        return np.asarray(crossed @ cross.head)

    def multiply_adds(self) -> int:
        """Multiply-adds of the matrix products per row."""
        crossed = 0
        if self.cross is not None:
            crossed = len(self.cross.head) + sum(part.weight.size for parts in self.cross.maps for part in parts)
        return crossed + sum(layer.weight.size for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Memory of its weights in bytes."""
        return sum(part.nbytes for part in self.to_tensors().values())

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Its tensors by name."""
        found = {"inputs": self.inputs}
        for place, layer in enumerate(self.layers):
            found |= {f"layers.{place}.weight": layer.weight, f"layers.{place}.bias": layer.bias}
        if self.cross is not None:
            cross = self.cross
            found |= {"cross.factors": cross.factors, "cross.aware": cross.aware, "cross.head": cross.head}
            for place, parts in enumerate(cross.maps):
                for number, part in enumerate(parts):
                    name = f"cross.{place}.{number}"
                    found |= {f"{name}.weight": part.weight, f"{name}.bias": part.bias}
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], shape: Shape) -> SubNetwork:
        """The inverse of `to_tensors`."""

        def affine(name: str) -> Affine:
            return Affine(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

        cross = None
        if shape.cross:
            parts = range(2 if shape.low_rank else 1)
            cross = CrossCut(
                factors=tensors["cross.factors"],
                aware=tensors["cross.aware"],
                maps=tuple(tuple(affine(f"cross.{k}.{n}") for n in parts) for k in range(shape.cross)),
                head=tensors["cross.head"],
            )
        layers = tuple(affine(f"layers.{k}") for k in range(shape.hidden + 1))
        return cls(inputs=tensors["inputs"], layers=layers, cross=cross, activation=shape.activation)


def why_not_cut(shape: Shape) -> str | None:
    """The reason why a network has no exact sub-networks; None if it has."""
    if not shape.gates:
        return "this model prunes nothing: it has no weight factors"
    if PrunerInput.hidden in shape.pruner_inputs:
        return (
            f"the pruners read the layer's neurons (model.pruner.inputs=[{','.join(shape.pruner_inputs)}]): "
            "each row has factors of its own, so a domain has no one sub-network"
        )
    if shape.normalisation is Normalisation.layer:
        return "layer normalisation (network.normalisation=layer): pruned neurons enter its mean and variance"
    return None


def sub_network(network: Network, condition: EncodedRows, factors: Sequence[np.ndarray]) -> SubNetwork:
    """Extract the network of one condition.

    Args:
        condition: one row of it; its other fields have no effect. factors: π of each gate, one row each.
    """
    shape = network.shape
    own = dict(zip(network.pruners, (np.asarray(part[0], dtype=np.float64) for part in factors), strict=True))
    aware = network.aware(condition)[0].astype(np.float64)
    width = network.agnostic.width
    before = own.get(0, np.ones(width))
    inputs = np.flatnonzero(before)
    kept, layers = inputs, []
    crossed = width + len(aware) if shape.cross else 0
    for place, layer in enumerate(network.layers):
        weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
        last = place == shape.hidden
        if last:
            weight = weight[crossed:]
        if place == 0:
            bias = bias + aware @ weight[width:]
        after = own.get(place + 1, np.ones(weight.shape[1]))
        chosen = np.arange(weight.shape[1]) if last else np.flatnonzero(after)
        folded = before[kept, None] * weight[np.ix_(kept, chosen)]
        layers.append(Affine(folded.astype(np.float32), bias[chosen].astype(np.float32)))
        before, kept = after, chosen
    cross = _cross(network, inputs, own.get(0, np.ones(width)), aware) if shape.cross else None
    return SubNetwork(inputs=inputs.astype(np.int32), layers=tuple(layers), cross=cross, activation=shape.activation)


def _cross(network: Network, inputs: np.ndarray, factors: np.ndarray, aware: np.ndarray) -> CrossCut:
    width = network.agnostic.width
    columns = np.concatenate([inputs, np.arange(width, width + len(aware))])

    def map_of(parts: Sequence[Affine]) -> tuple[Affine, ...]:
        first, last = parts[0].weight[columns], parts[-1]
        if len(parts) == 1:
            return (Affine(np.ascontiguousarray(first[:, columns]), last.bias[columns]),)
        up = Affine(np.ascontiguousarray(last.weight[:, columns]), last.bias[columns])
        return Affine(first, parts[0].bias), up

    return CrossCut(
        factors=factors[inputs].astype(np.float32),
        aware=aware.astype(np.float32),
        maps=tuple(map_of(parts) for parts in network.cross),
        head=np.ascontiguousarray(network.head.weight[columns, 0]),
    )


def kept_neurons(factors: Sequence[np.ndarray]) -> list[int]:
    """The number of neurons that each gate keeps for one condition."""
    return [int(np.count_nonzero(part)) for part in factors]
