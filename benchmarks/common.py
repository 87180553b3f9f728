"""What the benchmarks share: the machine in words, timing by turns, a model and rows of a stated size."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from adasparse_cli.batches import Batch
from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.config.compose import compose
from adasparse_cli.machine.allocator import keep_large_blocks
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import DataShape, Model, NetworkSettings
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.schema import Field
from adasparse_cli.typed import typed

FIELDS, AWARE, WIDTH, HIDDEN, BATCH, DOMAINS = 21, 3, 16, [512, 256, 128], 2048, 300


def machine() -> str:
    """The processor, cores and versions that figures were taken with."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(":")[1].strip() if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads"


def by_turns(
    runs: dict[str, Callable[[], object]], *, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each, one after the other in each round, so that a drift of the machine hits all alike.

    Args:
        clock: `time.thread_time` for work in one thread on a machine with other load.
    """
    keep_large_blocks()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = clock()
            run()
            if turn:  # the first round warms up
                seconds[name].append(clock() - started)
    return seconds


def ratios(seconds: dict[str, list[float]], above: str, below: str) -> float:
    """Median over rounds of the ratio within each."""
    return statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))


def model_of(ids: int, words: list[str] | None = None) -> Model:
    """AdaSparse fusion (or what `words` choose) with 21 fields × 16 and hidden [512, 256, 128]."""
    tree = compose("train", words or ["model.mode=fusion"])
    model_class = MODELS[tree["model"]["name"]]
    settings = typed(tree["model"], model_class.Settings, "model")
    network = typed({**tree["network"], "hidden": HIDDEN, "embedding_width": WIDTH}, NetworkSettings, "network")
    torch.manual_seed(0)
    model: Model = model_class(settings, network, DataShape(fields=fields_of(ids), bags={}, num_domains=DOMAINS))
    model.schedule(0.5)
    return model


def fields_of(ids: int) -> tuple[Field, ...]:
    """18 large domain-agnostic fields that share the ids, and 3 small domain-aware ones."""
    large = (ids - AWARE * 20) // (FIELDS - AWARE)
    return tuple(
        Field(
            name=f"field_{k}",
            role=FieldRole.domain_aware if k >= FIELDS - AWARE else FieldRole.domain_agnostic,
            kind=FieldKind.categorical,
            size=20 if k >= FIELDS - AWARE else large,
        )
        for k in range(FIELDS)
    )


def rows_of_size(count: int, ids: int, *, skewed: bool = False) -> Rows:
    """Random rows: ids uniform (the hardest case for memory), or with a long tail (density ∝ 1/id)."""
    draw = np.random.default_rng(0)
    fields = fields_of(ids)
    field_ids = np.empty((count, FIELDS), dtype=np.int32)
    for column, field in enumerate(fields[: FIELDS - AWARE]):
        place = draw.random(count)
        field_ids[:, column] = field.size**place - 1 if skewed else place * field.size
    conditions = draw.integers(0, 20, (DOMAINS, AWARE))
    domains = np.minimum(draw.geometric(0.02, count), DOMAINS) - 1
    field_ids[:, FIELDS - AWARE :] = conditions[domains]
    return Rows(
        field_ids=torch.from_numpy(field_ids),
        domain_ids=torch.from_numpy(domains),
        condition_ids=torch.from_numpy(domains),
        conditions=torch.from_numpy(conditions),
        labels=torch.from_numpy((draw.random(count) < 0.02).astype(np.float32)),
        domains=domains,
        users=None,
        sources=np.zeros(count, dtype=np.int32),
        lines=np.arange(count),
    )


def first_batch(rows: Rows) -> Batch:
    """The first BATCH rows."""
    return rows.batch(slice(0, BATCH))
