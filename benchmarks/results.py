"""Runs the studies of docs/results-earlier.md with today's version, and prints their tables.

    python benchmarks/results.py FOLDER > tables.md

FOLDER has data/, runs/ and studies/. Missing data and runs are prepared and trained first, which takes hours. SAMPLE and
TMALL name the raw files of the real data.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SAMPLE = os.environ.get("IAAC_SAMPLE", "round1_train_sample_56k.csv.gz")
TMALL = os.environ.get("TMALL_REPEAT", "repeat_buyers.csv.gz")
WORKERS = ("--workers", "2")
CONTROL = ("data=twin-3m", "data.name=twin-3m-control", "data.heterogeneity=0")
USER = "[user_gender_id,user_age_level_minus1000,user_star_level_minus3000"
CITY = ("data=iaac-sample", "data.name=iaac-sample-city", f"data.domain={USER},item_city_id_code]")
CATEGORY = ("data=iaac-sample", "data.name=iaac-sample-category", f"data.domain={USER},category_1]")
PREPARATION = (
    ("prep", "data=iaac-sample", f"raw={SAMPLE}"),
    ("prep", *CITY, f"raw={SAMPLE}"),
    ("prep", *CATEGORY, f"raw={SAMPLE}"),
    ("prep", "data=tmall-repeat", f"raw={TMALL}"),
)
STUDIES = {
    "Every model, twin-3m": ("compare", "--experiment", "tuned", "data=twin-3m", "--seeds", "3"),
    "Modes and placebo, twin-3m": ("ablate", "data=twin-3m", "loop.learning_rate=0.001", "--seeds", "3"),
    "The negative control": (
        "compare", "--experiment", "placebo", *CONTROL, "loop.learning_rate=0.001", "--seeds", "3",
    ),
    "The combination itself as a field": (
        "compare", "--experiment", "placebo", "data=twin-3m", "data.name=twin-3m-id", "data.domain_id=true", "loop.learning_rate=0.001",
        "--seeds", "3",
    ),
    "Every model, IAAC sample": ("compare", "data=iaac-sample", "--seeds", "5"),
    "Modes and placebo, IAAC sample": ("ablate", "data=iaac-sample", "--seeds", "5"),
    "Modes and placebo, IAAC sample by city": ("ablate", *CITY, "--seeds", "5"),
    "Modes and placebo, IAAC sample by category": ("ablate", *CATEGORY, "--seeds", "5"),
    "Every model, Tmall": ("compare", "data=tmall-repeat", "--seeds", "5"),
    "Modes and placebo, Tmall": ("ablate", "data=tmall-repeat", "--seeds", "5"),
}  # fmt: skip


def typed(folder: Path, *words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "adasparse_cli", *words]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    """Print every study: its command, then its tables."""
    folder = Path(sys.argv[1])
    for words in PREPARATION:
        typed(folder, *words)
    for title, words in STUDIES.items():
        spelled = " ".join(f"'{word}'" if "[" in word else word for word in words)
        print(f"### {title}\n\n```bash\nadasparse {spelled}\n```\n", flush=True)
        print(typed(folder, *words, *WORKERS, "--format", "markdown"), flush=True)


if __name__ == "__main__":
    main()
