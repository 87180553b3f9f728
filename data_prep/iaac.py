"""IAAC: the raw text of the Alimama advertising contest of 2018 (IJCAI-18), rounds 1 and 2.

One header line, fields separated by one space, no quoting, `-1` for missing; ids are positive 64-bit
integers. Files with the column `is_trade` are labelled, others are not. `context_timestamp` is
unix seconds and is interpreted in UTC+8, the contest's time zone, independent of the machine's time zone.

Features are all informative columns, the hour and weekday, and how well the query's
prediction matches the item. Not used: `instance_id` and `context_id`, which only identify the row;
the root of the category path, which is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.choices import FieldKind, FieldRole, nearest_names
from adasparse_cli.columns.hashing import row_hashes
from adasparse_cli.data_prep.iaac_lists import (
    LISTS,
    Lists,
    digest_column,
    predicted_categories,
    predicted_properties,
    properties,
    wrong_column,
)
from adasparse_cli.data_prep.iaac_settings import Settings as Settings
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.parallel import in_order
from adasparse_cli.prep.recipe import (
    DAY,
    LABEL,
    LINE,
    ROW_HASH,
    SOURCE,
    TIMESTAMP,
    USER,
    DataSettings,
    FieldPlan,
    Progress,
    RawData,
    ShardRows,
)
from adasparse_cli.raw.lines import BLOCK_BYTES, BOM, Block, Lines, TextFile
from adasparse_cli.raw.raw_files import source_names
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.raw.shards import Shard, Survey, surveyed

LABEL_COLUMN = "is_trade"
SCHEMA: dict[str, type[pl.DataType]] = {
    "instance_id": pl.Int64,
    "item_id": pl.Int64,
    "item_category_list": pl.String,
    "item_property_list": pl.String,
    "item_brand_id": pl.Int64,
    "item_city_id": pl.Int64,
    "item_price_level": pl.Int64,
    "item_sales_level": pl.Int64,
    "item_collected_level": pl.Int64,
    "item_pv_level": pl.Int64,
    "user_id": pl.Int64,
    "user_gender_id": pl.Int64,
    "user_age_level": pl.Int64,
    "user_occupation_id": pl.Int64,
    "user_star_level": pl.Int64,
    "context_id": pl.Int64,
    "context_timestamp": pl.Int64,
    "context_page_id": pl.Int64,
    "predict_category_property": pl.String,
    "shop_id": pl.Int64,
    "shop_review_num_level": pl.Int64,
    "shop_review_positive_rate": pl.Float64,
    "shop_star_level": pl.Int64,
    "shop_score_service": pl.Float64,
    "shop_score_delivery": pl.Float64,
    "shop_score_description": pl.Float64,
    LABEL_COLUMN: pl.Int64,
}
CATEGORICAL = (
    "item_id",
    "item_category_1",
    "item_category_2",
    "item_brand_id",
    "item_city_id",
    "item_price_level",
    "item_sales_level",
    "item_collected_level",
    "item_pv_level",
    "user_id",
    "user_gender_id",
    "user_age_level",
    "user_occupation_id",
    "user_star_level",
    "context_page_id",
    "hour",
    "weekday",
    "shop_id",
    "shop_review_num_level",
    "shop_star_level",
    "predicted_category_rank",
    "shared_property_count",
)
NUMERIC = (
    "shop_review_positive_rate",
    "shop_score_service",
    "shop_score_delivery",
    "shop_score_description",
)
MULTI_VALUED = ("item_property_list", "predicted_categories", "predicted_properties")
# The contest's logs are from August and September 2018; a year before and after allows for re-dated copies.
EARLIEST, LATEST = 1483200000, 1577808000
UTC_OFFSET_SECONDS = 8 * 3600


def sources(settings: DataSettings, raw: list[Path], folder: Path, progress: Progress) -> list[Path]:
    """The contest's files, as given."""
    if not raw:
        raise UsageError(
            "no raw files are named",
            hint="adasparse prep data=iaac raw=round1_ijcai_18_train_20180301.zip; download the file from the contest",
        )
    return raw


def as_raw(frame: pl.DataFrame, folder: Path) -> Path:
    """Write a frame with the contest's columns as a raw file to `folder`; its first row is line 2.

    Raises:
        DataError: a column is missing.
    """
    missing = [name for name in list(SCHEMA)[:-1] if name not in frame.columns]
    if missing:
        raise DataError(f"the frame lacks the column {missing[0]}", hint=f"it needs {', '.join(list(SCHEMA)[:-1])}")
    path = folder / "rows.txt"
    columns = [name for name in SCHEMA if name in frame.columns]
    frame.select(columns).write_csv(path, separator=" ", quote_style="never", null_value="-1")
    return path


def read(settings: DataSettings, sources: list[Path]) -> RawData:
    """Open the files: headers are checked, rows come from the iterator."""
    rejects: list[Reject] = []
    names = source_names(sources)
    files = [_opened(path, name, rejects) for path, name in zip(sources, names, strict=True)]
    return RawData(
        plans=_plans(settings),
        domain=settings.domain,
        label=LABEL_COLUMN,
        frames=_frames(files),
        rejects=rejects,
        labelled=tuple(LABEL_COLUMN in file.columns for file in files),
        consumed=lambda: sum(file.consumed for file in files),
        reader=_Reader(tuple(zip(sources, names, strict=True))),
    )


def _opened(path: Path, name: str, rejects: list[Reject]) -> TextFile:
    file = TextFile(path, b" ", rejects, name=name)
    expected, found = list(SCHEMA), file.columns
    if found not in (expected, expected[:-1]):
        missing = [name for name in expected[:-1] if name not in found]
        strange = [name for name in found if name not in expected]
        what = f"lacks the column {missing[0]}" if missing else "has its columns in another order, or twice"
        also = f"; it has {nearest_names(missing[0], strange)}" if missing and strange else ""
        raise DataError(
            f"{path}:1: the header {what}{also}",
            hint="IAAC files have 27 columns separated by one space (26 without is_trade); "
            "for another format use data=tabular",
        )
    return file


def _plans(settings: DataSettings) -> tuple[FieldPlan, ...]:
    kinds = (
        dict.fromkeys(CATEGORICAL, FieldKind.categorical)
        | dict.fromkeys(NUMERIC, FieldKind.numeric)
        | dict.fromkeys(MULTI_VALUED, FieldKind.multi_valued)
    )
    parsers = {
        "item_property_list": properties,
        "predicted_categories": predicted_categories,
        "predicted_properties": predicted_properties,
    }
    aware = settings.domain_aware or settings.domain
    for name in (*settings.domain, *aware):
        if name not in kinds:
            raise UsageError(
                f"data.domain or data.domain_aware names {name}, which is not a field",
                hint=f"did you mean {nearest_names(name, list(kinds))}?",
            )
    return tuple(
        FieldPlan(
            name=name,
            role=FieldRole.domain_aware if name in aware else FieldRole.domain_agnostic,
            kind=kind,
            parse=parsers.get(name),
        )
        for name, kind in kinds.items()
    )


@dataclass(frozen=True)
class _Reader:
    """Reads parts of the files; `files` are the path and the name of each."""

    files: tuple[tuple[Path, str], ...]

    def survey(self, source: int) -> Survey:
        path, name = self.files[source]
        return surveyed(path, source, BLOCK_BYTES if _opened(path, name, []).divisible else None)

    def rows(self, shard: Shard) -> ShardRows:
        rejects: list[Reject] = []
        file, lists = _opened(*self.files[shard.source], rejects), Lists()
        parsed = (_parsed(lines, file, lists) for lines in file.part(shard))
        frames = (_features(rows, source=shard.source) for rows in parsed if rows.height)
        return ShardRows(frames=frames, rejects=rejects, noted=lambda: None)

    def note(self, noted: Sequence[Any]) -> None:
        pass


def _frames(files: list[TextFile]) -> Iterator[pl.DataFrame]:
    lists = Lists()

    def frame(index: int, lines: Lines) -> pl.DataFrame | None:
        rows = _parsed(lines, files[index], lists)
        return _features(rows, source=index) if rows.height else None

    lines = ((index, part) for index, file in enumerate(files) for part in file.parts())
    yield from (found for found in in_order(frame, lines) if found is not None)


def _parsed(lines: Lines, file: TextFile, lists: Lists) -> pl.DataFrame:
    """A part's rows with typed columns; bad rows are rejected."""
    schema = {name: SCHEMA[name] for name in file.columns}
    rows, numbers = _strictly(lines.data, schema), lines.numbers
    if rows is None or rows.height != len(numbers):
        block = file.checked(lines)
        if not len(block.numbers):
            return pl.DataFrame()
        rows, numbers = _strictly(block.data, schema), block.numbers
        if rows is None:
            rows, numbers = _cast(block, schema, file)
    typed = rows.with_columns(
        pl.Series(LINE, numbers, dtype=pl.Int64), *(pl.col(name).cast(lists.types[name]) for name in LISTS)
    )
    return _in_range(typed.with_columns(lists.parsed(typed)), file)


def _strictly(data: bytes, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame | None:
    """The rows, if every line has exactly all fields with the right types; else None.

    polars refuses lines with too many fields, invalid UTF-8 and invalid numbers. It fills lines with too few
    fields, and blank lines, with nulls, which valid lines do not have. It removes a byte order mark from the first line.
    """
    if data.startswith(BOM) or b"\0" in data:
        return None
    try:
        rows = pl.read_csv(data, has_header=False, separator=" ", quote_char=None, schema=schema, glob=False)
    except pl.exceptions.PolarsError:
        return None
    return None if sum(rows.null_count().row(0)) else rows


def _cast(block: Block, schema: dict[str, type[pl.DataType]], file: TextFile) -> tuple[pl.DataFrame, np.ndarray]:
    """The slow method, for a block with a value of the wrong type."""
    text = pl.read_csv(
        block.data,
        has_header=False,
        separator=" ",
        quote_char=None,
        schema=dict.fromkeys(schema, pl.String),
        empty_string_is_null=False,
        glob=False,
    )
    lines = pl.Series(LINE, block.numbers)
    good = pl.Series([True]).new_from_index(0, text.height)
    columns = []
    for name, kind in schema.items():
        # when parsing, polars accepts a number after tabs; when casting, it does not
        column = text[name] if kind is pl.String else text[name].str.strip_chars_start("\t").cast(kind, strict=False)
        word = {pl.Int64: "is not a whole number", pl.Float64: "is not a number", pl.String: "is empty"}[kind]
        bad = (text[name] == "") if kind is pl.String else column.is_null()
        _reject(bad & good, text[name], lines, file, name, word)
        good &= ~bad
        columns.append(column.alias(name))
    return pl.DataFrame(columns).filter(good), lines.filter(good).to_numpy()


def _in_range(rows: pl.DataFrame, file: TextFile) -> pl.DataFrame:
    """Remove rows with impossible values, with the first error of each."""
    timestamp = pl.col("context_timestamp")
    faults = [("context_timestamp", "is not a second in 2017 to 2019", (timestamp < EARLIEST) | (timestamp >= LATEST))]
    if LABEL_COLUMN in rows.columns:
        label = pl.col(LABEL_COLUMN)
        faults.append((LABEL_COLUMN, "is neither 0 nor 1", (label != 0) & (label != 1)))
    for name in NUMERIC:
        values = pl.col(name)
        within = ((values >= 0) & (values <= 1)) | (values == -1)
        faults.append((name, "is neither in 0 to 1 nor -1", ~within | values.is_nan()))
    for name, kind in SCHEMA.items():
        if kind is pl.Int64 and name in rows.columns:
            faults.append((name, "is negative", pl.col(name) < -1))
    faults += [(name, "is not a list in the expected form", pl.col(wrong_column(name))) for name in LISTS]
    bad = rows.select(bad.alias(str(k)) for k, (_, _, bad) in enumerate(faults))
    if not any(bad.select(pl.all().any()).row(0)):
        return rows
    good = pl.Series([True]).new_from_index(0, rows.height)
    for (name, reason, _), found in zip(faults, bad.iter_columns(), strict=True):
        _reject(found & good, rows[name].cast(pl.String), rows[LINE], file, name, reason)
        good &= ~found
    return rows.filter(good)


def _reject(bad: pl.Series, values: pl.Series, lines: pl.Series, file: TextFile, column: str, reason: str) -> None:
    for line, value in zip(lines.filter(bad), values.filter(bad), strict=True):
        file.reject(line, column, str(value), reason)


def _features(rows: pl.DataFrame, *, source: int) -> pl.DataFrame:
    """Raw columns as features. -1 becomes null, which is a separate value, never a magnitude."""
    seconds = pl.col("context_timestamp") + UTC_OFFSET_SECONDS
    kept = [name for name in CATEGORICAL if name in SCHEMA]
    hashes = row_hashes(
        rows.select(digest_column(name) if name in LISTS else name for name in SCHEMA if name in rows.columns)
    )
    return rows.select(
        pl.col(LINE),
        pl.lit(source, dtype=pl.Int32).alias(SOURCE),
        pl.Series(ROW_HASH, hashes),
        (pl.col(LABEL_COLUMN).cast(pl.Int8) if LABEL_COLUMN in rows.columns else pl.lit(None, dtype=pl.Int8)).alias(
            LABEL
        ),
        pl.col("context_timestamp").alias(TIMESTAMP),
        (seconds // 86400).cast(pl.Int32).alias(DAY),
        pl.col("user_id").alias(USER),
        *(_null_if_missing(name) for name in (*kept, *NUMERIC)),
        (seconds % 86400 // 3600).alias("hour"),
        # 1 January 1970 was a Thursday; Monday is 0
        ((seconds // 86400 + 3) % 7).alias("weekday"),
        pl.col("item_property_list"),
        pl.col("predict_category_property").alias("predicted_categories"),
        pl.col("predict_category_property").alias("predicted_properties"),
        "item_category_1",
        "item_category_2",
        *_match(rows),
    )


def _null_if_missing(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != -1).then(pl.col(name)).alias(name)


def _match(rows: pl.DataFrame) -> tuple[pl.Series, pl.Expr]:
    """How well the query's prediction matches the item.

    predicted_category_rank: rank (from 1) of the item's second-level category among the predicted
    categories; null if it is not among them. shared_property_count: number of the item's properties that are
    predicted for any category; null if nothing is predicted.
    """
    ranks = _first_places(rows["predicted"], rows["item_category_1"])
    shared = pl.col("owned").list.set_intersection("asked").list.len().cast(pl.Int64)
    return (
        ranks.alias("predicted_category_rank"),
        pl.when(pl.col("predict_category_property") != "-1").then(shared).alias("shared_property_count"),
    )


def _first_places(lists: pl.Series, wanted: pl.Series) -> pl.Series:
    """For each row the rank (from 1) at which its list first contains the wanted value; null if it does not."""
    lengths = lists.list.len().to_numpy()
    owners = np.repeat(np.arange(len(lists)), lengths)
    places = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    equal = lists.explode(empty_as_null=False, keep_nulls=False) == wanted.gather(owners)
    hits = np.flatnonzero(equal.fill_null(False).to_numpy())[::-1]
    found = np.zeros(len(lists), dtype=np.int64)
    found[owners[hits]] = places[hits] + 1  # from the last to the first, so that the first remains
    ranks = pl.Series(found)
    return ranks.set(ranks == 0, None)
