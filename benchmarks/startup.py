"""How soon `adasparse --help` answers.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

import common


def main() -> None:
    """Print the median."""
    commands = {"help": [sys.executable, "-m", "adasparse_cli", "--help"], "python": [sys.executable, "-c", "pass"]}
    seconds = common.by_turns(
        {
            name: lambda words=words: subprocess.run(words, capture_output=True, check=True)
            for name, words in commands.items()
        },
        rounds=9,
    )
    print(common.machine())
    print(f"adasparse --help: {statistics.median(seconds['help']):.2f} s (target at most 0.3)")
    print(f"over python that does nothing: {common.ratios(seconds, 'help', 'python'):.1f}×")


if __name__ == "__main__":
    main()
