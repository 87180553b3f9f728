"""Second pass: the values of each field, learned from the train split only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from adasparse_cli.choices import FieldKind, Split
from adasparse_cli.columns.lookup import Lookup
from adasparse_cli.columns.order_statistics import order_statistics
from adasparse_cli.prep.counts import ROWS, Count
from adasparse_cli.prep.engine import Engine
from adasparse_cli.prep.recipe import FieldPlan
from adasparse_cli.prep.spill import SPLIT, BagTable, Spill, scan_frames

T = TypeVar("T")
_IS_TRAIN = pl.col(SPLIT) == Split.train.value


@dataclass(frozen=True)
class Vocabulary:
    """Maps a field's values to ids. Id 0 is for values that are unseen in training, or rarer there than the minimum count.

    Args:
        table: of a categorical or multi-valued field: id (Int32, from 1), value, count, ordered by
            (−count, value), missing last among equals; of a numeric one: id, lower (inclusive), upper
            (exclusive); the last row without bounds is "missing" if training has missing values.
        kind: of the field.
    """

    table: pl.DataFrame
    kind: FieldKind

    @property
    def size(self) -> int:
        """Number of ids, including id 0."""
        return self.table.height + 1

    def ids(self, values: pl.Series) -> pl.Series:
        """The id of each value, Int32."""
        if self.kind is FieldKind.numeric:
            return self._bucket_ids(values)
        return pl.Series(values.name, self._lookup.places(values) + 1)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.table["value"])

    def _bucket_ids(self, values: pl.Series) -> pl.Series:
        lower = self.table["lower"].drop_nulls()
        missing = self.table.height if self.table.height > len(lower) else 0
        if len(lower) == 0:
            ids = np.full(len(values), missing, dtype=np.int32)
        else:
            numbers = values.cast(pl.Float64).fill_null(0.0).to_numpy()
            # the first bucket has no lower bound
            ids = np.maximum(np.searchsorted(lower.to_numpy(), numbers, side="right"), 1).astype(np.int32)
            if values.null_count():
                ids[values.is_null().to_numpy()] = missing
        return pl.Series(values.name, ids, dtype=pl.Int32)


def value_count(plan: FieldPlan, *, min_count: int) -> Count:
    """Train rows by value of a categorical field, or by bag of a multi-valued one."""
    least = min_count if plan.kind is FieldKind.categorical else 1
    return Count(keys=(pl.col(plan.name).alias("value"),), where=_IS_TRAIN, least=least)


def categorical_vocabulary(counts: pl.DataFrame) -> Vocabulary:
    """The vocabulary of a categorical field, from its `value_count`."""
    return Vocabulary(_ordered(counts.rename({ROWS: "count"})), FieldKind.categorical)


def bag_vocabulary(
    counts: pl.DataFrame, plan: FieldPlan, bags: BagTable, *, min_count: int
) -> tuple[Vocabulary, pl.DataFrame]:
    """The vocabulary of a multi-valued field, from its `value_count`.

    Returns:
        The vocabulary, and all bags with one row per value: bag, value.
    """
    values = bag_values(plan, bags.texts(), first_bag=1)
    uses = counts.select(pl.col("value").alias("bag"), pl.col(ROWS).alias("uses"))
    found = values.join(uses, on="bag", how="inner").group_by("value").agg(pl.col("uses").sum().alias("count"))
    return Vocabulary(_ordered(found.filter(pl.col("count") >= min_count)), plan.kind), values


def bucket_vocabulary(spill: Spill, name: str, buckets: int, engine: Engine) -> Vocabulary:
    """Buckets of about equal counts between the quantiles of a column's train rows; equal quantiles give one bucket."""
    size = engine.frames_at_once
    groups = [spill.paths[start : start + size] for start in range(0, len(spill.paths), size)]
    missing = False

    def each(look: Callable[[np.ndarray], T]) -> Iterator[T]:
        nonlocal missing
        for found, nulls in engine.map(_look_at_column, (name, spill.split, look), groups):
            missing = missing or nulls > 0
            yield found

    quantiles = order_statistics(each, lambda number: [k * number // buckets for k in range(buckets)], rows=spill.rows)
    edges = np.unique(quantiles)
    lower: list[float | None] = edges.tolist()
    upper: list[float | None] = [*edges[1:].tolist(), None] if len(edges) else []
    if missing:
        lower, upper = [*lower, None], [*upper, None]
    table = pl.DataFrame(
        {
            "id": pl.int_range(1, len(lower) + 1, dtype=pl.Int32, eager=True),
            "lower": pl.Series(lower, dtype=pl.Float64),
            "upper": pl.Series(upper, dtype=pl.Float64),
        }
    )
    return Vocabulary(table, FieldKind.numeric)


def _look_at_column(
    shared: tuple[str, pl.Expr | None, Callable[[np.ndarray], T]], paths: Sequence[Path]
) -> tuple[T, int]:
    """What `look` finds in a numeric column's train rows of some frames, and the number of missing values."""
    name, split, look = shared
    rows = scan_frames(paths, split).select(name, SPLIT).filter(_IS_TRAIN)
    values = rows.select(pl.col(name).cast(pl.Float64)).collect()[name]
    return look(values.drop_nulls().to_numpy()), values.null_count()


def bag_values(plan: FieldPlan, texts: pl.Series, *, first_bag: int) -> pl.DataFrame:
    """One row per value of each bag, in the bag's order."""
    assert plan.parse is not None
    lists = plan.parse(texts).alias("value")
    numbers = pl.int_range(first_bag, first_bag + len(texts), dtype=pl.Int32, eager=True).alias("bag")
    return pl.DataFrame([numbers, lists]).filter(pl.col("value").list.len() > 0).explode("value")


def encoded_bags(vocabulary: Vocabulary, values: pl.DataFrame, *, first_bag: int, bags: int) -> pl.Series:
    """Lists of ids of the bags `first_bag` … `first_bag + bags − 1`; bags without values are empty."""
    ids = values.select(pl.col("bag"), vocabulary.ids(values["value"]).alias("ids"))
    lists = ids.group_by("bag", maintain_order=True).agg(pl.col("ids"))
    every = pl.DataFrame({"bag": pl.int_range(first_bag, first_bag + bags, dtype=pl.Int32, eager=True)})
    found = every.join(lists, on="bag", how="left", maintain_order="left")["ids"]
    return found.to_frame().select(pl.col("ids").fill_null(pl.lit([], dtype=pl.List(pl.Int32)))).to_series()


def _ordered(counts: pl.DataFrame) -> pl.DataFrame:
    ordered = counts.sort(["count", "value"], descending=[True, False], nulls_last=True)
    ids = pl.int_range(1, ordered.height + 1, dtype=pl.Int32, eager=True).alias("id")
    return ordered.select(ids, pl.col("value"), pl.col("count").cast(pl.Int64))
