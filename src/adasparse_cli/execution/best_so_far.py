"""The line that reports a finished run of a study: its metric on the valid split, and the best value so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adasparse_cli.choices import Metric
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.prep.recipe import Progress


@dataclass
class BestSoFar:
    """The best run or trial by a metric of the valid split.

    Args:
        comparable: whether the values of different runs can be compared. If not, no best value is reported.
        among: the runs that are compared, such as the runs of one model; empty for all runs.
    """

    metric: Metric
    comparable: bool = True
    among: str = ""
    name: str = field(default="", init=False)
    value: float | None = field(default=None, init=False)

    def line(self, name: str, value: float | None, *, width: int = 0) -> str:
        """Add a finished run, and report it on one line.

        Args:
            name: name of the run, such as `fusion, seed 1`.
            value: its metric; None if it is not available.
            width: width to which the name is padded, so that lines align.
        """
        self.add(name, value)
        shown = "n/a" if value is None else f"{value:.4f}"
        result = f"{name:<{width}}  valid {self.metric} {shown}"
        if not self.comparable or self.value is None:
            return result
        return f"{result}  best so far {self.value:.4f}" + ("" if self.name == name else f" ({self.name})")

    def report(
        self,
        progress: Progress,
        name: str,
        value: float | None,
        *,
        arm: str,
        seed: int | None,
        setting: str = "",
        after: str = "",
        width: int = 0,
    ) -> None:
        """Add a finished run, and report it as a row and as a line.

        Args:
            arm: arm of the run, or the trial.
            seed: seed of the run; None for the mean of a trial over its seeds.
            setting: setting that a search tries.
            after: text at the end of the line.
            name: as in `line`. value: as in `line`. width: as in `line`.
        """
        line = self.line(name, value, width=width)
        best = "n/a" if self.value is None else f"{self.value:.4f}"
        row = {
            "arm": arm,
            **({"setting": setting} if setting else {}),
            "seed": "mean" if seed is None else seed,
            f"valid {self.metric}": "n/a" if value is None else f"{value:.4f}",
            **({"best so far": best} if self.comparable else {}),
        }
        progress.finished(row, f"{line}{after}", best=self.comparable and self.name == name, among=self.among)

    def add(self, name: str, value: float | None) -> None:
        """Add a finished run."""
        sign = -1.0 if self.metric is Metric.log_loss else 1.0
        if value is not None and (self.value is None or sign * value > sign * self.value):
            self.name, self.value = name, value


# Of all runs of a study, or by arm of a search.
Best = BestSoFar | Mapping[str, BestSoFar]


def report_run(
    best: Best, progress: Progress, run: NamedRun, metrics: Mapping[str, float | None], *, after: str, width: int
) -> None:
    """Report a finished run as `BestSoFar.report` does.

    Args:
        metrics: its metrics on the valid split.
    """
    own = best if isinstance(best, BestSoFar) else best[run.arm]
    value = metrics.get(own.metric)
    own.report(progress, run.name, value, arm=run.arm, seed=run.job.seed, setting=run.setting, after=after, width=width)


def valid_metric(report: Mapping[str, Any], metric: Metric) -> float | None:
    """A metric of the valid split from a run's report; None if it is not available."""
    value = report["metrics"].get("valid", {}).get(metric)
    return None if value is None else float(value)
