"""Types of the JSON files of runs and studies, so that readers report a value of the wrong type.

No key is required here, because files of earlier versions lack some. Readers handle missing keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

Numbers = Mapping[str, float | None]


class Counts(TypedDict, total=False):
    """Rows of a split."""

    rows: int
    positives: int | None


class DataOfRun(TypedDict, total=False):
    """The data that a run was trained on."""

    name: str
    words: str
    fingerprint: str
    label: str
    domain: Sequence[str]
    num_domains: int
    splits: Mapping[str, Counts]


class Named(TypedDict, total=False):
    """A section of settings with a name."""

    name: str


class SettingsOfRun(TypedDict, total=False):
    """Sections of a run's settings."""

    model: Named
    network: Mapping[str, Any]
    loop: Named


class Sparsity(TypedDict, total=False):
    """Shares of pruned neurons by layer."""

    layers: Sequence[str]
    widths: Sequence[Sequence[int]]
    interval: Sequence[float] | None
    at_end: Sequence[float] | None
    valid: Sequence[float]
    test: Sequence[float]


class Serving(TypedDict, total=False):
    """Rates of serving in rows per second of processor time, medians over rounds; None if the model has no sub-networks.

    Args:
        rows, conditions: of the rows that were scored. engine: of the uncut model.
        sub_network_multiply_adds: per row, mean over the rows.
    """

    engine: str
    rows: int
    conditions: int
    rounds: int
    yardstick: float
    uncut: float
    sub_networks: float | None
    sub_network_multiply_adds: float | None


class Timings(TypedDict, total=False):
    """Durations and rates."""

    elapsed_seconds: float | None
    rows_per_second: float | None
    serving: Serving | None


class Report(TypedDict, total=False):
    """report.json."""

    run: str
    data: DataOfRun
    model: str
    mode: str | None
    seed: int
    settings: SettingsOfRun
    cost: Mapping[str, int]
    steps: int
    best_step: int
    stopped_early: bool
    metrics: Mapping[str, Numbers]
    sparsity: Sparsity | None
    context_shares: Mapping[str, float] | None
    timings: Timings


class Line(TypedDict, total=False):
    """A line of metrics.jsonl."""

    kind: str
    step: int
    best: bool
    loss: float
    penalty: float
    learning_rate: float
    sparsity: Sequence[float] | None
    auc: float | None
    log_loss: float | None
    gauc_domain: float | None
    gauc_domain_unweighted: float | None
    gauc_user: float | None
    calibration: float | None
    calibration_error: float | None


class Sitting(TypedDict, total=False):
    """Environment of one sitting: one process that worked on a run from start or resume to end."""

    started: str
    command: str
    device: str
    threads: int
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    git_commit: str | None
    git_changed: bool | None


class Environment(TypedDict, total=False):
    """environment.json."""

    config_sha256: str
    data_fingerprint: str
    sittings: Sequence[Sitting]


class Done(TypedDict):
    """DONE."""

    files: Mapping[str, str]


class ArmOfStudy(TypedDict, total=False):
    """An arm and its runs."""

    name: str
    words: Sequence[str]
    runs: Mapping[str, str | None]


class Study(TypedDict, total=False):
    """study.json."""

    name: str
    title: str
    question: str
    baseline: str
    data: Mapping[str, str]
    worlds: Mapping[str, Mapping[str, str]]
    arms: Sequence[ArmOfStudy]
    failed: Mapping[str, str]
    files: Mapping[str, str]
