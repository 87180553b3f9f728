"""The contract between the reader of a raw data set (a recipe, in `data_prep/`) and the steps in this package.

A recipe converts raw files to frames of *values* (not ids). All later steps (splits, vocabularies, encoding, writing) are
the same for every data set and are in this package. A recipe is a module with

    Settings                                  a `DataSettings`: the `data` section of the configuration
    sources(settings, raw, folder, progress)  -> list[Path]: usually `raw`; a generator writes files
    read(settings, sources)                   -> RawData: reads only headers; rows come from its iterator
    files(settings, raw)                      -> tuple[Path, …]: the files of the data set in the folders and among the files
                                              that the user names (optional; without it, a folder means its tables)
    as_raw(frame, folder)                     -> Path: a frame as a raw file, its first row on line 2 (optional; without
                                              it, the Python API scores only files)

No module of `src/` imports a recipe by name; `recipe_named` finds it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from adasparse_cli.choices import Between, DuplicateRule, FieldKind, FieldRole, PlainName, SplitRule
from adasparse_cli.config.settings_source import imported_settings, names_in
from adasparse_cli.errors import UsageError
from adasparse_cli.foreign import OURS, import_recipe
from adasparse_cli.raw.raw_files import raw_files
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.raw.shards import Shard, Survey
from adasparse_cli.schema import Field

if TYPE_CHECKING:
    import polars as pl

# Columns of a frame that are not features. `label` is absent or null in unlabelled files.
LABEL, DAY, USER, TIMESTAMP, PROPENSITY = "__label", "__day", "__user", "__timestamp", "__propensity"
SOURCE, LINE, ROW_HASH = "__source", "__line", "__row_hash"
# Reserved column names: the names above, and the names used in later steps.
INTERNAL = frozenset(
    {LABEL, DAY, USER, TIMESTAMP, PROPENSITY, SOURCE, LINE, ROW_HASH}
    | {"__split", "__place", "__domain", "__value", "__condition"}
)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The settings that every data set has; a recipe's `Settings` extends them.

    Args:
        recipe: module that reads the raw files. A module outside this package is imported, which runs its code.
        name: folder of the prepared data below `paths.data`, and the name shown.
        domain: fields whose combination of values is the domain.
        domain_aware: fields from which a model receives the domain; empty means the fields of `domain`.
        domain_id: whether the combination of values is an additional domain-aware field, named `domain` (or `domain_id`, if a column
            has that name). A model then receives information that the single fields do not have. If the domain is one field,
            that field is already its id, and none is added.
        split: `day` (the last day is test, the day before valid), `random`, or `given` (the rows of `data.test_files` are test, as
            their publisher gives them; of the others, a random share is valid).
        split_seed: seed of the random split's hash; the rows of a file always get the same split.
        valid_share: share (0–1) of rows in the valid split, for `split=random`; of the rows that are not test, for `split=given`.
        test_share: share (0–1) of rows in the test split, for `split=random`.
        min_count: values with fewer rows in the train split share id 0 with unseen values.
        numeric_buckets: number of equal-count buckets of a numeric field, computed on the train split.
        duplicates: whether the second and later copies of exactly equal rows are kept or dropped.
        max_rejected: share (0–1) of unreadable rows above which preparation fails.
    """

    recipe: str
    name: Annotated[str, PlainName()]
    domain: tuple[str, ...]
    domain_aware: tuple[str, ...]
    domain_id: bool
    split: SplitRule
    split_seed: int
    valid_share: Annotated[float, Between(0, 1, exclusive=True)]
    test_share: Annotated[float, Between(0, 1, exclusive=True)]
    min_count: Annotated[int, Between(1)]
    numeric_buckets: Annotated[int, Between(2)]
    duplicates: DuplicateRule
    max_rejected: Annotated[float, Between(0, 1)]

    def __post_init__(self) -> None:
        if self.split is SplitRule.random and self.valid_share + self.test_share >= 1:
            raise UsageError(
                f"data.valid_share {self.valid_share:g} and data.test_share {self.test_share:g} leave nothing to train on",
                hint="together they must be below 1",
            )

    def as_prepared(self, fields: Sequence[Field]) -> DataSettings:
        """The settings to read a new file with, once the fields are known: nothing is inferred again."""
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldPlan:
    """A feature that the recipe delivers.

    Args:
        parse: for a multi-valued field, converts a series of distinct raw strings to a series of
            lists of values (called once per distinct string, possibly
            from several threads); None for the other kinds.

    A frame's column for the field contains integers or strings for `categorical`, floats for `numeric`, and
    raw strings for `multi_valued` (or a Categorical of them, see `distinct`). Null means missing, which is a separate value everywhere.
    """

    name: str
    role: FieldRole
    kind: FieldKind
    parse: Callable[[pl.Series], pl.Series] | None = None


@dataclass(frozen=True)
class Finding:
    """A remark on the data before training: its severity (`error`, `warning` or `note`), the text, and a remedy."""

    severity: Literal["error", "warning", "note"]
    text: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """The rows of a part of the raw files.

    Args:
        frames, rejects: as in `RawData`.
        noted: what the recipe counted; complete once `frames` is consumed. It can be pickled.
    """

    frames: Iterator[pl.DataFrame]
    rejects: list[Reject]
    noted: Callable[[], Any]


class ShardReader(Protocol):
    """Reads parts of the raw files, in any process and in any order. It can be pickled."""

    def survey(self, source: int) -> Survey:
        """The sha256 of a source, and its parts in order."""

    def rows(self, shard: Shard) -> ShardRows:
        """The rows of a part. All parts in order have the rows, rejected rows and counts of `RawData.frames`."""

    def note(self, noted: Sequence[Any]) -> None:
        """Add what was counted in other processes, by part in order, to what `RawData.noticed` reports."""


@dataclass(frozen=True, kw_only=True)
class RawData:
    """Opened raw files: a description of their content, and an iterator over it.

    Args:
        plans: the features.
        domain: the columns whose combination is the domain, each the name of a feature.
        label: the label's column name in the raw files.
        frames: iterator of value frames with the columns LABEL, SOURCE (index into the sources,
            Int32), LINE (Int64), ROW_HASH (UInt64, over all raw columns), DAY (Int32 days since
            1970 in the data's time zone; null without timestamp), TIMESTAMP (Int64 seconds; optional),
            USER (optional), PROPENSITY (Float64 in (0, 1], optional: the probability with which the logging system showed
            the row) and one per feature. Rows keep the files' order.
        rejects: filled while `frames` is consumed.
        labelled: per source, whether it has the label.
        consumed: bytes of the sources (as stored on disk) read so far.
        notes: inferred values and decisions of the recipe, one line each, shown to the user.
        noticed: warnings; complete once `frames` is consumed.
        reader: reads parts of the files on other machines; None if the recipe reads them only in order and in one process.
        test_sources: the sources whose rows are the test split, for `split=given`.
    """

    plans: tuple[FieldPlan, ...]
    domain: tuple[str, ...]
    label: str
    frames: Iterator[pl.DataFrame]
    rejects: list[Reject]
    labelled: tuple[bool, ...]
    consumed: Callable[[], int]
    notes: tuple[str, ...] = ()
    noticed: Callable[[], Sequence[Finding]] = tuple
    reader: ShardReader | None = None
    test_sources: frozenset[int] = frozenset()


# Figures by name; a pair is a count and its total.
Details = Mapping[str, float | tuple[int, int]]


class Progress(Protocol):
    """Receives the progress of long work. The command line draws it; tests and jobs may ignore it."""

    def start(self, what: str, total: int | None, unit: str) -> None: ...

    def advance(self, amount: int, detail: Details | None = None) -> None: ...

    def expect(self, total: int) -> None: ...

    def note(self, line: str) -> None: ...

    def finished(self, row: Mapping[str, Any], line: str, *, best: bool, among: str = "") -> None:
        """Report a finished run: as a row of a live table, or as a line.

        Args:
            best: whether it is the best run so far.
            among: the runs among which it is the best, such as the runs of one model; empty for all runs.
        """


class Silent:
    """A `Progress` that shows nothing."""

    def start(self, what: str, total: int | None, unit: str) -> None:
        pass

    def advance(self, amount: int, detail: Details | None = None) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def note(self, line: str) -> None:
        pass

    def finished(self, row: Mapping[str, Any], line: str, *, best: bool, among: str = "") -> None:
        self.note(line)


DOMAIN_FIELD = "domain"
_REQUIRED = ("Settings", "sources", "read")  # of a recipe
_OTHER_NAMES = ("domain_id", *(f"domain_id_{number}" for number in range(2, 100)))


def with_domain_id(
    raw: RawData, settings: DataSettings, prepared: Sequence[Field] | None = None, *, escaped: bool = True
) -> RawData:
    """Raw data with the domain id as a field, if the settings request it and no field equals it.

    Args:
        prepared: the fields of prepared data; None while data are being prepared.
        escaped: False for data of an earlier version, see `joined_keys`.
    """
    if not settings.domain_id:
        return raw
    names = {plan.name for plan in raw.plans}
    aware = [plan.name for plan in raw.plans if plan.role is FieldRole.domain_aware]
    if prepared is None:
        free = (name for name in (DOMAIN_FIELD, *_OTHER_NAMES) if name not in names)
        name = None if len(raw.domain) == 1 and raw.domain[0] in aware else next(free)
    else:
        name = domain_field(prepared, {*aware, *raw.domain, *settings.domain_aware})
    if name is None:
        return raw
    # loaded where rows are read: plans and listings need only the settings
    import polars as pl

    from adasparse_cli.prepared.key import joined_keys

    key = joined_keys([pl.col(part) for part in raw.domain], escaped=escaped).alias(name)
    plan = FieldPlan(name=name, role=FieldRole.domain_aware, kind=FieldKind.categorical)
    return replace(
        raw,
        plans=(*raw.plans, plan),
        frames=(frame.with_columns(key) for frame in raw.frames),
        reader=None if raw.reader is None else _WithColumn(raw.reader, key),
    )


@dataclass(frozen=True)
class _WithColumn:
    """A reader whose frames have one more column."""

    reader: ShardReader
    column: pl.Expr

    def survey(self, source: int) -> Survey:
        return self.reader.survey(source)

    def rows(self, shard: Shard) -> ShardRows:
        found = self.reader.rows(shard)
        return replace(found, frames=(frame.with_columns(self.column) for frame in found.frames))

    def note(self, noted: Sequence[Any]) -> None:
        self.reader.note(noted)


def domain_field(prepared: Sequence[Field], aware: Collection[str]) -> str | None:
    """The field of prepared data that is the domain id: the domain-aware field that is not in `aware`."""
    found = [field.name for field in prepared if field.role is FieldRole.domain_aware and field.name not in aware]
    return found[0] if found else None


def given_files(settings: DataSettings, raw: Sequence[str | Path]) -> tuple[Path, ...]:
    """The files that a user means. A recipe may select its files by name in a folder that also has other files."""
    packaged = _names_in(settings.recipe)
    recipe = None if packaged and "files" not in packaged else recipe_named(settings.recipe)
    if recipe is not None and hasattr(recipe, "files"):
        found: tuple[Path, ...] = recipe.files(settings, raw)
        return found
    return raw_files(raw)


def settings_of_recipe(name: str) -> type[DataSettings]:
    """The `Settings` of a recipe. A recipe of this package is not imported, because that would load polars.

    Raises:
        UsageError: as for `recipe_named`.
    """
    if _names_in(name).issuperset(_REQUIRED):
        found: type[DataSettings] = imported_settings(f"{OURS}.{name}")
        return found
    settings: type[DataSettings] = recipe_named(name).Settings
    return settings


@functools.cache
def _names_in(name: str) -> frozenset[str]:
    """The names that a recipe of this package defines or imports; empty for other modules."""
    with contextlib.suppress(FileNotFoundError):
        return names_in(f"{OURS}.{name}") if name.isidentifier() else frozenset()
    return frozenset()


def recipe_named(name: str) -> ModuleType:
    """The recipe module `name`: one of this package (`iaac`) or any importable one (`my_package.my_recipe`).

    Importing a module runs its code; `foreign.py` lists which modules are refused and prints the name first.

    Raises:
        UsageError: there is no such module, modules are refused, or the module does not fulfil the contract.
    """
    module = import_recipe(name)
    missing = [part for part in _REQUIRED if not hasattr(module, part)]
    if missing:
        raise UsageError(
            f"data.recipe={name}: the module does not define {', '.join(missing)}",
            hint="CONTRIBUTING.md, 'add a data set', lists what a recipe must have",
        )
    return module
