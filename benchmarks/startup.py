"""How soon commands that only read answer, in a folder with 100 runs, and how soon Tab does.

python benchmarks/startup.py

Each command is timed from its start to its end in a process of its own. Processor time is printed beside it: on a machine
with other work, the time that passes is longer, and an idle machine answers in about the processor time.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common

RUNS, ROUNDS = 100, 5
# Words, and the seconds in which an idle machine is to answer.
COMMANDS: dict[tuple[str, ...], float] = {
    ("--help",): 0.3,
    ("runs", "ls"): 0.6,
    ("runs", "show", "latest"): 0.6,
    ("data", "ls"): 0.6,
    ("data", "show", "twin"): 0.6,
    ("config", "show"): 0.6,
    ("config", "explain", "model"): 0.6,
    ("config", "validate", "settings.yaml"): 0.6,
    ("models", "ls"): 1.0,
    ("models", "show", "star"): 1.0,
    ("compare", "--dry-run"): 1.5,
    ("ablate", "--dry-run"): 1.5,
    ("reproduce", "--dry-run"): 1.5,
}
# What bash hands over for `adasparse train loop.<Tab>` and its like.
COMPLETIONS = {"train loop.": 2, "train data =": 3, "runs show ": 3}
SMALL = ("data.rows=3000", "network.hidden=[4]", "network.embedding_width=2", "loop.epochs=1")


def main() -> None:
    """Print medians."""
    print(f"{common.machine()}; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_runs(home)
        print(f"{'':40} {'seconds':>8} {'processor':>10} {'target':>7}")
        nothing = measured([sys.executable, "-c", "pass"], home, {})
        print(f"{'python that does nothing':40} {nothing[0]:8.2f} {nothing[1]:10.2f}")
        for words, target in COMMANDS.items():
            elapsed, used = measured([sys.executable, "-m", "adasparse_cli", *words], home, {})
            print(f"{'adasparse ' + ' '.join(words):40} {elapsed:8.2f} {used:10.2f} {target:7.1f}")
        for line, place in COMPLETIONS.items():
            asked = {
                "COMP_WORDS": f"adasparse {line}",
                "COMP_CWORD": str(place),
                "_ADASPARSE_COMPLETE": "complete_bash",
            }
            elapsed, used = measured([sys.executable, "-m", "adasparse_cli"], home, asked)
            print(f"{'Tab behind ' + repr(line):40} {elapsed:8.2f} {used:10.2f} {0.5:7.1f}")


def make_runs(home: Path) -> None:
    """One small run, copied; and its settings as a file."""
    program = [sys.executable, "-m", "adasparse_cli"]
    subprocess.run([*program, "train", "--model", "dnn", *SMALL], cwd=home, capture_output=True, check=True)
    run = next(home.glob("runs/twin/dnn/*"))
    for number in range(1, RUNS):
        shutil.copytree(run, run.with_name(f"20200101T{number // 60:02}{number % 60:02}00Z-s{number}"))
    shown = subprocess.run([*program, "config", "show", *SMALL], cwd=home, capture_output=True, check=True)
    (home / "settings.yaml").write_bytes(shown.stdout)


def measured(words: list[str], home: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Medians of the seconds that pass and of the processor's, after one round that warms up."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(home / "cache"), **variables}
    used: list[float] = []

    def run() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, cwd=home, env=environment, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    elapsed = common.by_turns({"command": run}, rounds=ROUNDS)["command"]
    return statistics.median(elapsed), statistics.median(used[1:])


if __name__ == "__main__":
    main()
