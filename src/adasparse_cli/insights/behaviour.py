"""Training curves, use of the domain context, and settings of the arms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adasparse_cli.errors import IntegrityError
from adasparse_cli.findings.figures import series
from adasparse_cli.findings.finding import Figure, Finding, Table
from adasparse_cli.runs import json_types
from adasparse_cli.runs.saved_run import METRICS, anew, has_file, run_file
from adasparse_cli.studies.arms import differing_settings, spelled
from adasparse_cli.studies.comparison import Comparison
from adasparse_cli.typed import flat, require_types

NEGLIGIBLE = 0.02  # share of variance below which a part hardly uses the domain
MOST_MARKS = 8  # per curve
MOST_ROWS = 12  # of a table that is not folded


def curves_finding(comparison: Comparison) -> Finding | None:
    """Logged loss and valid AUC, mean over seeds, one line per arm."""
    losses: list[dict[str, Any]] = []
    aucs: list[dict[str, Any]] = []
    for arm in comparison.arms:
        runs = [list(_lines(folder)) for folder in arm.folders.values()]
        for kind, name, traces in (("train", "loss", losses), ("valid", "auc", aucs)):
            steps, values = _mean_over_seeds(runs, kind, name)
            if kind == "train":
                steps, values = evened(steps, values)
            if steps:
                traces.append(series(comparison.place(arm.name), arm.name, steps, values, marks=MOST_MARKS))
    figures = [
        Figure(
            name=name,
            title=title,
            summary=f"{title}, mean over seeds, at each logged step.",
            traces=traces,
            layout={"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": unit}}},
        )
        for name, title, unit, traces in (
            ("valid", "AUC on the valid split", "AUC", aucs),
            ("loss", "Training loss", "mean cross-entropy", losses),
        )
        if traces
    ]
    if not figures:
        return None
    return Finding(name="curves", title="Training", question="How did training proceed?", figures=figures)


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    """The logged lines of a run. An incomplete last line, for example after a power cut, is skipped.

    Raises:
        IntegrityError: another line is damaged.
    """
    if not has_file(folder, METRICS):
        return
    path = run_file(folder, METRICS)
    lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            known = {"kind", "step"} <= found.keys()
        except (ValueError, AttributeError):
            known = False
        if known:
            require_types(found, json_types.Line, f"{path}:{number}", hint=anew(folder))
            yield found
        elif number < len(lines):
            raise IntegrityError(f"{path}:{number} is damaged", hint=anew(folder))


def _mean_over_seeds(
    runs: Sequence[Sequence[Mapping[str, Any]]], kind: str, name: str
) -> tuple[list[int], list[float]]:
    """The steps that every run logged, and the mean at each."""
    found = [{line["step"]: line.get(name) for line in run if line["kind"] == kind} for run in runs]
    if not found:
        return [], []
    steps = [step for step in found[0] if all(own.get(step) is not None for own in found)]
    return steps, [float(np.mean([own[step] for own in found])) for step in steps]


def evened(steps: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Means over the steps since the last point, with short intervals merged into the previous one.

    A line is also logged before each validation. It covers few steps, so its mean has a high variance.
    """
    found: list[tuple[int, float, int]] = []  # step, mean, number of steps
    gaps = np.diff([0, *steps])
    for step, value, gap in zip(steps, values, gaps, strict=True):
        if found and gap < np.median(gaps) / 2:
            _, before, number = found.pop()
            found.append((step, (before * number + value * gap) / (number + gap), number + gap))
        else:
            found.append((step, value, gap))
    return [step for step, _, _ in found], [float(value) for _, value, _ in found]


def context_finding(comparison: Comparison) -> Finding | None:
    """How much each part of each arm uses the domain; None if no report records it."""
    shares = {
        arm: [found for one in reports if (found := one.get("context_shares"))]
        for arm, reports in comparison.reports.items()
    }
    rows = [row for arm, found in shares.items() if found for row in _share_rows(arm, found)]
    if not rows:
        return None
    low = sorted({row["arm"] for row in rows if row["follows the domain, %"] < 100 * NEGLIGIBLE})
    answer = (
        f"Some parts of {', '.join(low)} hardly use the domain: less than {NEGLIGIBLE:.0%} of their variance follows it."
        if low
        else f"Every part that reads the domain follows it with at least {NEGLIGIBLE:.0%} of its variance."
    )
    return Finding(
        name="context",
        title="Use of the domain",
        question="Do the parts that read the domain context use it?",
        answers=(answer,),
        tables=[
            Table(
                name="shares",
                title="Share of the variance that follows the domain context",
                rows=rows,
                folded=len(rows) > MOST_ROWS,
                caption="Best checkpoint, valid rows: half the mean squared change of a part's output when the row receives "
                "another row's domain, over the output's variance. 100 % for a part that reads the domain alone.",
            )
        ],
    )


def _share_rows(arm: str, found: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    parts = dict.fromkeys(part for one in found for part in one)
    return [
        {
            "arm": arm,
            "part": part,
            "follows the domain, %": 100 * float(np.mean(own)),
            **({"over seeds": f"{100 * min(own):.1f} – {100 * max(own):.1f}"} if len(found) > 1 else {}),
        }
        for part in parts
        if (own := [one[part] for one in found if part in one])
    ]


def settings_finding(comparison: Comparison) -> Finding:
    """The settings that were chosen to differ between arms, and all settings."""
    own = {arm: flat(found[0]["settings"]) for arm, found in comparison.reports.items() if found}
    keys = list(dict.fromkeys(key for settings in own.values() for key in settings))
    every = [
        {"setting": key, **{arm: spelled(settings[key]) if key in settings else "–" for arm, settings in own.items()}}
        for key in keys
    ]
    differing = differing_settings(comparison.reports)
    several = len(own) > 1
    return Finding(
        name="settings",
        title="Settings",
        question="In which settings do the arms differ?" if several else "",
        answers=("The arms have equal settings.",) if several and not differing else (),
        tables=[
            Table(
                name="differing",
                title="Settings that differ",
                rows=differing,
                caption="Settings of a model are compared between arms of that model. – marks a setting that the arm does not have.",
            ),
            Table(name="every", title=f"All {len(every)} settings", rows=every, long=True),
        ],
    )
