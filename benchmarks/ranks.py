"""Two processes against one: CPU time, and bytes on the loopback against the formula of docs/scaling.md.

python benchmarks/ranks.py    (Linux; bytes only as root, in a network of its own)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import numpy as np
import torch

from adasparse_cli.choices import Metric, RowSource
from adasparse_cli.config.compose import compose
from adasparse_cli.distributed.process_group import joined_group
from adasparse_cli.layers import ranks
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.standard import StandardLoop
from adasparse_cli.typed import typed

STEPS, WARM, IDS = 12, 2, 200_000


def sent() -> int:
    """Bytes that went over the loopback."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split(":")[1].split()[8]) for line in lines if line.strip().startswith("lo:"))


def expected(loop: StandardLoop, steps: range) -> float:
    """Bytes of some steps over both processes, by the formula."""
    model, width = loop.model, loop.model.embedding.width
    dense = sum(part.numel() for part in loop.dense.values()) + model.context.table.weight.numel()
    total, batches = 0.0, loop.epoch_batches(0)
    for step in steps:
        ids = loop.train.field_ids[batches[step]] + model.embedding.single_offsets
        parts = [np.unique(part.numpy()) for part in (ids[: len(ids) // 2], ids[len(ids) // 2 :])]
        total += 2 * 4 * dense + 2 * max(map(len, parts)) * (8 + 4 * width)
    # batch normalisation: two sums of a layer's width forwards, and two backwards
    return total + len(steps) * 2 * 4 * 4 * sum(model.network.hidden)


def child() -> None:
    """Some steps as one of several processes, or as the only one."""
    torch.set_num_threads(1)
    model, rows = common.model_of(IDS), common.rows_of_size(common.BATCH * STEPS, IDS, skewed=True)
    settings = typed({**compose("train", [])["loop"], "batch_size": common.BATCH, "epochs": 1, "select": Metric.auc,
                      "rows": RowSource.memory}, LoopSettings, "loop")  # fmt: skip
    with joined_group("cpu"), tempfile.TemporaryDirectory() as folder:
        loop = StandardLoop(model, rows, rows, common.DOMAINS, settings, 0, Path(folder))
        batches = loop.epoch_batches(0)
        for step in range(WARM):
            loop.step(step, batches[step])
        times, before = os.times(), sent()
        for step in range(WARM, STEPS):
            loop.step(step, batches[step])
        seconds, after = sum(os.times()[:2]) - sum(times[:2]), sent()
        if ranks.rank() == 0:
            print(json.dumps({"bytes": after - before, "formula": expected(loop, range(WARM, STEPS))}))
        print(json.dumps({"seconds": seconds}))


def run(size: int) -> tuple[float, dict[str, float]]:
    """CPU seconds of all processes, and bytes."""
    alone = ["unshare", "-n", "sh", "-c"] if os.geteuid() == 0 else ["sh", "-c"]
    one = f"WORLD_SIZE={size} MASTER_ADDR=127.0.0.1 MASTER_PORT=29471 '{sys.executable}' '{__file__}' --child"
    network = "ip link set lo up 2> /dev/null || ifconfig lo up;" if os.geteuid() == 0 else ""
    command = network + " ".join(f"RANK={rank} {one} &" for rank in range(size)) + " wait"
    said = subprocess.run([*alone, command], capture_output=True, text=True, check=True).stdout
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert len(found) == size + 1, said
    return sum(one.get("seconds", 0.0) for one in found), next(one for one in found if "bytes" in one)


def main(rounds: int = 3) -> None:
    """One and two processes by turns."""
    print(common.machine())
    ratios, bytes_sent = [], []
    for _ in range(rounds):
        one, _ = run(1)
        two, found = run(2)
        ratios.append(two / one)
        bytes_sent.append(found["bytes"] / found["formula"])
        steps = STEPS - WARM
        print(f"CPU per step: {one / steps:.3f} s, two processes {two / steps:.3f} s together; "
              f"{found['bytes'] / steps / 1e6:.2f} MB per step, formula {found['formula'] / steps / 1e6:.2f} MB", flush=True)  # fmt: skip
    print(f"CPU time of two processes over one: {np.median(ratios):.2f} (target at most 1.4)")
    print(f"bytes sent over the formula: {np.median(bytes_sent):.3f} (target 0.9 to 1.1)")


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()
