"""How many rows per second a trained model serves, measured at the end of its run on rows of the test split, by one thread.

Other processes slow a machine down, and each run of a study ends at another time. So processor time is measured, every round also
times a yardstick, the same matrix products in every run, and rates of different runs are compared by their ratio to it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from adasparse_cli.batches import Batch
from adasparse_cli.choices import FieldKind
from adasparse_cli.exporting.describe import shape_of
from adasparse_cli.layers.embedding import Bags as ModelBags
from adasparse_cli.models.base import Model
from adasparse_cli.numpy_engine import values
from adasparse_cli.numpy_engine.cut import why_not_cut
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.engine import SMALL_GROUP, NumpyEngine
from adasparse_cli.numpy_engine.network import Network
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.runs.json_types import Serving
from adasparse_cli.schema import Field

# Rows of the test split, the first ones; fewer if they have more conditions than the engine can cache sub-networks for.
MOST_ROWS, MOST_CONDITIONS, LEAST_ROWS = 8192, 400, 1024
# Rounds go on until this time is spent, within these numbers.
LEAST_ROUNDS, MOST_ROUNDS, SECONDS = 5, 15, 2.0
# The yardstick: rows, and widths of its layers.
YARDSTICK = (1024, (256, 256, 128, 64))
TORCH_ROWS = 4096


def measure_serving(model: Model, fields: Sequence[Field], bags: Mapping[str, ModelBags], rows: Rows) -> Serving | None:
    """Measure a model on the first rows of a split; None if the split is empty.

    Args:
        model: in evaluation. bags: of the multi-valued fields, as the model reads them.
    """
    encoded = _encoded(fields, bags, rows)
    if not len(encoded):
        return None
    shape = shape_of(model)
    calls: dict[str, Callable[[], object]] = {"yardstick": _yardstick()}
    conditions, multiply_adds = 0, None
    if shape is None:
        batch, engine = rows.batch(slice(0, len(encoded))), "torch"
        calls["uncut"] = lambda: _by_torch(model, batch)
    else:
        network = Network(shape, fields, {name: one.detach().cpu().numpy() for name, one in model.state_dict().items()})
        whole, engine = NumpyEngine(network, cuts=False), "numpy"
        encoded, conditions = _few_conditions(whole, encoded)
        calls["uncut"] = lambda: whole.logits(encoded)
        if why_not_cut(shape) is None:
            cut = NumpyEngine(network, cut_from=SMALL_GROUP)
            calls["sub_networks"] = lambda: cut.logits(encoded)
    # a GPU works while the processor waits
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    with _one_thread():
        seconds = _by_turns(calls, clock)
        if "sub_networks" in calls:
            multiply_adds = _multiply_adds(cut, encoded)

    def rate(name: str) -> float:
        ratio = statistics.median(a / b for a, b in zip(seconds["yardstick"], seconds[name], strict=True))
        return round(yardstick * ratio * len(encoded) / YARDSTICK[0], 1)

    yardstick = YARDSTICK[0] / statistics.median(seconds["yardstick"])
    return Serving(
        engine=engine,
        rows=len(encoded),
        conditions=conditions,
        rounds=len(seconds["yardstick"]),
        yardstick=round(yardstick, 1),
        uncut=rate("uncut"),
        sub_networks=rate("sub_networks") if "sub_networks" in calls else None,
        sub_network_multiply_adds=multiply_adds,
    )


def _encoded(fields: Sequence[Field], bags: Mapping[str, ModelBags], rows: Rows) -> EncodedRows:
    """The first rows as the engines of exported models take them."""
    ids = rows.field_ids[:MOST_ROWS].cpu().numpy()
    multi = {field.name: place for place, field in enumerate(fields) if field.kind is FieldKind.multi_valued}
    own = {
        name: values.Bags(bags[name].values.cpu().numpy(), bags[name].starts.cpu().numpy(), ids[:, place])
        for name, place in multi.items()
    }
    return EncodedRows(ids=ids, bags=own, domains=rows.domain_ids[:MOST_ROWS].cpu().numpy())


def _few_conditions(engine: NumpyEngine, rows: EncodedRows) -> tuple[EncodedRows, int]:
    """As many of the rows as have few conditions, and the number of these."""
    while True:
        conditions = len(engine.groups(rows)[1]) - 1
        if conditions <= MOST_CONDITIONS or len(rows) <= LEAST_ROWS:
            return rows, conditions
        rows = rows.take(slice(0, len(rows) // 2))


def _multiply_adds(engine: NumpyEngine, rows: EncodedRows) -> float:
    """Multiply-adds per row of what the engine computes: a sub-network, or the full network for small groups."""
    order, bounds = engine.groups(rows)
    total = 0
    for start, end in pairwise(bounds.tolist()):
        condition = rows.take(order[start : start + 1])
        whole = end - start < SMALL_GROUP
        total += (end - start) * (engine.network if whole else engine.sub_network(condition)).multiply_adds()
    return total / len(rows)


def _by_torch(model: Model, batch: Batch) -> None:
    with torch.no_grad():
        for start in range(0, len(batch.field_ids), TORCH_ROWS):
            own = slice(start, start + TORCH_ROWS)
            part = Batch(batch.field_ids[own], batch.domain_ids[own], batch.condition_ids[own], batch.conditions)
            model(part).logits.cpu()


def _yardstick() -> Callable[[], object]:
    count, widths = YARDSTICK
    draw = np.random.default_rng(0)
    x = draw.standard_normal((count, widths[0]), dtype=np.float32)
    layers = [draw.standard_normal(both, dtype=np.float32) for both in pairwise(widths)]

    def run() -> np.ndarray:
        h = x
        for weight in layers:
            h = np.maximum(h @ weight, 0.0)
        return h

    return run


def _by_turns(calls: Mapping[str, Callable[[], object]], clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each call by round, after one round that fills caches."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() - begun > SECONDS:
            break
        for name, call in calls.items():
            started = clock()
            call()
            seconds[name].append(max(clock() - started, 1e-9))
    return seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
