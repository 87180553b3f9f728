"""How fast AdaSparse trains: against the machine's matrix product, a public-style loop, and its own table size.

    python benchmarks/training.py [--quick]

21 fields × 16, hidden [512, 256, 128], batch 2,048, fusion, through the loop that `adasparse train` runs. Floating-point rates are
of the form whose pruners read layer and domain (`adasparse-paper`), which the plain products and the public-style loop compute
too. The default form, which reads the domain alone, is compared with the public-style loop as well; it computes less.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import common
import torch
from public_loop import PublicLoop

from adasparse_cli.config.compose import compose
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.standard import StandardLoop
from adasparse_cli.typed import typed

STEPS = 20


class Training:
    """Steps of the standard loop, evaluation and checkpoints left out."""

    def __init__(self, rows: Rows, ids: int, precision: str = "highest", model: str = "adasparse-paper") -> None:
        tree = compose("train", [f"loop.batch_size={common.BATCH}", f"loop.matmul_precision={precision}"])
        self.folder = tempfile.TemporaryDirectory()
        self.loop = StandardLoop(
            model=common.model_of(ids, [f"model={model}"]),
            train=rows,
            valid=rows,
            num_domains=common.DOMAINS,
            settings=typed(tree["loop"], LoopSettings, "loop"),
            seed=0,
            folder=Path(self.folder.name),
        )
        self.loop.model.train()
        self.batches = iter(())

    def steps(self) -> None:
        """STEPS steps, going on where the last call stopped."""
        for _ in range(STEPS):
            found = next(self.batches, None)
            if found is None:
                self.loop.state.step = 0
                self.batches = self.loop._batches()  # type: ignore[assignment]
                found = next(self.batches)
            step, rows = found
            self.loop.step(step, rows)
            self.loop.state.step = step + 1


def products() -> list[tuple[int, int]]:
    """(inputs, outputs) of every matrix product of a forward pass."""
    agnostic, aware = (common.FIELDS - common.AWARE) * common.WIDTH, common.AWARE * common.WIDTH
    widths = [agnostic, *common.HIDDEN]
    layers = list(zip([agnostic + aware, *common.HIDDEN[:-1]], common.HIDDEN, strict=True))
    return [*layers, *((width, width) for width in widths)]


def plain_products() -> None:
    """The same products on plain matrices: forward, and both products of the backward pass, STEPS times."""
    for _ in range(STEPS):
        for x, w, g in MATRICES:
            torch.mm(x, w)
            torch.mm(g, w.t())
            torch.mm(x.t(), g)


MATRICES = [(torch.randn(common.BATCH, k), torch.randn(k, n), torch.randn(common.BATCH, n)) for k, n in products()]


def main() -> None:
    """Print the ratios."""
    quick = "--quick" in sys.argv
    rounds = 3 if quick else 7
    torch.set_num_threads(torch.get_num_threads())
    print(common.machine())
    count = common.BATCH * 60
    uniform, skewed = common.rows_of_size(count, 2_000_000), common.rows_of_size(count, 2_000_000, skewed=True)
    training = {
        "uniform ids": Training(uniform, 2_000_000),
        "skewed ids": Training(skewed, 2_000_000),
        "uniform ids, loop.matmul_precision=medium": Training(uniform, 2_000_000, "medium"),
    }
    runs: dict[str, Callable[[], object]] = {"plain products": plain_products}
    seconds = common.by_turns(runs | {name: one.steps for name, one in training.items()}, rounds=rounds)
    macs = common.BATCH * sum(k * n for k, n in products())
    best = min(seconds["plain products"]) / STEPS
    print(f"plain products: {6 * macs / best / 1e9:.0f} GFLOP/s")
    for name in training:
        rate = common.ratios(seconds, "plain products", name)
        rows = common.BATCH * STEPS / statistics.median(seconds[name])
        print(f"floating-point rate over plain products, {name}: {rate:.2f}  ({rows:,.0f} rows/s; target 0.6)")

    del training["skewed ids"]
    training["uniform ids, the default form"] = Training(uniform, 2_000_000, model="adasparse")
    public = PublicLoop(uniform, 2_000_000)
    seconds = common.by_turns(
        {"public": public.step, **{name: one.steps for name, one in training.items()}}, rounds=rounds
    )
    there = common.BATCH / statistics.median(seconds["public"])
    for name in training:
        ratio = STEPS * common.ratios(seconds, "public", name)
        rows = common.BATCH * STEPS / statistics.median(seconds[name])
        print(
            f"rows/s over a public-style loop, {name}: {ratio:.1f}×  ({rows:,.0f} over {there:,.0f} rows/s; target 8, default form 12)"
        )
    del public, training

    for name, skew in (("uniform ids", False), ("skewed ids", True)):
        sizes = {
            f"{ids:,}": Training(common.rows_of_size(count, ids, skewed=skew), ids).steps
            for ids in (200_000, 20_000_000)
        }
        seconds = common.by_turns(sizes, rounds=rounds)
        print(
            f"throughput at 20M over 200k ids, {name}: {common.ratios(seconds, '200,000', '20,000,000'):.2f}  (target 0.8)"
        )


if __name__ == "__main__":
    main()
