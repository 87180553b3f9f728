"""The sub-networks of all exported conditions as one ONNX graph; an input selects one. Needs the package onnx.

The weights of each layer are concatenated in a flat constant. The number of a sub-network gives the start and the shape of
its weights. Inputs are `domain`, one number for the entire batch, and the domain-agnostic fields as in `model.onnx`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from adasparse_cli.choices import FieldRole
from adasparse_cli.exporting.onnx_graph import Graph, Table, activated, field_ids, finished
from adasparse_cli.serving.cut import SubNetwork
from adasparse_cli.serving.encoder import RowEncoder
from adasparse_cli.serving.network import Network, Weights
from adasparse_cli.serving.onnx_values import NUMBER


def packed_graph(
    network: Network, encoder: RowEncoder, weights: Weights, cuts: Sequence[SubNetwork]
) -> onnx.ModelProto:
    """The graph of sub-networks, in the order of their numbers."""
    graph = Graph()
    agnostic = [one for one in network.fields if one.role is not FieldRole.domain_aware]
    ids, bags, inputs = field_ids(graph, encoder, agnostic)
    x = Table(graph, weights["embedding.weight"], network.fields, network.shape.pooling).embed(agnostic, ids, bags)
    # kept columns are rows of the transposed input: Gather is slow on other axes
    h = graph.add(
        "Gather", graph.add("Transpose", x, perm=[1, 0]), _own(graph, [cut.inputs for cut in cuts], np.int64), axis=0
    )
    for place in range(len(cuts[0].layers)):
        layers = [cut.layers[place] for cut in cuts]
        weight = _own(graph, [layer.weight.ravel() for layer in layers], np.float32)
        shapes = graph.constant([layer.weight.shape for layer in layers], np.int64)
        own = graph.add("Reshape", graph.add("Gather", shapes, NUMBER, axis=0), graph.constant([2], np.int64))
        weight = graph.add("Reshape", weight, own, allowzero=1)
        h = graph.add(
            "Gemm", h, weight, _own(graph, [layer.bias for layer in layers], np.float32), transA=int(place == 0)
        )
        if place < len(cuts[0].layers) - 1:
            h = activated(graph, network.shape.activation, h)
    number = helper.make_tensor_value_info(NUMBER, TensorProto.INT64, [1])
    return finished(graph, graph.add("Squeeze", h, graph.constant([1], np.int64)), [number, *inputs])


def why_not_packed(network: Network, encoder: RowEncoder, cuts: Sequence[SubNetwork]) -> str | None:
    """The reason why there is no such graph; None if there is."""
    if not cuts:
        return "there are no exported sub-networks"
    if network.cross:
        return "sub-networks of DCNv2 have a cross network, which the graph does not hold"
    if NUMBER in {one.name for one in network.fields if one.role is not FieldRole.domain_aware}:
        return f"a field is called {NUMBER}, as the input that chooses the sub-network"
    return None


def _own(graph: Graph, parts: Sequence[np.ndarray], dtype: type) -> str:
    """The part of the selected sub-network."""
    starts = np.cumsum([0, *map(len, parts)])
    flat = graph.constant(np.concatenate(parts), dtype)
    begin = graph.add("Gather", graph.constant(starts[:-1], np.int64), NUMBER, axis=0)
    end = graph.add("Gather", graph.constant(starts[1:], np.int64), NUMBER, axis=0)
    return graph.add("Slice", flat, begin, end, graph.constant([0], np.int64))
