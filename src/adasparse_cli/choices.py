"""The closed sets and ranges of settings, and suggestions for misspelled words. Floor 0: imports nothing of the project.

A setting with a closed set of values is a `StrEnum` whose members are spelled as in YAML and on the
command line. A number with a range is `Annotated[float, Between(0, 1)]`, the name of a folder `Annotated[str, PlainName()]`;
`typed.py` checks all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

LONGEST_NAME = 100
# Smallest similarity (0 to 1, `difflib`) of a name that is suggested: at 0.5, `nope` suggests `ple`.
ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Between:
    """A closed range of a number: `low` ≤ value ≤ `high`; None means no limit.

    With `exclusive`, the limits are not part of the range.
    """

    low: float | None = None
    high: float | None = None
    exclusive: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` is in the range (NaN never is)."""
        if self.exclusive:
            return (self.low is None or value > self.low) and (self.high is None or value < self.high)
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        left = "" if self.low is None else f"{'more than' if self.exclusive else 'at least'} {_figure(self.low)}"
        right = "" if self.high is None else f"{'less than' if self.exclusive else 'at most'} {_figure(self.high)}"
        return " and ".join(part for part in (left, right) if part) or "any number"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e6 else f"{value:g}"


@dataclass(frozen=True, slots=True)
class PlainName:
    """A text that can name a folder: it stays below its parent folder and needs no quotes in a shell."""

    def holds(self, value: str) -> bool:
        """Whether `value` is such a name."""
        return len(value) <= LONGEST_NAME and re.fullmatch(r"\w[\w.+-]*", value) is not None

    def __str__(self) -> str:
        return "a name of letters, digits, '_', '.', '+' and '-' that starts with a letter or a digit"


class Mode(StrEnum):
    """The three modes that convert a pruner's output to weight factors in AdaSparse."""

    binarization = "binarization"
    scaling = "scaling"
    fusion = "fusion"


class FieldRole(StrEnum):
    """The role of a column."""

    domain_aware = "domain_aware"
    domain_agnostic = "domain_agnostic"
    label = "label"
    timestamp = "timestamp"
    user = "user"
    ignored = "ignored"


class FieldKind(StrEnum):
    """How a feature column is encoded."""

    categorical = "categorical"
    multi_valued = "multi_valued"
    numeric = "numeric"


class Split(StrEnum):
    """The parts of prepared data; `unlabelled` has the rows of files without a label."""

    train = "train"
    valid = "valid"
    test = "test"
    unlabelled = "unlabelled"


class SplitRule(StrEnum):
    """How rows are assigned to splits: by day (needs a timestamp), by a seeded hash of the row, or by the file that they are in."""

    day = "day"
    random = "random"
    given = "given"


class PrepEngine(StrEnum):
    """Where preparation runs: in this process, or on Spark."""

    local = "local"
    spark = "spark"


class Spelling(StrEnum):
    """Which texts of a field are the same value.

    `as_written`: equal texts only. `numbers`: also 22 and 22.0, and True, TRUE and true. `stripped`: also texts that differ
    in outer spaces. `lower_case`: also texts that differ in case.
    """

    as_written = "as_written"
    numbers = "numbers"
    stripped = "stripped"
    lower_case = "lower_case"


class Encoding(StrEnum):
    """The character encoding of a text file. `latin-1` reads any bytes."""

    utf_8 = "utf-8"
    latin_1 = "latin-1"


class TimeUnit(StrEnum):
    """Unit of timestamps that are numbers since 1970.

    `auto`: inferred from the column's median. `s_or_ms`: per value, milliseconds from 10^11 on, otherwise seconds: the rule
    for data that were prepared before this setting.
    """

    auto = "auto"
    s = "s"
    ms = "ms"
    us = "us"
    ns = "ns"
    s_or_ms = "s_or_ms"


class DuplicateRule(StrEnum):
    """What happens to the second and later copies of an exactly equal row; they are counted in any case."""

    keep = "keep"
    drop = "drop"


class MatmulPrecision(StrEnum):
    """Precision of the matrix products in a training step, with torch's names: fp32, TF32, or bf16 (on a GPU possibly TF32)."""

    highest = "highest"
    high = "high"
    medium = "medium"


class EpochsRule(StrEnum):
    """How the number of epochs is determined."""

    auto = "auto"


class RowSteps(StrEnum):
    """The steps counted in Adam's bias correction for a table row: all steps of training, or the steps that used the row."""

    all = "all"
    own = "own"


class RowSource(StrEnum):
    """Where the rows of a split are during training: in memory, on disk, or chosen by their size."""

    memory = "memory"
    stream = "stream"
    auto = "auto"


class PrunerInput(StrEnum):
    """The input of a pruner."""

    hidden = "hidden"
    domain = "domain"


class SharpnessRule(StrEnum):
    """How the sharpness α of AdaSparse changes: on a schedule, or as a trained parameter."""

    scheduled = "scheduled"
    learnable = "learnable"


class ThresholdRule(StrEnum):
    """Whether the threshold ε of AdaSparse is a constant or a trained parameter."""

    fixed = "fixed"
    learnable = "learnable"


class PenaltyUnit(StrEnum):
    """The unit of the sparsity that the regulariser controls: each row of a batch, or each distinct domain in it."""

    row = "row"
    domain = "domain"


class Backbone(StrEnum):
    """The network that AdaSparse prunes: fully connected, or DCNv2, which adds a cross network."""

    mlp = "mlp"
    dcnv2 = "dcnv2"


class ApgVersion(StrEnum):
    """The versions of APG: full matrices, shared outer factors, or over-parameterised outer factors."""

    v1 = "v1"
    v4 = "v4"
    v5 = "v5"


class ApgCondition(StrEnum):
    """The input of APG's weight generator: the row's domain, the layer's input, or both."""

    group = "group"
    self = "self"
    mix = "mix"


class Crosses(StrEnum):
    """The products of ids that have weights in the logistic regression."""

    none = "none"
    domain = "domain"


class Activation(StrEnum):
    """The non-linearity after each hidden layer."""

    relu = "relu"
    leaky_relu = "leaky_relu"
    gelu = "gelu"
    silu = "silu"


class Normalisation(StrEnum):
    """The normalisation between a hidden layer's product and its activation."""

    none = "none"
    batch = "batch"
    layer = "layer"


class ContextNormalisation(StrEnum):
    """Whether the domain context is normalised over its numbers before it is read."""

    none = "none"
    layer = "layer"


class Pooling(StrEnum):
    """How the embeddings of a multi-valued field become one."""

    mean = "mean"
    sum = "sum"


class Metric(StrEnum):
    """Metrics that can select the best checkpoint."""

    auc = "auc"
    log_loss = "log_loss"
    gauc_domain = "gauc_domain"


class TrackerName(StrEnum):
    """A tracker that receives metrics in addition to the run's files."""

    none = "none"
    tensorboard = "tensorboard"
    mlflow = "mlflow"


class TwinProfile(StrEnum):
    """The round of the contest that the synthetic twin follows in its days, rates by day and missing shares."""

    round1 = "round1"
    round2 = "round2"


class TwinTastes(StrEnum):
    """How the tastes of the synthetic twin's 12 groups depend on gender, age and star.

    `joint`: each group has independent tastes. `additive`: the taste is a sum of a gender, an age and a star term.
    """

    joint = "joint"
    additive = "additive"


class ScoresFormat(StrEnum):
    """The file format of scores."""

    csv = "csv"
    parquet = "parquet"
    ndjson = "ndjson"


class RunOrder(StrEnum):
    """How lists of runs are sorted: newest last, by name, or best metric first."""

    time = "time"
    data = "data"
    model = "model"
    study = "study"
    auc = "auc"
    gauc = "gauc"
    log_loss = "log_loss"


def nearest(word: str, known: Iterable[str], *, alike: float = ALIKE) -> str | None:
    """The known word most similar to `word`, if the similarity is at least `alike` (0 to 1)."""
    names = list(known)
    # `gauc` is similar to `auc` and `gauc_domain`, and means the latter
    whole = [name for name in names if word in name.split("_")]
    found = whole if len(whole) == 1 else difflib.get_close_matches(word, names, n=1, cutoff=alike)
    return found[0] if found else None


def nearest_names(word: str, known: Sequence[str]) -> str:
    """The known names most similar to `word`, the most similar first; the first few names if none is similar."""
    return ", ".join(difflib.get_close_matches(word, known, n=2, cutoff=ALIKE) or list(known)[:8])
