"""What it costs when waiting threads sleep (OMP_WAIT_POLICY=PASSIVE) instead of spinning: steps of a DNN, in alternating processes.

    python benchmarks/waiting.py [--rounds 10]

Each round trains with one thread, with two threads that spin and with two threads that sleep, one after the other. A round
is listed with the cores that other processes used meanwhile, because the comparison is about idle cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
VARIANTS = {"one thread": (1, {}), "two threads": (2, {}), "two threads, passive": (2, PASSIVE)}
BATCH, WIDTHS, SECONDS = 2048, (336, 512, 256, 128, 1), 4.0
IDLE = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--train", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        print(json.dumps(train(arguments.train)))
        return
    rounds = []
    for number in range(arguments.rounds):
        found = {}
        for name in sorted(VARIANTS, reverse=bool(number % 2)):
            found[name] = measured(*VARIANTS[name])
        rounds.append(found)
        others = max(one["others"] for one in found.values())
        print(
            f"round {number + 1}: other processes {others:.2f} cores; "
            + "; ".join(
                f"{name} {one['rows_per_second']:,.0f} rows/s, {one['cpu']:.2f} cores" for name, one in found.items()
            ),
            flush=True,
        )
    for what, chosen in (
        ("idle cores", [one for one in rounds if max(own["others"] for own in one.values()) < IDLE]),
        ("busy cores", [one for one in rounds if max(own["others"] for own in one.values()) >= IDLE]),
    ):
        print(f"{what}: {len(chosen)} rounds" + "".join(f"; {text}" for text in ratios(chosen)))


def ratios(rounds: list[dict[str, dict[str, float]]]) -> list[str]:
    """Medians of the ratios within rounds, with their range."""
    texts = []
    for name, base in (
        ("two threads", "one thread"),
        ("two threads, passive", "one thread"),
        ("two threads, passive", "two threads"),
    ):
        found = [one[name]["rows_per_second"] / one[base]["rows_per_second"] for one in rounds]
        if found:
            texts.append(f"{name} over {base} {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    return texts


def measured(threads: int, environment: dict[str, str]) -> dict[str, float]:
    """Rows per second of a process, the cores that it used, and the cores that other processes used meanwhile."""
    clean = {key: value for key, value in os.environ.items() if key not in (*PASSIVE, "OMP_NUM_THREADS")}
    words = [sys.executable, __file__, "--train", str(threads)]
    done = subprocess.run(words, env={**clean, **environment}, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def busy_seconds() -> float:
    """CPU seconds that all processes have used."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def train(threads: int) -> dict[str, float]:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    parts: list[torch.nn.Module] = []
    for before, after in itertools.pairwise(WIDTHS):
        parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts[:-1])
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    rows, labels = torch.randn(BATCH, WIDTHS[0]), torch.rand(BATCH, 1).round()

    def step() -> None:
        adam.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(rows), labels).backward()
        adam.step()

    for _ in range(10):
        step()
    steps, started, own, every = 0, time.monotonic(), time.process_time(), busy_seconds()
    while time.monotonic() - started < SECONDS:
        step()
        steps += 1
    seconds, own, every = time.monotonic() - started, time.process_time() - own, busy_seconds() - every
    return {"rows_per_second": steps * BATCH / seconds, "cpu": own / seconds, "others": max(every - own, 0.0) / seconds}


if __name__ == "__main__":
    main()
