"""How long the statistics and analyses take.

    python benchmarks/analyses.py

Ten models × five seeds × a million test rows compared; the neurons of 300 domains counted over a million rows, against
one evaluation pass over the same rows; a million auctions.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import common
import numpy as np

from adasparse_cli.analysis.abtest import trial
from adasparse_cli.analysis.overlap import overlap
from adasparse_cli.analysis.statistics import TestRows, compare, uplift
from adasparse_cli.neurons.activity import activity
from adasparse_cli.training.evaluate import score

ROWS, MODELS, SEEDS, BATCH = 1_000_000, 10, 5, 8192


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def statistics() -> None:
    """What a study's table takes, once its runs are done."""
    draw = np.random.default_rng(0)
    domains = np.minimum(draw.geometric(0.02, ROWS), 300) - 1
    labels = (draw.random(ROWS) < 0.02).astype(np.float64)
    rows = TestRows(labels=labels, domains=domains, clusters=domains)
    arms = {
        f"model {k}": [(draw.normal(size=ROWS) + labels).astype(np.float32) for _ in range(SEEDS)]
        for k in range(MODELS)
    }

    def table() -> None:
        for metric in ("gauc_domain", "auc", "log_loss"):
            compare(metric, rows, arms, baseline="model 0")
        for name, own in arms.items():
            if name != "model 0":
                uplift(rows, own, arms["model 0"])

    print(f"{MODELS} models × {SEEDS} seeds × {ROWS:,} rows compared: {seconds_of(table):.0f} s  (target at most 60)")


def neurons() -> None:
    """Counting neurons by domain, against scoring the same rows."""
    rows = common.rows_of_size(ROWS, 200_000)
    model = common.model_of(200_000).eval()
    seconds = common.by_turns(
        {
            "score": lambda: score(model, rows, batch_size=BATCH),
            "activity": lambda: overlap(
                activity(model, rows, num_domains=common.DOMAINS, batch_size=BATCH).all_layers(), prunes=True
            ),
        },
        rounds=3,
    )
    ratio = common.ratios(seconds, "activity", "score")
    print(
        f"overlap of {common.DOMAINS} domains over {ROWS:,} rows, over one evaluation pass: {ratio:.2f}×  (target at most 2)"
    )


def auctions() -> None:
    """A million auctions of eight candidates."""
    draw = np.random.default_rng(0)
    domains = np.minimum(draw.geometric(0.02, ROWS), 300) - 1
    truth, a, b = (draw.beta(1, 40, ROWS) for _ in range(3))
    held = seconds_of(lambda: trial(domains, truth, a, b, auctions=1_000_000, candidates=8, bid_spread=0.5, seed=0))
    print(f"1,000,000 auctions: {held:.1f} s  (target at most 60)")


def main() -> None:
    """Print the figures."""
    print(common.machine())
    statistics()
    neurons()
    auctions()
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
