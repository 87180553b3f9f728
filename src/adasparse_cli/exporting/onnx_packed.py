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
from adasparse_cli.exporting.onnx_graph import LARGEST_TABLE, Graph, Table, activated, field_ids, finished
from adasparse_cli.numpy_engine.cut import CrossCut, SubNetwork
from adasparse_cli.numpy_engine.dense import Affine
from adasparse_cli.numpy_engine.encoder import RowEncoder
from adasparse_cli.numpy_engine.network import Network, Weights
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
    crossed = None
    if network.cross:
        crossed = _crossed(graph, [cut.cross for cut in cuts if cut.cross is not None], h)
    for place in range(len(cuts[0].layers)):
        h = _affine(graph, h, [cut.layers[place] for cut in cuts], turned=place == 0)
        if place < len(cuts[0].layers) - 1:
            h = activated(graph, network.shape.activation, h)
    h = h if crossed is None else graph.add("Add", h, crossed)
    number = helper.make_tensor_value_info(NUMBER, TensorProto.INT64, [1])
    return finished(graph, graph.add("Squeeze", h, graph.constant([1], np.int64)), [number, *inputs])


def why_not_packed(network: Network, encoder: RowEncoder, cuts: Sequence[SubNetwork]) -> str | None:
    """The reason why there is no such graph; None if there is."""
    if not cuts:
        return "there are no exported sub-networks"
    if sum(cut.nbytes for cut in cuts) > LARGEST_TABLE:
        return "the sub-networks are larger than an ONNX file can hold (2 GiB); choose fewer with --domains"
    if NUMBER in {one.name for one in network.fields if one.role is not FieldRole.domain_aware}:
        return f"a field is called {NUMBER}, as the input that chooses the sub-network"
    return None


def _affine(graph: Graph, x: str, layers: Sequence[Affine], *, turned: bool = False) -> str:
    """x W + b of the selected sub-network.

    Args:
        turned: whether x is transposed.
    """
    shapes = graph.constant([layer.weight.shape for layer in layers], np.int64)
    own = graph.add("Reshape", graph.add("Gather", shapes, NUMBER, axis=0), graph.constant([2], np.int64))
    weight = _own(graph, [layer.weight.ravel() for layer in layers], np.float32)
    weight = graph.add("Reshape", weight, own, allowzero=1)
    return graph.add("Gemm", x, weight, _own(graph, [layer.bias for layer in layers], np.float32), transA=int(turned))


def _crossed(graph: Graph, cuts: Sequence[CrossCut], inputs: str) -> str:
    """The part of the logit of the selected cross network, rows × 1.

    Args:
        inputs: kept inputs × rows.
    """
    kept = graph.add("Transpose", inputs, perm=[1, 0])
    chosen = graph.add("Mul", kept, _own(graph, [cut.factors for cut in cuts], np.float32))
    aware = graph.add("Gather", graph.constant(np.stack([cut.aware for cut in cuts])), NUMBER, axis=0)
    rows = graph.add("Shape", kept, start=0, end=1)
    shape = graph.add("Concat", rows, graph.constant([1], np.int64), axis=0)
    x = graph.add("Concat", chosen, graph.add("Expand", aware, shape), axis=1)
    crossed = x
    for layer in range(len(cuts[0].maps)):
        step = crossed
        for part in range(len(cuts[0].maps[layer])):
            step = _affine(graph, step, [cut.maps[layer][part] for cut in cuts])
        crossed = graph.add("Add", graph.add("Mul", x, step), crossed)
    head = graph.add("Unsqueeze", _own(graph, [cut.head for cut in cuts], np.float32), graph.constant([1], np.int64))
    return graph.add("MatMul", crossed, head)


def _own(graph: Graph, parts: Sequence[np.ndarray], dtype: type) -> str:
    """The part of the selected sub-network."""
    starts = np.cumsum([0, *map(len, parts)])
    flat = graph.constant(np.concatenate(parts), dtype)
    begin = graph.add("Gather", graph.constant(starts[:-1], np.int64), NUMBER, axis=0)
    end = graph.add("Gather", graph.constant(starts[1:], np.int64), NUMBER, axis=0)
    return graph.add("Slice", flat, begin, end, graph.constant([0], np.int64))
