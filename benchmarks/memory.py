"""The memory that `train` states before it starts against the peak that was measured: python benchmarks/memory.py

Each setting is trained for some steps in a process of its own. The peak is VmHWM of that process (Linux).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS = (
    ("model=dnn",),
    ("model=adasparse",),
    ("model=star",),
    ("model=apg", "model.version=v1"),
    ("model=saml",),
    ("model=dnn", "loop=maml"),
    ("model=dnn", "network.embedding_width=128"),
    ("model=dnn", "network.hidden=[2048,1024]"),
    ("model=dnn", "loop.batch_size=16384"),
    ("model=dnn", "data.name=large"),
)
CHILD = """
import json, sys
from pathlib import Path
from adasparse_cli.runs.train import run_train
from adasparse_cli.runs.train_job import plan_train
from adasparse_cli.prep.recipe import Silent

notes = []

class Told(Silent):
    def note(self, line):
        notes.append(line)

run_train(plan_train(sys.argv[1:]), Told())
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
print(json.dumps({"stated": next(note for note in notes if "at the peak" in note), "peak": peak}))
"""


def measured(folder: Path, words: tuple[str, ...]) -> tuple[float, float]:
    """MiB that were stated, and MiB at the peak."""
    command = [sys.executable, "-c", CHILD, "threads=1", "loop.max_steps=40", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    stated = re.search(r"about ([\d,]+) MiB at the peak", found["stated"])
    assert stated is not None
    return float(stated[1].replace(",", "")), float(found["peak"])


def prepare(folder: Path) -> None:
    """The twin, and one of four times its rows."""
    for words in ((), ("data=twin", "data.rows=800000", "data.name=large", "data.keep_raw=false")):
        command = [sys.executable, "-m", "adasparse_cli", "prep", *words]
        subprocess.run(command, cwd=folder, capture_output=True, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        print("| setting | stated, MiB | peak, MiB | stated / peak |\n| --- | --: | --: | --: |")
        for words in SETTINGS:
            stated, peak = measured(folder, words)
            print(f"| `{' '.join(words)}` | {stated:,.0f} | {peak:,.0f} | {stated / peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
