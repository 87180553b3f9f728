"""The closed sets and the ranges that settings may take, and the right word for a wrong one. Floor 0: imports nothing of the project.

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


@dataclass(frozen=True, slots=True)
class Between:
    """A closed range of a number: `low` ≤ value ≤ `high`; None leaves a side open.

    `exclusive` takes the bounds themselves out of the range.
    """

    low: float | None = None
    high: float | None = None
    exclusive: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the range (NaN never does)."""
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
    """A text that names a folder of ours: it stays below its parent, and can be typed without quotes."""

    def holds(self, value: str) -> bool:
        """Whether `value` is such a name."""
        return len(value) <= LONGEST_NAME and re.fullmatch(r"\w[\w.+-]*", value) is not None

    def __str__(self) -> str:
        return "a name of letters, digits, '_', '.', '+' and '-' that starts with a letter or a digit"


class Mode(StrEnum):
    """The three ways AdaSparse turns a pruner's output into weight factors."""

    binarization = "binarization"
    scaling = "scaling"
    fusion = "fusion"


class FieldRole(StrEnum):
    """What a column is for."""

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
    """The parts of prepared data; `unlabelled` holds rows of files without a label."""

    train = "train"
    valid = "valid"
    test = "test"
    unlabelled = "unlabelled"


class SplitRule(StrEnum):
    """How rows are given to the splits: by day (needs a timestamp) or by a seeded hash of the row."""

    day = "day"
    random = "random"


class Spelling(StrEnum):
    """Which texts of a field are one value.

    `as_written`: equal texts only. `numbers`: also 22 and 22.0, and True, TRUE and true. `stripped`: also texts that differ
    in outer spaces. `lower_case`: also texts that differ in case.
    """

    as_written = "as_written"
    numbers = "numbers"
    stripped = "stripped"
    lower_case = "lower_case"


class Encoding(StrEnum):
    """How a text file's characters are written. `latin-1` reads any bytes."""

    utf_8 = "utf-8"
    latin_1 = "latin-1"


class TimeUnit(StrEnum):
    """Unit of times that are numbers since 1970.

    `auto`: found from the column's median. `s_or_ms`: seconds, or milliseconds from 10^11 on, value by value: the rule
    of data that were prepared before this setting.
    """

    auto = "auto"
    s = "s"
    ms = "ms"
    us = "us"
    ns = "ns"
    s_or_ms = "s_or_ms"


class DuplicateRule(StrEnum):
    """What happens to the second and later copies of an exactly equal row; they are counted either way."""

    keep = "keep"
    drop = "drop"


class MatmulPrecision(StrEnum):
    """How exact the matrix products of a training step are, in torch's words: fp32, TF32, or bf16 (on a GPU perhaps TF32)."""

    highest = "highest"
    high = "high"
    medium = "medium"


class EpochsRule(StrEnum):
    """How the number of epochs is found."""

    auto = "auto"


class RowSteps(StrEnum):
    """Which steps count in Adam's bias correction for a row of a table: all of training, or those that used the row."""

    all = "all"
    own = "own"


class RowSource(StrEnum):
    """Where the rows of a split are while a model is trained: all in memory, on disk, or what their size asks for."""

    memory = "memory"
    stream = "stream"
    auto = "auto"


class PrunerInput(StrEnum):
    """What a pruner looks at."""

    hidden = "hidden"
    domain = "domain"


class SharpnessRule(StrEnum):
    """How the sharpness α of AdaSparse moves: on a schedule, or as a trained parameter."""

    scheduled = "scheduled"
    learnable = "learnable"


class ThresholdRule(StrEnum):
    """Whether the threshold ε of AdaSparse is a constant or a trained parameter."""

    fixed = "fixed"
    learnable = "learnable"


class PenaltyUnit(StrEnum):
    """What counts once in the sparsity that the regulariser holds: each row of a batch, or each distinct domain in it."""

    row = "row"
    domain = "domain"


class Backbone(StrEnum):
    """The network that AdaSparse prunes: fully connected, or DCNv2's, with a cross network beside it."""

    mlp = "mlp"
    dcnv2 = "dcnv2"


class ApgVersion(StrEnum):
    """Which of APG's forms: whole matrices, shared outer factors, or those over-parameterised."""

    v1 = "v1"
    v4 = "v4"
    v5 = "v5"


class ApgCondition(StrEnum):
    """What APG generates weights from: the row's domain, the layer's input, or both."""

    group = "group"
    self = "self"
    mix = "mix"


class Crosses(StrEnum):
    """Which products of ids a logistic regression has a weight for."""

    none = "none"
    domain = "domain"


class Activation(StrEnum):
    """The non-linearity after each hidden layer."""

    relu = "relu"
    leaky_relu = "leaky_relu"
    gelu = "gelu"
    silu = "silu"


class Normalisation(StrEnum):
    """What stands between a hidden layer's product and its activation."""

    none = "none"
    batch = "batch"
    layer = "layer"


class ContextNormalisation(StrEnum):
    """Whether the domain context is normalised over its own numbers before anything reads it."""

    none = "none"
    layer = "layer"


class Pooling(StrEnum):
    """How the embeddings of a multi-valued field become one."""

    mean = "mean"
    sum = "sum"


class Metric(StrEnum):
    """Metrics that can choose the best checkpoint."""

    auc = "auc"
    log_loss = "log_loss"
    gauc_domain = "gauc_domain"


class TrackerName(StrEnum):
    """Where metrics go beside the run's own files."""

    none = "none"
    tensorboard = "tensorboard"
    mlflow = "mlflow"


class TwinProfile(StrEnum):
    """Which round of the contest the synthetic twin follows in its days, rates by day and missing shares."""

    round1 = "round1"
    round2 = "round2"


class TwinTastes(StrEnum):
    """How the tastes of the synthetic twin's 12 groups follow from gender, age and star.

    `joint`: each group has its own taste. `additive`: the taste is a sum of one part each for gender, age and star.
    """

    joint = "joint"
    additive = "additive"


class ScoresFormat(StrEnum):
    """How scores are written."""

    csv = "csv"
    parquet = "parquet"
    ndjson = "ndjson"


class RunOrder(StrEnum):
    """What runs are listed by: the newest last, names in their order, the best metric first."""

    time = "time"
    data = "data"
    model = "model"
    study = "study"
    auc = "auc"
    gauc = "gauc"
    log_loss = "log_loss"


def nearest(word: str, known: Iterable[str], *, alike: float = 0.5) -> str | None:
    """The known word most like `word`, if one is at least so much alike (0 to 1)."""
    names = list(known)
    # of `auc` and `gauc_domain`, `gauc` means the latter
    whole = [name for name in names if word in name.split("_")]
    found = whole if len(whole) == 1 else difflib.get_close_matches(word, names, n=1, cutoff=alike)
    return found[0] if found else None


def nearest_names(word: str, known: Sequence[str]) -> str:
    """The known names most like `word`, the nearest first, or the first few where none is alike."""
    return ", ".join(difflib.get_close_matches(word, known, n=2, cutoff=0.5) or list(known)[:8])
