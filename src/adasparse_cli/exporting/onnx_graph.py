"""The full model as one ONNX graph, from raw values of the fields to logit and probability. Needs the package onnx.

Graphs are built node by node: torch's exporter leaves loops and sequences in them, and takes a thousand times as long.

A categorical field is an input of shape [rows], a numeric one of doubles, a multi-valued one of shape [rows, most values],
padded with the missing value. LabelEncoder gives id 0 (unseen) to a value that it does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adasparse_cli.choices import Activation, FieldKind, FieldRole, Mode, Normalisation, Pooling, PrunerInput
from adasparse_cli.numpy_engine.dense import Affine
from adasparse_cli.numpy_engine.encoder import RowEncoder
from adasparse_cli.numpy_engine.network import EPS, Network, Weights
from adasparse_cli.numpy_engine.values import Buckets, ValueType, Vocabulary
from adasparse_cli.schema import Field
from adasparse_cli.serving.onnx_values import MISSING_INTEGER, MISSING_TEXT

OPSET, ML_OPSET, IR_VERSION = 21, 4, 10
# Limit of a protobuf: 2 GiB.
LARGEST_TABLE = 1_900 << 20


@dataclass
class Graph:
    """Nodes and constants of a graph under construction; values are named after the node that computes them."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant tensor."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name)
        return name

    def affine(self, x: str, layer: Affine) -> str:
        """x W + b."""
        return self.add("Gemm", x, self.constant(layer.weight), self.constant(layer.bias))


def model_graph(network: Network, encoder: RowEncoder, weights: Weights) -> onnx.ModelProto:
    """The graph of a network and of its vocabularies."""
    graph = Graph()
    ids, bags, inputs = field_ids(graph, encoder, network.fields)
    agnostic = [one for one in network.fields if one.role is not FieldRole.domain_aware]
    aware = [one for one in network.fields if one.role is FieldRole.domain_aware]
    table = Table(graph, weights["embedding.weight"], network.fields, network.shape.pooling)
    x, own = table.embed(agnostic, ids, bags), table.embed(aware, ids, bags)
    context = None
    if network.shape.gates:
        context = _context(graph, network, weights, aware, ids, bags)
    logit = graph.add("Squeeze", _network(graph, network, x, own, context, weights), graph.constant([1], np.int64))
    return finished(graph, logit, inputs)


def finished(graph: Graph, logit: str, inputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """The model of a graph, with the outputs logit and probability."""
    graph.nodes.append(helper.make_node("Identity", [logit], ["logit"]))
    graph.nodes.append(helper.make_node("Sigmoid", ["logit"], ["probability"]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows"]) for name in ("logit", "probability")]
    made = helper.make_graph(
        graph.nodes, "adasparse", list(inputs), outputs, initializer=list(graph.constants.values())
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        producer_name="adasparse",
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model


def why_no_graph(network: Network | None, encoder: RowEncoder, label: str) -> str | None:
    """The reason why a model has no graph; None if it has."""
    if network is None:
        return f"the model {label} is computed by torch alone"
    if network.agnostic.weight.nbytes + network.aware.weight.nbytes > LARGEST_TABLE:
        return "the embedding table is larger than an ONNX file can hold (2 GiB)"
    if encoder.combination is not None and _combination_keys(encoder) is None:
        return f"a value of {encoder.combination} is made of a value that has no id of its own"
    return None


def field_ids(
    graph: Graph, encoder: RowEncoder, fields: Sequence[Field]
) -> tuple[dict[str, str], dict[str, str], list[onnx.ValueInfoProto]]:
    """Ids [rows] of each single-valued field, ids [rows, values] of each multi-valued one with −1 for no value, inputs."""
    ids: dict[str, str] = {}
    bags: dict[str, str] = {}
    inputs = []
    types = {
        ValueType.integer: TensorProto.INT64,
        ValueType.text: TensorProto.STRING,
        ValueType.number: TensorProto.DOUBLE,
    }
    for one in fields:
        if one.name == encoder.combination:
            continue
        vocabulary = encoder.vocabularies[one.name]
        several = one.kind is FieldKind.multi_valued
        shape = ["rows", f"values of {one.name}"] if several else ["rows"]
        inputs.append(helper.make_tensor_value_info(one.name, types[vocabulary.kind], shape))
        if isinstance(vocabulary, Buckets):
            ids[one.name] = _bucket(graph, one.name, vocabulary)
        elif several:
            bags[one.name] = _encoded(graph, one.name, vocabulary, missing=-1)
        else:
            ids[one.name] = _encoded(graph, one.name, vocabulary, missing=vocabulary.known.get(None, 0))
    if encoder.combination in [one.name for one in fields]:
        ids[str(encoder.combination)] = _combined(graph, encoder, ids)
    return ids, bags, inputs


def _encoded(graph: Graph, name: str, vocabulary: Vocabulary, *, missing: int) -> str:
    known = {value: place for value, place in vocabulary.known.items() if value is not None}
    if vocabulary.kind is ValueType.integer:
        known = {value: place for value, place in known.items() if -(2**63) < value < 2**63}
        keys: dict[str, Any] = {"keys_int64s": [MISSING_INTEGER, *known]}
    else:
        keys = {"keys_strings": [MISSING_TEXT, *known]}
    return graph.add(
        "LabelEncoder", name, domain="ai.onnx.ml", values_int64s=[missing, *known.values()], default_int64=0, **keys
    )


def _bucket(graph: Graph, name: str, buckets: Buckets) -> str:
    if len(buckets.lower) == 0:
        zeros = graph.add("Cast", graph.add("IsNaN", name), to=TensorProto.INT64)
        return graph.add(
            "Add", graph.add("Mul", zeros, graph.constant(0, np.int64)), graph.constant(buckets.missing, np.int64)
        )
    column = graph.add("Unsqueeze", name, graph.constant([1], np.int64))
    above = graph.add("GreaterOrEqual", column, graph.constant(buckets.lower[None, 1:], np.float64))
    count = graph.add(
        "ReduceSum", graph.add("Cast", above, to=TensorProto.INT64), graph.constant([1], np.int64), keepdims=0
    )
    ids = graph.add("Add", count, graph.constant(1, np.int64))
    return graph.add("Where", graph.add("IsNaN", name), graph.constant(buckets.missing, np.int64), ids)


def _combined(graph: Graph, encoder: RowEncoder, ids: Mapping[str, str]) -> str:
    """The combination's id, from the ids of its parts: a combination is known only if each part is."""
    radix = _radix(encoder)
    parts = [
        graph.add("Mul", ids[name], graph.constant(step, np.int64))
        for name, step in zip(encoder.domain, radix, strict=True)
    ]
    number = parts[0]
    for part in parts[1:]:
        number = graph.add("Add", number, part)
    keys = _combination_keys(encoder) or {}
    return graph.add(
        "LabelEncoder",
        number,
        domain="ai.onnx.ml",
        keys_int64s=[-1, *keys],
        values_int64s=[0, *keys.values()],
        default_int64=0,
    )


def _radix(encoder: RowEncoder) -> list[int]:
    sizes = [1, *(next(one.size for one in encoder.fields if one.name == name) for name in encoder.domain)]
    return [int(np.prod(sizes[: place + 1], dtype=object)) for place in range(len(encoder.domain))]


def _combination_keys(encoder: RowEncoder) -> dict[int, int] | None:
    """Numbers of the parts' ids by the combination's id; None if a part has no id, or the numbers are too large."""
    radix, found = _radix(encoder), {}
    for values, place in encoder.combinations.items():
        parts = []
        for name, value in zip(encoder.domain, values, strict=True):
            vocabulary = encoder.vocabularies[name]
            assert isinstance(vocabulary, Vocabulary)
            parts.append(vocabulary.known.get(value, 0))
        number = sum(part * step for part, step in zip(parts, radix, strict=True))
        if 0 in parts or number >= 2**63:
            return None
        found[number] = place
    return found


class Table:
    """A table of embeddings; its last row is zeros, for no value."""

    def __init__(self, graph: Graph, weight: np.ndarray, fields: Sequence[Field], pooling: Pooling) -> None:
        self.graph, self.pooling, self.width = graph, pooling, weight.shape[1]
        self.zeros = len(weight)
        self.name = graph.constant(np.concatenate([weight, np.zeros((1, self.width), dtype=np.float32)]))
        starts = np.cumsum([0, *(one.size for one in fields)]).tolist()
        self.first = {one.name: starts[place] for place, one in enumerate(fields)}

    def embed(self, fields: Sequence[Field], ids: Mapping[str, str], bags: Mapping[str, str]) -> str:
        """The embeddings of the fields, rows × width, single-valued fields first."""
        graph = self.graph
        parts = []
        if single := [one.name for one in fields if one.kind is not FieldKind.multi_valued]:
            columns = [graph.add("Unsqueeze", ids[name], graph.constant([1], np.int64)) for name in single]
            row = graph.add("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]
            shifted = graph.add("Add", row, graph.constant([self.first[name] for name in single], np.int64))
            found = graph.add("Gather", self.name, shifted, axis=0)
            parts.append(graph.add("Reshape", found, graph.constant([-1, len(single) * self.width], np.int64)))
        parts += [self._pooled(bags[one.name], self.first[one.name]) for one in fields if one.name in bags]
        return graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    def _pooled(self, ids: str, first: int) -> str:
        graph = self.graph
        there = graph.add("GreaterOrEqual", ids, graph.constant(0, np.int64))
        shifted = graph.add("Add", ids, graph.constant(first, np.int64))
        places = graph.add("Where", there, shifted, graph.constant(self.zeros, np.int64))
        axis = graph.constant([1], np.int64)
        total = graph.add("ReduceSum", graph.add("Gather", self.name, places, axis=0), axis, keepdims=0)
        if self.pooling is Pooling.sum:
            return total
        count = graph.add("ReduceSum", graph.add("Cast", there, to=TensorProto.FLOAT), axis, keepdims=1)
        return graph.add("Div", total, graph.add("Max", count, graph.constant(1.0)))


def _context(
    graph: Graph,
    network: Network,
    weights: Weights,
    aware: Sequence[Field],
    ids: Mapping[str, str],
    bags: Mapping[str, str],
) -> str:
    table = Table(graph, weights["context.table.weight"], aware, network.shape.pooling)
    values = table.embed(aware, ids, bags)
    if network.shape.context_normalised:
        width = len(aware) * table.width
        values = graph.add(
            "LayerNormalization",
            values,
            graph.constant(np.ones(width)),
            graph.constant(np.zeros(width)),
            axis=1,
            epsilon=EPS,
        )
    return graph.add("Mul", values, graph.constant(network.shape.context_gain))


def _network(graph: Graph, network: Network, x: str, own: str, context: str | None, weights: Weights) -> str:
    shape = network.shape

    def gated(layer: int, h: str) -> str:
        return (
            h if layer not in network.pruners or context is None else _gated(graph, network, layer, h, context, weights)
        )

    h = graph.add("Concat", gated(0, x), own, axis=1)
    crossed, first = h, h
    for parts in network.cross:
        step = crossed
        for part in parts:
            step = graph.affine(step, part)
        crossed = graph.add("Add", graph.add("Mul", h, step), crossed)
    for layer, block in enumerate(network.blocks):
        h = graph.affine(h, block)
        if shape.normalisation is Normalisation.layer:
            name = f"blocks.{layer}.after.0"
            scale, shift = (graph.constant(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
            h = graph.add("LayerNormalization", h, scale, shift, axis=1, epsilon=EPS)
        h = gated(layer + 1, activated(graph, shape.activation, h))
    if not network.blocks:
        h = first
    return graph.affine(graph.add("Concat", crossed, h, axis=1) if network.cross else h, network.head)


def _gated(graph: Graph, network: Network, layer: int, h: str, context: str, weights: Weights) -> str:
    """h ⊙ π, see `layers/gate.py`."""
    shape, name = network.shape, f"pruners.{layer}"
    parts = [
        graph.add("MatMul", value, graph.constant(weights[f"{name}.{part}.weight"].T))
        for part, value, read in (("hidden", h, PrunerInput.hidden), ("domain", context, PrunerInput.domain))
        if read in shape.pruner_inputs
    ]
    v = parts[0] if len(parts) == 1 else graph.add("Add", *parts)
    if shape.pruner_low_rank:
        v = graph.add("MatMul", v, graph.constant(weights[f"{name}.up.weight"].T))
    v = graph.add("Add", v, graph.constant(weights[f"{name}.bias"]))
    gate = network.pruners[layer].gate
    if shape.mode is not Mode.scaling:
        v = graph.add("Mul", v, graph.constant(gate.sharpness))
    out = graph.add("Sigmoid", v)
    if shape.mode is not Mode.binarization:
        out = graph.add("Mul", out, graph.constant(shape.scale))
    if shape.mode is Mode.scaling:
        return graph.add("Mul", h, out)
    step = graph.add("Cast", graph.add("Greater", out, graph.constant(gate.threshold)), to=TensorProto.FLOAT)
    return graph.add("Mul", h, step if shape.mode is Mode.binarization else graph.add("Mul", out, step))


def activated(graph: Graph, activation: Activation, h: str) -> str:
    """The activation of a hidden layer."""
    if activation is Activation.leaky_relu:
        return graph.add("LeakyRelu", h, alpha=0.01)
    if activation is Activation.silu:
        return graph.add("Mul", h, graph.add("Sigmoid", h))
    return graph.add("Relu" if activation is Activation.relu else "Gelu", h)
