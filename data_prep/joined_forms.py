"""Columns made from the columns of a file: as they are, compared with a number, read as a time, or one field of many.

    rating                  the column as it is
    rating >= 4             1 where the number is at least 4, else 0; `<=` likewise
    hour as %y%m%d%H        a time in the format of `strftime`, written as an ISO date
    features[205]           the values of field 205 in a column of `FIELD^BVALUE^CWEIGHT`, joined by ^A; several values become
                            a list with `list_separator` between them

A value that does not fit its form (a rating that is not a number) stays as it is, so that the row is rejected with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from adasparse_cli.errors import UsageError

_COMPARED = re.compile(r"(?P<column>.+?)\s*(?P<sign>>=|<=)\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))")
_TIME = re.compile(r"(?P<column>.+?)\s+as\s+(?P<format>%\S.*)")
_FIELD = re.compile(r"(?P<column>[^\[\]]+)\[(?P<field>[^\[\]]+)\]")
_BETWEEN_FIELDS, _BEFORE_VALUE, _BEFORE_WEIGHT = "\x01", "\x02", "\x03"


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a column is made.

    Args:
        column: the file's column that it is made from.
        sign, number: what the column is compared with. format: of its times. field: the one that is taken out of it.
    """

    column: str
    sign: str | None = None
    number: float = 0.0
    format: str | None = None
    field: str | None = None

    @staticmethod
    def of(text: str) -> Form:
        """The form that a setting says."""
        if match := _COMPARED.fullmatch(text.strip()):
            return Form(column=match["column"], sign=match["sign"], number=float(match["number"]))
        if match := _TIME.fullmatch(text.strip()):
            return Form(column=match["column"], format=match["format"])
        if match := _FIELD.fullmatch(text.strip()):
            return Form(column=match["column"], field=match["field"])
        return Form(column=text)

    def expression(self, list_separator: str) -> pl.Expr:
        """The column's texts."""
        column = pl.col(self.column)
        if self.sign is not None:
            number = column.str.strip_chars().cast(pl.Float64, strict=False)
            holds = number >= self.number if self.sign == ">=" else number <= self.number
            # NaN is no number, and is larger than all of them
            fits = number.is_not_null() & number.is_not_nan()
            return pl.when(fits).then(holds.cast(pl.Int8).cast(pl.String)).otherwise(column)
        if self.format is not None:
            return pl.coalesce(_iso(column.str.strip_chars(), self.format), column)
        if self.field is not None:
            return _values(column, self.field, list_separator)
        return column


def forms_of(key: str, texts: Mapping[str, str]) -> dict[str, Form]:
    """The forms of a setting, by the column that each makes.

    Raises:
        UsageError: a form has no column.
    """
    for name, text in texts.items():
        if not text.strip() or not name:
            raise UsageError(f"{key}.{name}={text!r} names no column", hint="such as rating, or 'rating >= 4'")
    return {name: Form.of(text) for name, text in texts.items()}


def columns_in(forms: Mapping[str, Form]) -> Sequence[str]:
    """The columns that forms read, each once."""
    return list(dict.fromkeys(form.column for form in forms.values()))


def _iso(texts: pl.Expr, format: str) -> pl.Expr:
    # polars reads no time that has no minutes, and no point in time that has no hour
    for part, zero in (("%H", "00"), ("%M", "00")):
        if part not in format:
            texts, format = texts + pl.lit(f" {zero}"), f"{format} {part}"
    return texts.str.to_datetime(format, strict=False, time_unit="ms").dt.strftime("%Y-%m-%d %H:%M:%S")


def _values(texts: pl.Expr, field: str, list_separator: str) -> pl.Expr:
    """The values of a field; null where a text has none."""
    mark = f"{_BETWEEN_FIELDS}{field}{_BEFORE_VALUE}"
    found = (pl.lit(_BETWEEN_FIELDS) + texts).str.extract_all(f"{re.escape(mark)}[^{_BETWEEN_FIELDS}{_BEFORE_WEIGHT}]*")
    # joined before the marks are taken out: a pass over texts is several times as fast as one over lists
    values = found.list.join("").str.replace_all(mark, list_separator, literal=True)
    return pl.when(found.list.len() > 0).then(values.str.strip_prefix(list_separator))
