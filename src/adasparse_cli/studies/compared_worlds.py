"""A comparison over several worlds: arms are paired within each world and seed, and worlds are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from adasparse_cli.analysis.statistics import Uplift, over_worlds, together
from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.comparison import COMPARED, Comparison, compare_arms


def compare_worlds(worlds: Mapping[int, Sequence[Arm]], *, baseline: str, cluster: str = "domain") -> Comparison:
    """Compare arms over several worlds.

    Args:
        worlds: the arms of each world, in the same order and with the same seeds.

    Raises:
        UsageError, DataError, IntegrityError: as `compare_arms`, for the first world that cannot be compared.
    """
    each = {world: compare_arms(arms, baseline=baseline, cluster=cluster) for world, arms in worlds.items()}
    first = next(iter(each.values()))
    names = [arm.name for arm in first.arms]
    judged = {
        metric: {
            name: [own.gaps[metric][name] for own in each.values()]
            for name in names
            if all(name in own.gaps[metric] for own in each.values())
        }
        for metric in COMPARED
    }
    return Comparison(
        arms=[
            Arm(
                name=name,
                runs={
                    f"{world}/{seed}": folder
                    for world, arms in worlds.items()
                    for seed, folder in next(arm for arm in arms if arm.name == name).runs.items()
                },
            )
            for name in names
        ],
        baseline=baseline,
        seeds=first.seeds,
        cluster=cluster,
        reports={name: [report for own in each.values() for report in own.reports[name]] for name in names},
        rows=None,
        logits={},
        differences={
            metric: together({name: over_worlds(found) for name, found in own.items()})
            for metric, own in judged.items()
        },
        uplifts={name: _mean_uplift([own.uplifts.get(name) for own in each.values()]) for name in names},
        worlds=each,
    )


def _mean_uplift(found: Sequence[Uplift | None]) -> Uplift | None:
    """The mean over worlds; None if a world has none."""
    known = [own for own in found if own is not None]
    if len(known) < len(found):
        return None
    return Uplift(
        **{name: float(np.mean([getattr(own, name) for own in known])) for name in ("domains", "rows", "ties")}
    )
