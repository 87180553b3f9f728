"""How fast and how lean preparation is, on the twin's raw text.

python benchmarks/preparation.py           time at round-1 size against polars alone
python benchmarks/preparation.py --memory  peak memory at 1M and at 10.4M rows (20 minutes, 25 GB of disk)
python benchmarks/preparation.py --repeats time to find repeated rows at 1M and at 10.4M rows
python benchmarks/preparation.py --spark   time on Spark with two cores over time without it, 2M rows (needs the extra spark, and Java)
python benchmarks/preparation.py --splits  peak memory of the random split over that of the split by day, 3M rows
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import polars as pl

from adasparse_cli.columns.repeats import find_repeats
from adasparse_cli.config.compose import compose
from adasparse_cli.prep.engine import LocalEngine
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import Silent, recipe_named
from adasparse_cli.prepared.place import work_folder
from adasparse_cli.spark.engine import SparkEngine
from adasparse_cli.typed import plain, typed

BLOCK = 1 << 20

# ru_maxrss would count what the parent held when it started this process, so the kernel's own figure is read.
PEAK = """
import json, sys, time
from pathlib import Path
import polars as pl
from adasparse_cli.config.compose import compose
from adasparse_cli.typed import plain, typed
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import Silent, recipe_named
settings = typed(compose("prep", ["data=iaac", *sys.argv[3:]])["data"], recipe_named("iaac").Settings, "data")
started = time.monotonic()
manifest = prepare(settings, plain(settings), [Path(sys.argv[1])], Path(sys.argv[2]), Silent())
found = {
    "peak_memory_mib": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024,
    "seconds": time.monotonic() - started,
    "rows": sum(counts.rows for counts in manifest.splits.values()),
    "vocabularies_mib": sum(
        pl.read_parquet(path).estimated_size() / 2**20
        for path in (*Path(sys.argv[2]).glob("vocabularies/*"), *Path(sys.argv[2]).glob("bags/*.texts.parquet"))
    ),
}
print(json.dumps(found))
"""


def raw_text(folder: Path, *words: str) -> Path:
    """The twin's raw file."""
    recipe = recipe_named("twin")
    settings = typed(compose("prep", list(words))["data"], recipe.Settings, "data")
    (path,) = recipe.sources(settings, [], folder, Silent())
    return Path(path)


def speed(folder: Path) -> None:
    """Prepare the same file that polars alone turns into Parquet."""
    path = raw_text(folder, "data=twin-round1")
    settings = typed(compose("prep", ["data=iaac"])["data"], recipe_named("iaac").Settings, "data")
    values = plain(settings)

    def ours() -> None:
        shutil.rmtree(folder / "data", ignore_errors=True)
        prepare(settings, values, [path], folder / "data", Silent())

    def polars() -> None:
        pl.scan_csv(path, separator=" ", quote_char=None).sink_parquet(folder / "plain.parquet")

    seconds = common.by_turns({"ours": ours, "polars": polars}, rounds=3)
    ratio = common.ratios(seconds, "ours", "polars")
    print(f"prep over polars alone, 478,138 rows: {ratio:.1f}×  ({min(seconds['ours']):.1f} s; target at most 4)")


def memory(folder: Path) -> None:
    """Each size in a process of its own."""
    found = {}
    for name, words in {"1M": ("data=twin-round2", "data.rows=1000000"), "10.4M": ("data=twin-round2",)}.items():
        path = raw_text(folder / name, *words)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(folder / name / "data")],
            capture_output=True,
            text=True,
            check=True,
        )
        found[name] = json.loads(done.stdout)
        print(name, {key: round(value, 1) for key, value in found[name].items()}, flush=True)
        shutil.rmtree(folder / name)
    more = found["10.4M"]["peak_memory_mib"] / found["1M"]["peak_memory_mib"]
    allowed = 1.5 * found["1M"]["peak_memory_mib"] + found["10.4M"]["vocabularies_mib"]
    print(f"peak memory at 10.4M rows: {found['10.4M']['peak_memory_mib'] / 1024:.2f} GiB  (target at most 4)")
    print(f"over that at 1M rows: {more:.2f}×  (target 1.5 and vocabularies: {allowed:.0f} MiB)")


def repeats(folder: Path) -> None:
    """Random hashes, a tenth of them twice, in blocks as preparation reads them."""

    def found(rows: int) -> None:
        hashes = np.random.default_rng(0).integers(0, 2**64, rows * 9 // 10, dtype=np.uint64)
        hashes = np.concatenate([hashes, hashes[: rows - len(hashes)]])
        blocks = ((np.arange(at, min(at + BLOCK, rows)), hashes[at : at + BLOCK]) for at in range(0, rows, BLOCK))
        assert len(find_repeats(blocks, rows=rows, folder=folder / "repeats")) == rows - rows * 9 // 10

    seconds = common.by_turns({"1M": lambda: found(1_000_000), "10.4M": lambda: found(10_400_000)}, rounds=3)
    ratio = common.ratios(seconds, "10.4M", "1M")
    print(f"repeated rows at 10.4M over 1M rows: {ratio:.1f}×  ({min(seconds['10.4M']):.1f} s; target at most 12)")


def splits(folder: Path) -> None:
    """The same raw file, each split in a process of its own."""
    path = raw_text(folder, "data=twin-round2", "data.rows=3000000")
    peaks = {}
    for split in ("day", "random"):
        command = [sys.executable, "-c", PEAK, str(path), str(folder / split), f"data.split={split}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[split] = json.loads(done.stdout)["peak_memory_mib"]
    ratio = peaks["random"] / peaks["day"]
    print(f"peak memory, random split over split by day: {ratio:.2f}×  ({peaks['day']:.0f} MiB; target at most 1.1)")


def spark(folder: Path) -> None:
    """A table of 2 million rows, prepared by both engines in one process; the start of Spark is included."""
    rows, draw = 2_000_000, np.random.default_rng(0)
    columns = {
        name: draw.integers(0, size, rows) for name, size in {"y": 2, "d": 50, "a": 1000, "b": 100_000, "c": 24}.items()
    }
    pl.DataFrame({**columns, "x": draw.random(rows).round(4)}).write_csv(folder / "t.csv")
    words = ["data=tabular", "data.label=y", "data.domain=[d]"]
    settings = typed(compose("prep", words)["data"], recipe_named("tabular").Settings, "data")

    def by(engine: str) -> float:
        target = folder / engine
        started = time.monotonic()
        running = SparkEngine("local[2]", engine, work_folder(target)) if engine == "spark" else LocalEngine()
        prepare(settings, plain(settings), [folder / "t.csv"], target, Silent(), running)
        return time.monotonic() - started

    local, other = by("local"), by("spark")
    print(f"prep on Spark, 2M rows: {other:.1f} s  (local {local:.1f} s; target at most {4 * local + 30:.1f} s)")


def main() -> None:
    """Measure what was asked for."""
    print(common.machine())
    asked = {"--memory": memory, "--repeats": repeats, "--splits": splits, "--spark": spark}
    with tempfile.TemporaryDirectory() as name:
        next((run for option, run in asked.items() if option in sys.argv), speed)(Path(name))


if __name__ == "__main__":
    main()
