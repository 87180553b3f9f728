"""Side tables: a row for each key, such as one for each user, looked up for the rows of a log.

A side table is held in memory, and only the columns that are taken from it: what a column needs is its values, 16 bytes each
where they are short. A log is never held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from adasparse_cli.columns.lookup import Lookup
from adasparse_cli.data_prep.joined_forms import Form
from adasparse_cli.data_prep.tabular import Settings
from adasparse_cli.data_prep.tabular_fields import known_values
from adasparse_cli.prep.recipe import LINE, Finding
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.tables.formats import Table

_KEY = "__key"
# Between the parts of a key of several columns; no text of a field holds it.
_WITHIN_KEY = "\x1f"


@dataclass(kw_only=True)
class Side:
    """A side table, ready to be looked up.

    Args:
        name: what it is called. keys: the log's columns that name a row.
        values: its rows' columns. lookup: the place of a key among its rows.
        rows: rows of the log that were looked up so far. unknown: those of them whose key has no row here; a missing key
            is not one.
    """

    name: str
    keys: Sequence[str]
    settings: Settings
    values: pl.DataFrame
    lookup: Lookup
    rows: int = field(default=0, init=False)
    unknown: int = field(default=0, init=False)

    def joined(self, frame: pl.DataFrame, *, counted: bool) -> pl.DataFrame:
        """The columns of this table for the rows of a log, null where a key has no row."""
        keys = key_of(frame, self.keys, self.settings)
        places = self.lookup.places(keys)
        if counted:
            self.rows += len(keys)
            self.unknown += int(np.count_nonzero(places < 0)) - keys.null_count()
        found = pl.Series(places)
        found = found.set(found < 0, None)
        return self.values.select(pl.all().gather(found))

    def findings(self) -> list[Finding]:
        """Which rows of the log had no row here."""
        if not self.unknown:
            return []
        share = self.unknown / self.rows
        return [
            Finding(
                "warning" if share > 0.01 else "note",
                f"{self.name}: {self.unknown:,} of {self.rows:,} rows ({share:.1%}) have no row there, by "
                f"{', '.join(self.keys)}; its fields are missing in them",
                "check that all files are of the same version of the data",
            )
        ]


def key_of(frame: pl.DataFrame, keys: Sequence[str], settings: Settings) -> pl.Series:
    """The key of each row as text, null where a part of it is missing; 22 and 22.0 are one key where they are one value."""
    parts = [known_values(frame[name], settings) for name in keys]
    if len(parts) == 1:
        return parts[0].alias(_KEY)
    return pl.select(pl.concat_str(parts, separator=_WITHIN_KEY).alias(_KEY)).to_series()


def loaded(
    name: str,
    tables: Sequence[tuple[Table, Mapping[str, str]]],
    on: Mapping[str, str],
    forms: Mapping[str, Form],
    settings: Settings,
    rejects: list[Reject],
) -> Side:
    """Read the files of a side table; of several rows with one key the first counts, the others are rejected.

    Args:
        tables: each with the values that its name gives. on: the table's column by the log's. forms: the columns taken.
    """
    parts, places = [], []
    for number, (table, given) in enumerate(tables):
        for frame in table.frames():
            frame = frame.with_columns(pl.lit(value).alias(column) for column, value in given.items())
            made = frame.select(
                form.expression(settings.list_separator).alias(column) for column, form in forms.items()
            )
            parts.append(made.with_columns(key_of(frame, list(on.values()), settings)))
            places.append(frame.select(LINE).with_columns(table=pl.lit(number, dtype=pl.Int32)))
    rows = _concatenated(parts, [*forms, _KEY])
    first = rows[_KEY].is_first_distinct()
    if not first.all():
        where = pl.concat(places).filter(~first)
        for (line, number), value in zip(where.iter_rows(), rows[_KEY].filter(~first), strict=True):
            shown = "" if value is None else value.replace(_WITHIN_KEY, "/")[:80]
            column, reason = ", ".join(on.values()), "repeats the key of an earlier row"
            rejects.append(Reject(source=tables[number][0].name, line=line, column=column, value=shown, reason=reason))
        rows = rows.filter(first)
    rows = rows.filter(rows[_KEY].is_not_null())
    return Side(
        name=name,
        keys=list(on),
        settings=settings,
        values=rows.drop(_KEY),
        lookup=Lookup(_as_numbers(rows[_KEY])),
    )


def _concatenated(parts: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame:
    """The rows of parts of texts, which are emptied column by column so that no more than one column is there twice."""
    empty = pl.Series([], dtype=pl.String)
    columns = [
        pl.concat([empty.alias(name), *(part.drop_in_place(name) for part in parts)], rechunk=True) for name in names
    ]
    return pl.DataFrame(columns)


def _as_numbers(keys: pl.Series) -> pl.Series:
    """Keys as whole numbers where all are written as such, which are looked up faster and need less memory."""
    numbers = keys.cast(pl.Int64, strict=False)
    same = numbers.null_count() == 0 and bool((numbers.cast(pl.String) == keys).all())
    return numbers if same and len(keys) else keys
