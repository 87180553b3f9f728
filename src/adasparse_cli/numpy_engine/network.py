"""A trained network in NumPy: the full DNN, DCNv2 or AdaSparse. The equations are those of `models/`.

    h^0 = e_a,   h^l <- h^l ⊙ π^l if layer l is gated,   h^1 = block_1([h^0 ; e_d]),   h^(l+1) = block_(l+1)(h^l)
    logit = head(h^L), or head([cross([h^0 ; e_d]) ; h^L])

Batch normalisation is folded into its layer: with s = γ / √(variance + eps), W <- diag(s) W, b <- s (b − mean) + shift.
Scores are float32; folded weights are computed in float64 first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from adasparse_cli.choices import Activation, FieldKind, FieldRole, Mode, Normalisation, Pooling, PrunerInput
from adasparse_cli.numpy_engine.dense import ACTIVATIONS, Affine, Dense, sigmoid
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.values import Bags
from adasparse_cli.schema import Field

Weights = Mapping[str, np.ndarray]
EPS = 1e-5  # of torch's normalisations


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Parameters that map a pruner's output to weight factors: α and ε of `layers/gate.py`."""

    layer: int
    sharpness: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The form of a network, as in `adasparse.json`.

    Args:
        hidden: number of hidden layers.
        cross: number of cross layers, 0 without a cross network.
        low_rank: whether cross layers are products of two thin matrices.
        mode, scale: of the weight factors; None if nothing is gated.
        pruner_inputs, pruner_low_rank: of the pruners.
        context_normalised, context_gain: form of the domain context; a gain of 1 has no effect.
    """

    embedding_width: int
    pooling: Pooling
    activation: Activation
    normalisation: Normalisation
    hidden: int
    cross: int
    low_rank: bool
    mode: Mode | None
    scale: float
    gates: tuple[Gate, ...]
    pruner_inputs: tuple[PrunerInput, ...]
    pruner_low_rank: bool
    context_normalised: bool
    context_gain: float


class Table:
    """Embeddings of some fields from one table, in the order of `layers.embedding`: single-valued before multi-valued.

    Args:
        weight: ids of all fields of the table × width. fields: of the table, with their positions among a row's ids.
    """

    def __init__(self, weight: np.ndarray, fields: Sequence[tuple[int, Field]], pooling: Pooling) -> None:
        self.weight, self.pooling = weight, pooling
        starts = np.cumsum([0, *(field.size for _, field in fields)])
        single = [k for k, (_, field) in enumerate(fields) if field.kind is not FieldKind.multi_valued]
        self.columns = np.array([fields[k][0] for k in single], dtype=np.int64)
        self.offsets = starts[single].astype(np.int64)
        multi = [k for k in range(len(fields)) if k not in single]
        self.multi = [(fields[k][1].name, int(starts[k])) for k in multi]
        self.width = weight.shape[1] * len(fields)
        # all fields are looked up at once; the results for multi-valued fields are overwritten
        self._columns = np.concatenate([self.columns, np.zeros(len(multi), dtype=np.int64)])
        self._offsets = np.concatenate([self.offsets, np.zeros(len(multi), dtype=np.int64)])
        self._kept = np.array([1] * len(single) + [0] * len(multi), dtype=np.int32)

    def part(self, fields: Sequence[tuple[int, Field]], first: int) -> Table:
        """The same table for consecutive fields, whose ids start at row `first`."""
        size = sum(field.size for _, field in fields)
        return Table(self.weight[first : first + size], fields, self.pooling)

    def __call__(self, rows: EncodedRows) -> np.ndarray:
        """The embeddings, rows × width."""
        if not len(self._columns):
            return np.zeros((len(rows), 0), dtype=self.weight.dtype)
        if len(rows) == 1 and self.multi:
            return self._one_row(rows)
        places = rows.ids.take(self._columns, axis=1)
        if self.multi:
            places *= self._kept
        found = self.weight.take(places + self._offsets, axis=0)
        for place, (name, first) in enumerate(self.multi, start=len(self.columns)):
            found[:, place] = self._pooled(rows.bags[name], first)
        return np.asarray(found.reshape(len(rows), -1))

    def _one_row(self, rows: EncodedRows) -> np.ndarray:
        """The embeddings of a single row in one look-up: the cost of calls exceeds the cost of look-ups."""
        chosen = [rows.ids[0].take(self.columns) + self.offsets]
        for name, first in self.multi:
            bags = rows.bags[name]
            own = bags.of_row[0]
            chosen.append(bags.values[bags.starts[own] : bags.starts[own + 1]] + first)
        looked_up = self.weight.take(np.concatenate(chosen), axis=0)
        singles, start = len(self.columns), 0
        shares = np.zeros((len(self.multi), len(looked_up) - singles), dtype=looked_up.dtype)
        for place, own_ids in enumerate(chosen[1:]):
            end = start + len(own_ids)
            if end > start:
                shares[place, start:end] = 1.0 / (end - start) if self.pooling is Pooling.mean else 1.0
            start = end
        found = np.empty((singles + len(self.multi), looked_up.shape[1]), dtype=looked_up.dtype)
        found[:singles] = looked_up[:singles]
        np.dot(shares, looked_up[singles:], out=found[singles:])  # pools all bags
        return found.reshape(1, -1)

    def _pooled(self, bags: Bags, first: int) -> np.ndarray:
        """One embedding per row. Each bag is pooled once, or each row's bag if there are fewer rows than bags."""
        if len(bags.of_row) < len(bags.starts):
            return self._sums(*_flat(bags, bags.of_row), first)
        lengths = np.diff(bags.starts)
        return np.take(self._sums(bags.values, bags.starts[:-1], lengths, first), bags.of_row, axis=0)

    def _sums(self, values: np.ndarray, starts: np.ndarray, lengths: np.ndarray, first: int) -> np.ndarray:
        """Bag k pools `values[starts[k]:starts[k] + lengths[k]]`; bags are consecutive."""
        pooled: np.ndarray = np.zeros((len(lengths), self.weight.shape[1]), dtype=self.weight.dtype)
        full = lengths > 0
        if not len(values):
            return pooled
        found = self.weight.take(values + first, axis=0)
        if full.all():
            np.add.reduceat(found, starts, axis=0, out=pooled)
        else:
            pooled[full] = np.add.reduceat(found, starts[full], axis=0)
        if self.pooling is Pooling.mean:
            pooled /= np.maximum(lengths, 1).astype(np.float32)[:, None]
        return pooled


def _flat(bags: Bags, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The concatenated values of chosen bags, the start of each bag, and its length."""
    first = bags.starts[chosen]
    lengths = bags.starts[chosen + 1] - first
    ends = lengths.cumsum()
    starts = ends - lengths
    places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(first - starts, lengths)
    return bags.values[places], starts, lengths


class Network:
    """A full trained network.

    Args:
        weights: as the model saved them.
    """

    def __init__(self, shape: Shape, fields: Sequence[Field], weights: Weights) -> None:
        self.shape, self.fields = shape, tuple(fields)
        placed = list(enumerate(self.fields))
        agnostic = [one for one in placed if one[1].role is not FieldRole.domain_aware]
        self.aware_fields = [one for one in placed if one[1].role is FieldRole.domain_aware]
        whole = Table(weights["embedding.weight"], placed, shape.pooling)
        before = sum(field.size for _, field in agnostic)
        self.agnostic, self.aware = whole.part(agnostic, 0), whole.part(self.aware_fields, before)
        self.activation = ACTIVATIONS[shape.activation]
        self.blocks = [_folded(weights, layer, shape.normalisation) for layer in range(shape.hidden)]
        self._norms = [
            (weights[f"blocks.{layer}.after.0.weight"], weights[f"blocks.{layer}.after.0.bias"])
            for layer in (range(shape.hidden) if shape.normalisation is Normalisation.layer else ())
        ]
        self.cross = [_cross_map(weights, layer, shape.low_rank) for layer in range(shape.cross)]
        self.head = _linear(weights, "head")
        plain = not (self.cross or self._norms or shape.gates)
        self.dense = Dense(self.layers, shape.activation) if plain else None
        self.context = Table(weights["context.table.weight"], self.aware_fields, shape.pooling) if shape.gates else None
        self.pruners = {gate.layer: _Pruner(weights, gate, shape) for gate in shape.gates}

    @property
    def layers(self) -> list[Affine]:
        """Hidden layers and head."""
        return [*self.blocks, self.head]

    def multiply_adds(self) -> int:
        """Multiply-adds of the matrix products per row, without pruners and embeddings."""
        crossed = sum(part.weight.size for parts in self.cross for part in parts)
        return crossed + sum(layer.weight.size for layer in self.layers)

    def contexts(self, rows: EncodedRows) -> np.ndarray:
        """The domain context of rows, float64; one row per condition is sufficient."""
        assert self.context is not None
        values = self.context(rows).astype(np.float64)
        if self.shape.context_normalised:
            values = _normalised(values)
        return values * self.shape.context_gain

    def factors(self, rows: EncodedRows) -> list[np.ndarray]:
        """π of each gate if it depends only on the domain, rows × width, float64; one row per condition is sufficient."""
        if not self.pruners:
            return []
        contexts = self.contexts(rows)
        return [pruner.factors(pruner.of_context(contexts)) for pruner in self.pruners.values()]

    def margin(self, rows: EncodedRows) -> np.ndarray:
        """The smallest |v_out − ε| over the neurons of each row: the distance to a different pruning decision."""
        gaps = np.full(len(rows), np.inf)
        if not self.pruners or self.shape.mode is Mode.scaling:
            return gaps
        if PrunerInput.hidden in self.shape.pruner_inputs:
            self.logits(rows, gaps=gaps)
            return gaps
        contexts = self.contexts(rows)
        for pruner in self.pruners.values():
            pruner.narrow(gaps, pruner.of_context(contexts))
        return gaps

    def logits(
        self, rows: EncodedRows, factors: Sequence[np.ndarray] | None = None, *, gaps: np.ndarray | None = None
    ) -> np.ndarray:
        """Logits, float32, one per row.

        Args:
            factors: π of each row by gate, if already known.
            gaps: if factors depend on the row, an array that is reduced to the result of `margin`.
        """
        if self.dense is not None:
            return self.dense(np.concatenate([self.agnostic(rows), self.aware(rows)], axis=1))
        if factors is None and self.pruners and PrunerInput.hidden not in self.shape.pruner_inputs:
            factors = [part.astype(np.float32) for part in self.factors(rows)]
        known = dict(zip(self.pruners, factors, strict=True)) if factors is not None else {}
        contexts = self.contexts(rows).astype(np.float32) if self.pruners and factors is None else None

        def gated(layer: int, h: np.ndarray) -> np.ndarray:
            if layer not in self.pruners:
                return h
            if contexts is None:
                return np.asarray(h * known[layer])
            pruner = self.pruners[layer]
            v = pruner.of_rows(h, contexts)
            if gaps is not None:
                pruner.narrow(gaps, v)
            return np.asarray(h * pruner.factors(v).astype(np.float32))

        h = np.concatenate([gated(0, self.agnostic(rows)), self.aware(rows)], axis=1)
        crossed = h
        for parts in self.cross:
            step = crossed
            for part in parts:
                step = part(step)
            crossed = h * step + crossed
        first = h
        for layer, block in enumerate(self.blocks):
            h = block(h)
            if self._norms:
                scale, shift = self._norms[layer]
                h = (_normalised(h) * scale + shift).astype(np.float32)
            h = gated(layer + 1, self.activation(h))
        if not self.blocks:
            h = first
        logits: np.ndarray = self.head(np.concatenate([crossed, h], axis=1) if self.cross else h)[:, 0]
        return logits


class _Pruner:
    """A pruner, v = U (W [h ; c]) + b, and its π."""

    def __init__(self, weights: Weights, gate: Gate, shape: Shape) -> None:
        name = f"pruners.{gate.layer}"
        self.gate, self.mode, self.scale = gate, shape.mode, shape.scale
        self.hidden, self.domain, self.up = (
            weights[f"{name}.{part}.weight"].T.astype(np.float64) if f"{name}.{part}.weight" in weights else None
            for part in ("hidden", "domain", "up")
        )
        self.bias = weights[f"{name}.bias"].astype(np.float64)

    def of_context(self, contexts: np.ndarray) -> np.ndarray:
        """v, if it depends only on the domain."""
        assert self.domain is not None
        return self._out(contexts @ self.domain)

    def of_rows(self, h: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """v of each row."""
        parts = [x @ w for x, w in ((h, self.hidden), (contexts, self.domain)) if w is not None]
        return self._out(sum(parts[1:], start=parts[0]))

    def _out(self, inner: np.ndarray) -> np.ndarray:
        return (inner if self.up is None else inner @ self.up) + self.bias

    def squashed(self, v: np.ndarray) -> np.ndarray:
        """v_out."""
        alpha = 1.0 if self.mode is Mode.scaling else self.gate.sharpness
        out = sigmoid(alpha * v)
        return out if self.mode is Mode.binarization else np.asarray(self.scale * out)

    def narrow(self, gaps: np.ndarray, v: np.ndarray) -> None:
        """Reduce each row's gap to the smallest |v_out − ε| of its neurons."""
        np.minimum(gaps, np.abs(self.squashed(v) - self.gate.threshold).min(axis=1, initial=np.inf), out=gaps)

    def factors(self, v: np.ndarray) -> np.ndarray:
        """π."""
        out = self.squashed(v)
        if self.mode is Mode.scaling:
            return out
        kept = out > self.gate.threshold
        return kept.astype(v.dtype) if self.mode is Mode.binarization else np.where(kept, out, 0.0)


def _normalised(x: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over each row, as torch's layer_norm."""
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPS))


def _linear(weights: Weights, name: str) -> Affine:
    weight = np.ascontiguousarray(weights[f"{name}.weight"].T)
    bias = weights.get(f"{name}.bias")
    return Affine(weight, np.zeros(weight.shape[1], dtype=weight.dtype) if bias is None else bias)


def _folded(weights: Weights, layer: int, normalisation: Normalisation) -> Affine:
    name = f"blocks.{layer}"
    plain = _linear(weights, f"{name}.linear")
    if normalisation is not Normalisation.batch:
        return plain
    read = partial(_as_double, weights, f"{name}.after.0")
    scale = read("weight") / np.sqrt(read("running_var") + EPS)
    bias = scale * (plain.bias.astype(np.float64) - read("running_mean")) + read("bias")
    return Affine((plain.weight.astype(np.float64) * scale).astype(np.float32), bias.astype(np.float32))


def _as_double(weights: Weights, name: str, part: str) -> np.ndarray:
    return weights[f"{name}.{part}"].astype(np.float64)


def _cross_map(weights: Weights, layer: int, low_rank: bool) -> list[Affine]:
    name = f"cross.maps.{layer}"
    return [_linear(weights, f"{name}.{part}") for part in (0, 1)] if low_rank else [_linear(weights, name)]


def shape_from(values: Mapping[str, Any]) -> Shape:
    """The form in `adasparse.json`."""
    known = dict(values)
    known["gates"] = tuple(Gate(**gate) for gate in known["gates"])
    known["pruner_inputs"] = tuple(PrunerInput(one) for one in known["pruner_inputs"])
    for key, kind in (("pooling", Pooling), ("activation", Activation), ("normalisation", Normalisation)):
        known[key] = kind(known[key])
    known["mode"] = None if known["mode"] is None else Mode(known["mode"])
    return Shape(**known)
