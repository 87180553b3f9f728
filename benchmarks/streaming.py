"""Rows from disk against rows in memory: speed of training by turns, and peak memory at two sizes of the log.

python benchmarks/streaming.py           rows/s of streamed training over that in memory, in one run
python benchmarks/streaming.py --memory  peak memory of streamed training at 4M rows over that at 1M (6 minutes, 2 GB of disk)
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import torch

from adasparse_cli.choices import Split
from adasparse_cli.prep.prepared_files import open_prepared
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.runs.train_job import build_model, plan_train
from adasparse_cli.training.dataset import load_rows, load_shape
from adasparse_cli.training.row_cache import open_cache
from adasparse_cli.training.standard import StandardLoop
from adasparse_cli.training.streamed import streamed_rows

# Anonymous memory: pages of the file that the kernel keeps are not the process's.
PEAK = """
import json, sys, threading, time
from pathlib import Path
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.runs.train import run_train
from adasparse_cli.runs.train_job import plan_train
peak, ended = 0, False
def watch():
    global peak
    while not ended:
        status = Path("/proc/self/status").read_text()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.02)
watcher = threading.Thread(target=watch)
watcher.start()
run_train(plan_train(sys.argv[1:]), Silent())
ended = True
watcher.join()
print(json.dumps(peak / 1024))
"""
TWIN = ("data=twin-3m", "data.keep_raw=false")
# The table of embeddings grows with the ids of the log, which is not what is measured here.
NARROW = ("network.embedding_width=1",)


def prepare(rows: int, name: str) -> Path:
    """A twin of so many rows, prepared."""
    words = [*TWIN, f"data.rows={rows}", f"data.name={name}"]
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
    """Each size in a process of its own: preparing apart, then training for some steps with rows from disk."""
    peaks = {}
    for millions in (1, 4):
        name = f"m{millions}"
        prepare(millions * 1_000_000, name)
        words = (f"data.name={name}", "model=dnn", *NARROW, "loop.rows=stream", "loop.max_steps=400", "threads=1")
        script = [sys.executable, "-c", PEAK, *words]
        run = lambda script=script: subprocess.run(script, capture_output=True, text=True, check=True)  # noqa: E731
        run()  # makes the records
        peaks[millions] = json.loads(run().stdout.splitlines()[-1])
    ratio = peaks[4] / peaks[1]
    print(f"peak memory at 4M rows over 1M: {ratio:.2f}×  ({peaks[1]:.0f} and {peaks[4]:.0f} MiB; target at most 1.1)")


def main() -> None:
    """Measure what was asked for."""
    print(common.machine())
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        os.environ["OMP_NUM_THREADS"] = "1"
        (memory if "--memory" in sys.argv else speed)()


if __name__ == "__main__":
    main()
