"""How fast the arms of a comparison train and serve, in rates that can be compared although each run was measured at another time."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adasparse_cli.findings.wording import mean_or_none


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of an arm in rows per second, mean over its runs; None if a run has none, as runs of earlier versions.

    Args:
        training: of whole runs, with their threads and whatever else the machine did.
        uncut, sub_networks: of serving by one thread, see `runs.serving_speed`. engine: of the uncut model.
        multiply_adds: of the sub-networks, per row.
    """

    training: float | None
    uncut: float | None
    sub_networks: float | None
    engine: str | None
    multiply_adds: float | None

    def to_json(self) -> dict[str, float | str | None]:
        """The rates as part of a study's table."""
        return {
            "training_rows_per_second": self.training,
            "serving_rows_per_second": self.uncut,
            "serving_engine": self.engine,
            "sub_network_rows_per_second": self.sub_networks,
            "sub_network_multiply_adds": self.multiply_adds,
        }


def rates_of(reports: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Rates]:
    """The rates of each arm, from the reports of its runs.

    Each rate of serving is multiplied by (the median yardstick of all runs) / (the yardstick of its run), which takes out that the
    machine was slower in one run than in another.
    """
    serving = {arm: [_serving(one) for one in own] for arm, own in reports.items()}
    known = [one["yardstick"] for own in serving.values() for one in own if one]
    usual = statistics.median(known) if known else 0.0

    def rate(own: Sequence[Mapping[str, Any]], name: str) -> float | None:
        values = [one[name] * usual / one["yardstick"] if one.get(name) else None for one in own]
        return mean_or_none(values)

    return {
        arm: Rates(
            training=mean_or_none([one["timings"].get("rows_per_second") for one in reports[arm]]),
            uncut=rate(own, "uncut"),
            sub_networks=rate(own, "sub_networks"),
            engine=next((str(one["engine"]) for one in own if one), None),
            multiply_adds=mean_or_none([one.get("sub_network_multiply_adds") for one in own]),
        )
        for arm, own in serving.items()
    }


def _serving(report: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = report["timings"].get("serving") or {}
    return found
