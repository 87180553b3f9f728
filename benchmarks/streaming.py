"""Rows from disk against rows in memory: speed of training by turns, and peak memory at two sizes of the log.

python benchmarks/streaming.py           rows/s of streamed training over that in memory, in one run
python benchmarks/streaming.py --memory  peak memory of streamed training at 4M rows over that at 1M, and what was stated before (15 minutes,
                                         2 GB of disk)
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import torch

from adasparse_cli.choices import Split
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.prepared.files import open_prepared
from adasparse_cli.rows.dataset import load_rows, load_shape
from adasparse_cli.rows.row_cache import open_cache
from adasparse_cli.rows.streamed import streamed_rows
from adasparse_cli.runs.train_job import build_model, plan_train
from adasparse_cli.training.standard import StandardLoop

# The peak of the process (Linux), what it said before training, and what its weights and moments take.
CHILD = """
import json, sys
from pathlib import Path
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.runs.train import run_train
from adasparse_cli.runs.train_job import plan_train

class Told(Silent):
    def note(self, line):
        notes.append(line)

notes = []
report = run_train(plan_train(sys.argv[1:]), Told()).report
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
stated = next(note for note in notes if "at the peak" in note)
print(json.dumps({"stated": stated, "peak": peak, "embeddings": report["cost"]["embedding_parameters"]}))
"""
TWIN = ("data=twin-3m", "data.keep_raw=false")
# Values with fewer rows per million of the log share id 0, so that both logs have as many ids.
MIN_COUNT = 250
# Windows that are smaller than both logs; and the packaged ones, which hold all rows of the smaller log.
SMALL = "loop.window_rows=65536"
SETTINGS = (("model=dnn", SMALL), ("model=adasparse", SMALL), ("model=dnn",))


def prepare(rows: int, name: str, *more: str) -> Path:
    """A twin of so many rows, prepared."""
    words = [*TWIN, f"data.rows={rows}", f"data.name={name}", *more]
    subprocess.run([sys.executable, "-m", "adasparse_cli", "prep", *words], capture_output=True, check=True)
    return Path("data") / name


def speed(rows: int = 400_000) -> None:
    """An epoch of each by turns, with the same model; the DNN, whose steps are the shortest."""
    folder = prepare(rows, "speed")
    manifest, cpu = open_prepared(folder), torch.device("cpu")
    held = load_rows(folder, manifest, Split.train, device=cpu)
    cache = open_cache(folder, manifest, Split.train, Silent())
    streamed = streamed_rows(cache, cpu, window_rows=1 << 17)
    job = plan_train([*TWIN, f"data.rows={rows}", "data.name=speed", "model=dnn", "loop.batch_size=2048"])
    loops = {
        name: StandardLoop(
            model=build_model(job, load_shape(folder, manifest)),
            train=train,
            valid=load_rows(folder, manifest, Split.valid, device=cpu),
            num_domains=manifest.num_all_domains,
            settings=job.loop,
            seed=0,
            folder=Path(),
        )
        for name, train in (("streamed", streamed), ("memory", held))
    }
    epochs = dict.fromkeys(loops, 0)

    def epoch(name: str) -> None:
        loop, epochs[name] = loops[name], epochs[name] + 1
        for chosen in loop.epoch_batches(epochs[name]):
            loop.add_gradients(chosen)
            loop.model.zero_grad(set_to_none=True)

    seconds = common.by_turns({name: lambda name=name: epoch(name) for name in loops}, rounds=5)
    ratio = common.ratios(seconds, "memory", "streamed")
    print(f"rows/s, streamed over memory: {ratio:.2f}  ({len(held):,} rows, windows of 131,072; target at least 0.95)")


def memory() -> None:
    """Each size and setting in a process of its own, with rows from disk: an epoch, evaluations, predictions."""
    print("| setting | rows | ids | stated, MiB | peak, MiB | stated / peak | peak over that at 1M |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for millions in (1, 4):
        prepare(millions * 1_000_000, f"m{millions}", f"data.min_count={MIN_COUNT * millions}")
    for setting in SETTINGS:
        smaller = 0.0
        for millions in (1, 4):
            words = (f"data.name=m{millions}", *setting, "loop.rows=stream", "loop.max_steps=400", "threads=1")
            script = [sys.executable, "-c", CHILD, *words]
            found = json.loads(
                subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
            )
            said = re.search(r"about ([\d,]+) MiB at the peak", found["stated"])
            assert said is not None
            stated, peak = float(said[1].replace(",", "")), found["peak"]
            smaller = smaller or peak
            numbers = (
                f"{found['embeddings']:,} | {stated:,.0f} | {peak:,.0f} | {stated / peak:.2f} | {peak / smaller:.2f}"
            )
            print(f"| `{' '.join(setting)}` | {millions}M | {numbers} |", flush=True)


def main() -> None:
    """Measure what was asked for."""
    print(common.machine())
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        os.environ["OMP_NUM_THREADS"] = "1"
        (memory if "--memory" in sys.argv else speed)()


if __name__ == "__main__":
    main()
