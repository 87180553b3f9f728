"""Compare finished runs: one table of arms, and which of their differences are significant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.analysis.statistics import (
    Difference,
    Gaps,
    TestRows,
    Uplift,
    difference_of,
    gaps,
    relative_improvement,
    together,
    uplift,
)
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.findings.finding import few_caption
from adasparse_cli.findings.wording import counted, mean_or_none, none_if_nan
from adasparse_cli.metrics import grouped_auc, log_loss
from adasparse_cli.prepared.key import joined_keys
from adasparse_cli.runs.run_tables import read_domain_rows, read_predictions
from adasparse_cli.runs.saved_run import DOMAINS, PREDICTIONS, REPORT, anew, read_report, run_file
from adasparse_cli.studies.arms import Arm, require_same_data
from adasparse_cli.studies.serving_rates import rates_of

COMPARED = ("gauc_domain", "auc", "log_loss")
KEY = ("source", "line", "domain", "label")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms with the same seeds on the same test rows, compared with a baseline arm.

    Args:
        reports: reports of the runs by arm, in the order of the seeds.
        rows: the test rows; None if a run has none, and for several worlds.
        logits: one array per seed, by arm, for arms with all seeds; empty for several worlds.
        differences: differences to the baseline, by metric and arm.
        uplifts: by arm.
        gaps: differences per seed and cluster from which `differences` are computed, by metric and arm.
        worlds: the comparison within each world; empty if there is one world.
    """

    arms: Sequence[Arm]
    baseline: str
    seeds: Sequence[int]
    cluster: str
    reports: Mapping[str, Sequence[Mapping[str, Any]]]
    rows: TestRows | None
    logits: Mapping[str, Sequence[np.ndarray]]
    differences: Mapping[str, Mapping[str, Difference]]
    uplifts: Mapping[str, Uplift | None]
    gaps: Mapping[str, Mapping[str, Gaps]] = field(default_factory=dict)
    worlds: Mapping[int, Comparison] = field(default_factory=dict)

    @property
    def has_test_rows(self) -> bool:
        """Whether every world has test rows."""
        return all(own.rows is not None for own in self.worlds.values() or [self])

    @property
    def data(self) -> Mapping[str, Any]:
        """The training data, from the reports."""
        return next(dict(found[0]["data"]) for found in self.reports.values() if found)

    def place(self, arm: str) -> int:
        """Index of an arm's style in all figures: 0 for the baseline, then 1, 2, … in the order of the arms; 1 for a single arm."""
        if len(self.arms) == 1:
            return 1
        return [self.baseline, *(own.name for own in self.arms if own.name != self.baseline)].index(arm)

    @property
    def caption(self) -> str:
        """Data, test rows and seeds on one line, for each world."""
        if self.worlds:
            return "; ".join(f"world {world}: {own.caption}" for world, own in self.worlds.items())
        rows = self.rows
        number = "no test rows" if rows is None else counted(len(rows.labels), "test row")
        clusters = "" if rows is None else f", {counted(len(np.unique(rows.clusters)), self.cluster)}"
        seeds = "seed " if len(self.seeds) == 1 else "seeds "
        few = few_caption({split: found for split in ("valid", "test") if (found := self.counts(split))})
        return (
            f"{self.data['name']}, data {self.data['fingerprint'][:12]}, {number}{clusters}, "
            f"{seeds}{', '.join(map(str, self.seeds))}{'; ' if few else ''}{few}"
        )

    def counts(self, split: str) -> Mapping[str, Any]:
        """Rows and positives of a split; of several worlds, the world with the fewest rows of one class counts."""

        def rarer(counts: Mapping[str, Any]) -> int:
            positives = int(counts.get("positives") or 0)
            return min(positives, int(counts.get("rows") or 0) - positives)

        return min((own.data["splits"].get(split) or {} for own in self.worlds.values() or [self]), key=rarer)

    def table(self) -> list[dict[str, Any]]:
        """One row per arm with plain values; None for values that are not available."""
        base, rates = self._mean(self.baseline, "auc", "test"), rates_of(self.reports)
        return [{**self._row(arm.name, base), **rates[arm.name].to_json()} for arm in self.arms]

    def why_no_interval(self, metric: str) -> str:
        """Why a difference has no interval: one seed, or one cluster of test rows that determines the metric."""
        if self.worlds:
            return next(own.why_no_interval(metric) for own in self.worlds.values())
        if len(self.seeds) == 1:
            return "one seed does not show the variation between seeds; use --seeds 3"
        assert self.rows is not None
        if len(np.unique(self.rows.clusters)) == 1:
            return f"all test rows are of one {self.cluster}"
        if metric == "gauc_domain":
            return f"only one {self.cluster} has rows in domains of both classes"
        return f"only one {self.cluster} has rows of the rarer class"

    def pruning(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """The sparsity sections of the reports, one per seed, by arm, for arms with pruned neurons or a target interval."""
        sparsity = {
            arm: [report["sparsity"] for report in reports if report.get("sparsity")]
            for arm, reports in self.reports.items()
        }
        return {
            arm: seeds
            for arm, seeds in sparsity.items()
            if seeds and (seeds[0]["interval"] or any(seeds[0].get("test", ())))
        }

    def sparsity(self) -> list[dict[str, Any]]:
        """One row per pruned arm and layer: the share of pruned neurons, mean and range over seeds."""
        rows = []
        for arm, seeds in self.pruning().items():
            interval = seeds[0]["interval"]
            for k, layer in enumerate(seeds[0]["layers"]):
                at_best = [100 * float(one["test"][k]) for one in seeds]
                at_end = [100 * float(one["at_end"][k]) for one in seeds if one["at_end"]]
                rows.append(
                    {
                        "arm": arm,
                        "layer": layer,
                        "requested interval": "none" if interval is None else f"{interval[0]:.0%} – {interval[1]:.0%}",
                        "end of training, %": float(np.mean(at_end)) if at_end else None,
                        "over seeds": f"{min(at_end):.1f} – {max(at_end):.1f}" if at_end else None,
                        "best checkpoint, test rows, %": float(np.mean(at_best)),
                        "over seeds ": f"{min(at_best):.1f} – {max(at_best):.1f}",
                    }
                )
        return rows

    def _row(self, arm: str, base_auc: float | None) -> dict[str, Any]:
        row: dict[str, Any] = {"arm": arm, "worlds": len(self.worlds) or 1}
        row["seeds"] = min(len(own.reports[arm]) for own in self.worlds.values() or [self])
        for metric in COMPARED:
            row[metric] = self._mean(arm, metric, "test")
            known = [value for value in self._values(arm, metric, "test") if value is not None]
            row[f"{metric}_sd"] = float(np.std(known, ddof=1)) if row[metric] is not None and len(known) > 1 else None
            # arms are chosen by the valid split, and judged on the test split
            row[f"valid_{metric}"] = self._mean(arm, metric, "valid")
            difference = self.differences[metric].get(arm)
            for name in ("difference", "low", "high", "p", "p_holm", "joint_low", "joint_high", "detectable"):
                row[f"{metric}_{name}"] = None if difference is None else none_if_nan(getattr(difference, name))
            for world, own in self.worlds.items():
                within = own.differences[metric].get(arm)
                row[f"{metric}_difference_world_{world}"] = None if within is None else none_if_nan(within.difference)
            has_p = difference is not None and row[f"{metric}_p_holm"] is not None
            row[f"{metric}_real"] = difference.is_real if difference is not None and has_p else None
        better = self.uplifts.get(arm)
        row["uplift_domains"] = None if better is None else better.domains
        row["uplift_rows"] = None if better is None else better.rows
        row["uplift_ties"] = None if better is None else better.ties
        both = base_auc is not None and row["auc"] is not None and arm != self.baseline
        row["relative_improvement"] = relative_improvement(row["auc"], base_auc or 0.0) if both else None
        cost = self.reports[arm][0]["cost"] if self.reports[arm] else None
        row["multiply_adds"] = None if cost is None else cost["backbone_multiply_adds"] + cost["domain_multiply_adds"]
        row["parameters"] = None if cost is None else cost["backbone_parameters"] + cost["domain_parameters"]
        row["seconds"] = mean_or_none([report["timings"]["elapsed_seconds"] for report in self.reports[arm]])
        return row

    def _values(self, arm: str, metric: str, split: str) -> list[float | None]:
        return [report["metrics"].get(split, {}).get(metric) for report in self.reports[arm]]

    def _mean(self, arm: str, metric: str, split: str) -> float | None:
        return mean_or_none(self._values(arm, metric, split))


def compare_arms(arms: Sequence[Arm], *, baseline: str, cluster: str = "domain") -> Comparison:
    """Compare arms with a baseline arm.

    Args:
        cluster: `domain` or `user`, the clusters of test rows for intervals.

    Raises:
        UsageError: the baseline is not an arm.
        DataError: no run exists, arms are of different data, or the data have no users but `cluster` is `user`.
        IntegrityError: predictions are of different rows.
    """
    if baseline not in [arm.name for arm in arms]:
        raise UsageError(
            f"the baseline {baseline!r} is not an arm", hint=f"the arms are {', '.join(a.name for a in arms)}"
        )
    reports = {arm.name: [read_report(folder) for folder in arm.folders.values()] for arm in arms}
    if not any(reports.values()):
        raise DataError("no run is finished", hint="run the study again; it reports why runs fail")
    require_same_data(reports)
    of_runs = {
        folder: report for arm in arms for folder, report in zip(arm.folders.values(), reports[arm.name], strict=True)
    }
    rows, logits = _predictions([arm for arm in arms if arm.whole], of_runs, cluster)
    judged = rows is not None and baseline in logits
    found = {
        metric: gaps(metric, rows, logits, baseline=baseline) if judged and rows is not None else {}
        for metric in COMPARED
    }
    uplifts = {
        name: uplift(rows, own, logits[baseline])
        for name, own in logits.items()
        if judged and rows is not None and name != baseline
    }
    return Comparison(
        arms=arms,
        baseline=baseline,
        seeds=[int(seed) for seed in arms[0].runs],
        cluster=cluster,
        reports=reports,
        rows=rows,
        logits=logits,
        differences={
            metric: together({arm: difference_of(gap) for arm, gap in own.items()}) for metric, own in found.items()
        },
        uplifts=uplifts,
        gaps=found,
    )


def domain_table(comparison: Comparison) -> pl.DataFrame:
    """One row per domain: id, key, training rows, test rows, positives, and the mean AUC over seeds of each arm."""
    folders = {arm.name: list(arm.folders.values()) for arm in comparison.arms}
    first = next((runs[0] for runs in folders.values() if runs), None)
    assert first is not None
    table = read_domain_rows(run_file(first, DOMAINS))
    keys = table.columns[1 : table.columns.index("train_rows")]
    name = joined_keys([pl.col(key) for key in keys])
    table = table.select("domain", name.alias("name"), "train_rows", "test_rows", "test_positives")
    rows = comparison.rows
    if rows is None:
        return table
    for arm, seeds in comparison.logits.items():
        auc = np.mean([grouped_auc(rows.labels, logits, rows.domains, table.height).auc for logits in seeds], axis=0)
        table = table.with_columns(pl.Series(f"AUC {arm}", auc).fill_nan(None))
    return table


def _require_scored(folder: Path, computed: float | None, reported: float | None) -> None:
    """Refuse predictions and a report of different weights."""
    if computed is None or reported is None or not math.isclose(computed, reported, rel_tol=1e-6):
        raise IntegrityError(
            f"the log loss of {folder / PREDICTIONS} is {computed}, but {REPORT} reports {reported}",
            hint=f"one of the two files was replaced; {anew(folder)}",
        )


def row_clusters(ids: np.ndarray) -> np.ndarray:
    """The clusters of rows. A row without a user is a separate cluster."""
    separate = np.arange(len(ids)) + ids.max(initial=0) + 1
    return np.where(ids < 0, separate, ids)


def _predictions(
    arms: Sequence[Arm], reports: Mapping[Path, Mapping[str, Any]], cluster: str
) -> tuple[TestRows | None, dict[str, list[np.ndarray]]]:
    """The test rows and the logits of each arm and seed, checked to be of the same rows."""
    test: TestRows | None = None
    key: pl.DataFrame | None = None
    logits: dict[str, list[np.ndarray]] = {}
    for arm in arms:
        logits[arm.name] = []
        for folder in arm.folders.values():
            report = reports[folder]
            if not report["data"]["splits"].get("test", {}).get("rows"):
                return None, {}
            path, frame = folder / PREDICTIONS, read_predictions(folder)
            if key is None or test is None:
                if cluster not in frame.columns:
                    raise DataError(f"the test rows have no {cluster}", hint="use --cluster domain")
                key = frame.select(KEY)
                test = TestRows(
                    labels=frame["label"].to_numpy(),
                    domains=frame["domain"].to_numpy().astype(np.int64),
                    clusters=row_clusters(frame[cluster].to_numpy().astype(np.int64)),
                )
            elif not frame.select(KEY).equals(key):
                raise IntegrityError(
                    f"{path} has other rows, labels or domains than the first run",
                    hint=f"the file is damaged or was replaced; {anew(folder)}",
                )
            scores = frame["logit"].to_numpy()
            _require_scored(folder, log_loss(test.labels, scores), report["metrics"].get("test", {}).get("log_loss"))
            logits[arm.name].append(scores)
    return test, logits
