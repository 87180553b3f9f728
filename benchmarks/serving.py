"""What sub-networks cost against the DNN, and what an export takes.

    OMP_NUM_THREADS=1 python benchmarks/serving.py RUN [RUN...] [--data DATA] [--rounds N]

Each RUN is a finished run of AdaSparse whose pruners read the domain alone. It is exported (timed) and checked by every
engine. Its sub-networks then take turns with a DNN of the same fields and widths, whose batch normalisation is folded
too: the dense part (from embeddings to logits) and ids to logits, in NumPy and in ONNX Runtime, one thread each. Times are
processor time of the thread, so that other load on the machine affects them little.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import common
import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper

from adasparse_cli.choices import Activation, FieldKind
from adasparse_cli.exporting.describe import shape_of
from adasparse_cli.exporting.onnx_graph import IR_VERSION, OPSET, Graph
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import DataShape
from adasparse_cli.models.settings.dnn import DnnSettings
from adasparse_cli.numpy_engine.dense import Affine, Dense
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.engine import PASS_ROWS, NumpyEngine
from adasparse_cli.numpy_engine.network import Network
from adasparse_cli.numpy_engine.values import Bags
from adasparse_cli.rows.dataset import load_shape
from adasparse_cli.scoring.export import run_export
from adasparse_cli.scoring.score import SavedRun, open_run
from adasparse_cli.serving.artefact import Artefact, open_artefact
from adasparse_cli.serving.check import run_check

BATCHES = (1, 64, 512, 4096)
MIXED = 65_536
# Calls of one timing, so that each takes about a millisecond or more.
CALLS = {1: 200, 64: 40, 512: 8, 4096: 1, MIXED: 1}


def dnn_like(run: SavedRun) -> Network:
    """The DNN of a run's fields and network settings, its batch normalisation folded; what its weights are costs nothing."""
    torch.manual_seed(0)
    loaded = load_shape(run.encoder, run.manifest)
    shape = DataShape(fields=loaded.fields, bags=loaded.bags, num_domains=loaded.num_domains)
    model: Any = MODELS["dnn"](DnnSettings(name="dnn"), run.job.network, shape)  # type: ignore[call-arg]
    own = shape_of(model)
    assert own is not None
    return Network(own, run.manifest.fields, {name: value.numpy() for name, value in model.state_dict().items()})


def products(layers: Sequence[Affine], x: np.ndarray) -> np.ndarray:
    """The matrix products alone: what the dense part would take without biases, activations and choice of columns."""
    for layer in layers:
        x = x.dot(layer.weight)
    return x


def session(layers: list[Affine], width: int, inputs: np.ndarray | None) -> Any:
    """A dense network in ONNX Runtime, from embeddings to logits.

    Args:
        inputs: kept columns; None for all. They are rows of the transposed input, since Gather is slow on another axis.
    """
    graph = Graph()
    x, turned = "x", 0
    if inputs is not None:
        x, turned = (
            graph.add("Gather", graph.add("Transpose", "x", perm=[1, 0]), graph.constant(inputs, np.int64), axis=0),
            1,
        )
    for place, layer in enumerate(layers):
        x = graph.add("Gemm", x, graph.constant(layer.weight), graph.constant(layer.bias), transA=turned)
        x, turned = (graph.add("Relu", x) if place < len(layers) - 1 else x), 0
    graph.nodes.append(helper.make_node("Identity", [x], ["logit"]))
    taken = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])]
    given = [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["rows", 1])]
    made = helper.make_graph(graph.nodes, "dense", taken, given, initializer=list(graph.constants.values()))
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def rows_of(artefact: Artefact, keys: list[list[int]], count: int, seed: int = 0) -> EncodedRows:
    """Random rows of these conditions, each equally often."""
    draw = np.random.default_rng(seed)
    fields = artefact.fields
    ids = np.stack([draw.integers(0, field.size, count) for field in fields], axis=1).astype(np.int32)
    bags = {}
    for place, field in enumerate(fields):
        if field.kind is FieldKind.multi_valued:
            lengths = draw.integers(1, 9, 1000)
            starts = np.cumsum([0, *lengths])
            ids[:, place] = draw.integers(0, 1000, count)
            bags[field.name] = Bags(draw.integers(0, field.size, int(starts[-1])), starts, ids[:, place])
    aware = [place for place, field in enumerate(fields) if field.role == "domain_aware"]
    ids[:, aware] = np.array(keys, dtype=np.int32)[np.arange(count) % len(keys)]
    return EncodedRows(ids=ids, bags=bags, domains=np.zeros(count, dtype=np.int64))


def repeated(call: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def spread(seconds: dict[str, list[float]], above: str, below: str) -> str:
    """Median of the ratios within rounds, and their quartiles."""
    found = sorted(a / b for a, b in zip(seconds[above], seconds[below], strict=True))
    quarter = len(found) // 4
    return f"{statistics.median(found):.2f} ({found[quarter]:.2f}–{found[-1 - quarter]:.2f})"


def measured(artefact: Artefact, dnn: Network, place: int, rounds: int) -> list[dict[str, str]]:
    """The sub-network of one condition over the DNN, by batch."""
    engine, whole_engine = artefact.numpy_engine(), NumpyEngine(dnn)
    conditions = artefact.index["sub_networks"]["conditions"]
    whole = rows_of(artefact, [conditions[place]["key"]], max(BATCHES))
    own = engine.sub_network(whole.take(slice(0, 1)))
    e_a = engine.network.agnostic(whole)
    x = np.concatenate([dnn.agnostic(whole), dnn.aware(whole)], axis=1)
    of_layers = Dense(dnn.layers, Activation.relu)
    of_dnn = session([*dnn.blocks, dnn.head], x.shape[1], None)
    of_own = session(list(own.layers), e_a.shape[1], own.inputs)
    np.testing.assert_allclose(of_own.run(None, {"x": e_a[:64]})[0][:, 0], own.logits(e_a[:64]), rtol=1e-4, atol=1e-5)

    def of_batch(batch: int) -> dict[str, str]:
        part, mine, theirs = whole.take(slice(0, batch)), e_a[:batch].copy(), x[:batch].copy()
        chosen = mine.take(own.inputs, axis=1)
        times = CALLS[batch]
        seconds = common.by_turns(
            {
                "dnn": repeated(lambda: of_layers(theirs), times),
                "cut": repeated(lambda: own.logits(mine), times),
                "dnn products": repeated(lambda: products(dnn.layers, theirs), times),
                "cut products": repeated(lambda: products(own.layers, chosen), times),
                "dnn by onnx": repeated(lambda: of_dnn.run(None, {"x": theirs}), times),
                "cut by onnx": repeated(lambda: of_own.run(None, {"x": mine}), times),
                "dnn from ids": repeated(lambda: whole_engine.logits(part), times),
                "cut from ids": repeated(lambda: engine.logits(part), times),
            },
            rounds=rounds,
            clock=time.thread_time,
        )
        return {
            "batch": f"{batch:,}",
            "dense, NumPy": spread(seconds, "dnn", "cut"),
            "products alone, NumPy": spread(seconds, "dnn products", "cut products"),
            "dense, ONNX Runtime": spread(seconds, "dnn by onnx", "cut by onnx"),
            "ids to logit, NumPy": spread(seconds, "dnn from ids", "cut from ids"),
            "µs a call, cut: dense, from ids": f"{statistics.median(seconds['cut']) / times * 1e6:,.0f}, "
            f"{statistics.median(seconds['cut from ids']) / times * 1e6:,.0f}",
        }

    return [of_batch(batch) for batch in BATCHES]


def mixed(artefact: Artefact, dnn: Network, rounds: int) -> dict[str, str]:
    """Rows of all domains, each as often as in training, over the DNN on the same rows."""
    domains = artefact.index["sub_networks"]["domains"]
    conditions = artefact.index["sub_networks"]["conditions"]
    draw = np.random.default_rng(0)
    shares = np.array([one["train_rows"] for one in domains], dtype=np.float64)
    chosen = draw.choice(len(domains), MIXED, p=shares / shares.sum())
    keys = [conditions[domains[place]["sub_network"]]["key"] for place in chosen]
    rows = rows_of(artefact, keys, MIXED)
    engine = artefact.numpy_engine()
    engine.logits(rows)  # reads the sub-networks
    network = engine.network
    # the dense part alone: the same groups and passes, from embeddings that are there
    order = np.argsort([domains[place]["sub_network"] for place in chosen], kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff([domains[place]["sub_network"] for place in chosen[order]])) + 1)
    own = [(engine.sub_network(rows.take(group[:1])), network.agnostic(rows.take(group))) for group in groups]
    x = np.concatenate([dnn.agnostic(rows), dnn.aware(rows)], axis=1)

    of_layers = Dense(dnn.layers, Activation.relu)

    def cut() -> None:
        for sub, e_a in own:
            for start in range(0, len(e_a), PASS_ROWS):
                sub.logits(e_a[start : start + PASS_ROWS])

    def whole() -> None:
        for start in range(0, MIXED, PASS_ROWS):
            of_layers(x[start : start + PASS_ROWS])

    kept_inputs = [(sub.layers, e_a.take(sub.inputs, axis=1)) for sub, e_a in own]

    def cut_products() -> None:
        for layers, kept in kept_inputs:
            for start in range(0, len(kept), PASS_ROWS):
                products(layers, kept[start : start + PASS_ROWS])

    def whole_products() -> None:
        for start in range(0, MIXED, PASS_ROWS):
            products(dnn.layers, x[start : start + PASS_ROWS])

    fewer = sum(len(e_a) * sub.multiply_adds() for sub, e_a in own) / MIXED
    seconds = common.by_turns(
        {
            "dnn": whole,
            "cut": cut,
            "dnn products": whole_products,
            "cut products": cut_products,
            "dnn from ids": lambda: NumpyEngine(dnn).logits(rows),
            "cut from ids": lambda: engine.logits(rows),
        },
        rounds=max(5, rounds // 2),
        clock=time.thread_time,
    )
    return {
        "rows": f"{MIXED:,}",
        "domains": str(len(groups)),
        "multiply-adds fewer by": f"{dnn.multiply_adds() / fewer:.2f}",
        "dense, NumPy": spread(seconds, "dnn", "cut"),
        "products alone, NumPy": spread(seconds, "dnn products", "cut products"),
        "ids to logit, NumPy": spread(seconds, "dnn from ids", "cut from ids"),
        "rows/s, ids to logit": f"{MIXED / statistics.median(seconds['cut from ids']):,.0f}",
    }


def shown(title: str, rows: list[dict[str, str]]) -> None:
    print(f"\n{title}\n| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(row.values())} |")


def examine(folder: Path, data: Path, rounds: int) -> None:
    """Everything about one run."""
    run = open_run(folder, data_root=data)
    settings = run.job.model.regulariser
    print(f"\n## {run.job.label}, interval {list(settings.interval)}, penalty per {settings.per}, {folder.name}")
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "model"
        started = time.perf_counter()
        report = run_export(run, target)
        seconds = time.perf_counter() - started
        run_export(run, Path(place) / "graph", graph=True)
        checked = run_check(Path(place) / "graph")
        ratios = np.array([one["ratio"] for one in report.domains])
        print(
            f"{len(report.domains)} domains exported in {seconds:.1f} s, {report.bytes / 2**20:.1f} MiB "
            f"({(target / 'domains.safetensors').stat().st_size / 2**20:.1f} MiB of sub-networks); "
            f"parity over every domain {report.parity:.1e}; multiply-adds fewer by {ratios.min():.2f}× to {ratios.max():.2f}×, "
            f"median {np.median(ratios):.2f}×, {(ratios >= 2).mean():.0%} of domains at 2× or more"
        )
        for one in checked:
            print(f"engine {one.engine}: {one.rows} golden rows, Δlogit {one.logit:.1e}, Δp {one.probability:.1e}")
        artefact, dnn = open_artefact(target), dnn_like(run)
        assert run.job.network.activation is Activation.relu
        largest = max(report.domains, key=lambda one: one["train_rows"])
        densest = min(report.domains, key=lambda one: one["ratio"])
        for what, one in (("largest domain", largest), ("densest domain", densest)):
            title = f"{what} ({one['domain']}): kept {'/'.join(map(str, one['kept']))}, multiply-adds fewer by {one['ratio']:.2f}×"
            shown(f"{title}; times as fast as the DNN", measured(artefact, dnn, one["sub_network"], rounds))
        shown("mixed traffic, times as fast as the DNN", [mixed(artefact, dnn, rounds)])


def main() -> None:
    words = sys.argv[1:]
    options = {"--data": "data", "--rounds": "15"}
    for name in options:
        if name in words:
            place = words.index(name)
            options[name] = words[place + 1]
            del words[place : place + 2]
    torch.set_num_threads(1)
    print(f"{common.machine()}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}")
    for word in words:
        examine(Path(word), Path(options["--data"]), int(options["--rounds"]))


if __name__ == "__main__":
    main()
