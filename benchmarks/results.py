"""Tables of finished runs, as Markdown: every arm with its spread over seeds, and its paired difference to `dnn`.

    python benchmarks/results.py RUNS_FOLDER [DATA_FOLDER]

One table per data set. Differences are paired by seed; the interval is Student's, over seeds alone: it says how far
training's chance reaches, not how far another day's rows would. With DATA_FOLDER, synthetic data get a line for the
true probabilities.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from adasparse_cli.choices import Split
from adasparse_cli.config import from_yaml
from adasparse_cli.files import read_json
from adasparse_cli.jobs.score import true_metrics
from adasparse_cli.prep.prepared import open_prepared
from adasparse_cli.render import with_spread

METRICS = {"auc": "AUC", "gauc_domain": "GAUC by domain", "log_loss": "log loss"}
ORDER = ("dnn", "scaling", "binarization", "fusion")


def arm_of(config: dict[str, Any]) -> str:
    """What sets a run apart, in words."""
    model = config["model"]
    name = model.get("mode", model["name"])
    extras = []
    if config["loop"]["placebo"]:
        extras.append("told another row's domain (placebo)")
    if model.get("pruner", {}).get("inputs") == ["domain"]:
        extras.append("pruner sees the domain alone")
    interval = model.get("regulariser", {}).get("interval", [0.15, 0.25])
    if interval != [0.15, 0.25]:
        extras.append(f"interval [{interval[0]:.2f}, {interval[1]:.2f}]")
    return ", ".join([name, *extras])


def collected(root: Path) -> dict[str, dict[str, dict[int, dict[str, Any]]]]:
    """Reports by data set, arm and seed."""
    found: dict[str, dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for done in sorted(root.glob("*/*/*/DONE")):
        report = read_json(done.parent / "report.json")
        config = from_yaml((done.parent / "config.yaml").read_text())
        found[report["data"]["name"]][arm_of(config)][report["seed"]] = report
    return found


def difference(arm: dict[int, Any], base: dict[int, Any], metric: str) -> str:
    """Mean paired difference over common seeds with its 95 % interval."""
    seeds = sorted(arm.keys() & base.keys())
    pairs = [(arm[s]["metrics"]["test"][metric], base[s]["metrics"]["test"][metric]) for s in seeds]
    if len(pairs) < 2 or any(None in pair for pair in pairs):
        return "n/a"
    gaps = np.array([a - b for a, b in pairs])
    reach = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return f"{gaps.mean():+.4f} [{gaps.mean() - reach:+.4f}, {gaps.mean() + reach:+.4f}]"


def ranges(reports: dict[int, Any], key: str) -> str:
    """Per gated layer the least and the most sparse seed, in per cent."""
    layers = [report["sparsity"][key] for report in reports.values() if report["sparsity"]]
    if not layers or not any(any(one) for one in layers):
        return "–"
    return " · ".join(f"{100 * min(own):.0f}–{100 * max(own):.0f}" for own in zip(*layers, strict=True))


def table(name: str, arms: dict[str, dict[int, dict[str, Any]]], data: Path | None) -> None:
    """One data set."""
    any_report = next(iter(next(iter(arms.values())).values()))
    test = any_report["metrics"]["test"]
    print(f"### `{name}`: domain = {' × '.join(any_report['data']['domain'])}\n")
    print(
        f"{any_report['data']['splits']['train']['rows']:,} training rows, {test['rows']:,} test rows with {test['positives']:,} "
        f"positives; {any_report['data']['num_domains']:,} domains in training; {test['one_class_domains']} of {test['domains']} "
        f"test domains have one class ({test['one_class_domain_row_share']:.1%} of rows) and are left out of the GAUC.\n"
    )
    columns = [
        "arm",
        "seeds",
        *METRICS.values(),
        "GAUC over dnn",
        "log loss over dnn",
        "sparsity at the end, %",
        "of kept weights, %",
    ]
    print("| " + " | ".join(columns) + " |")
    print("| --- |" + " --: |" * (len(columns) - 1))
    for arm in sorted(arms, key=lambda arm: (ORDER.index(arm.split(",")[0]), arm)):
        reports = arms[arm]
        cells = [arm, str(len(reports))]
        cells += [with_spread([report["metrics"]["test"][metric] for report in reports.values()]) for metric in METRICS]
        cells += [
            "" if arm == "dnn" else difference(reports, arms["dnn"], metric) for metric in ("gauc_domain", "log_loss")
        ]
        cells += [ranges(reports, "at_end"), ranges(reports, "test")]
        print("| " + " | ".join(cells) + " |")
    placebo = next((arms[arm] for arm in arms if arm.startswith("fusion") and "placebo" in arm), None)
    if data is not None and (data / name / "truth").exists():
        truth = true_metrics(data / name, open_prepared(data / name), Split.test) or {}
        print("| true probabilities | | " + " | ".join(f"{truth[metric]:.4f}" for metric in METRICS) + " | | | | |")
    if placebo is not None:
        gaps = {label: difference(arms["fusion"], placebo, metric) for metric, label in METRICS.items()}
        print("\nFusion over its placebo: " + ", ".join(f"{label} {gap}" for label, gap in gaps.items()) + ".")
    print()


def main() -> None:
    """Print all tables."""
    data = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    for name, arms in sorted(collected(Path(sys.argv[1])).items()):
        if "dnn" in arms:
            table(name, arms, data)


if __name__ == "__main__":
    main()
