r"""The key of a domain as one text: its values joined by `/`, escaped so that different keys give different texts.

`\` and `/` in a value are preceded by `\`. A missing value is `missing`; the text `missing` is `\missing`. If a key has
one value, it is not escaped, except that the text `missing` gets a `\`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

MISSING = "missing"
# Texts that would read as a missing value, or as such a text after backslashes, if nothing else is escaped.
_LIKE_MISSING = rf"^\\*{MISSING}$"


def joined_key(values: Sequence[str | None]) -> str:
    """The text of a key."""
    columns = [pl.lit(value, dtype=pl.String) for value in values]
    return str(pl.select(joined_keys(columns)).item())


def split_key(text: str, number: int) -> list[str | None]:
    """The inverse of `joined_key` for keys of `number` values."""
    if number == 1:
        return [None if text == MISSING else text[1:] if re.fullmatch(_LIKE_MISSING, text) else text]
    parts = re.findall(r"(?:^|/)((?:[^\\/]|\\.|\\$)*)", text, re.DOTALL)
    return [None if part == MISSING else re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in parts]


def joined_keys(columns: Sequence[pl.Expr], *, escaped: bool = True) -> pl.Expr:
    """`joined_key` over rows.

    Args:
        escaped: False joins the values without escapes, as data of earlier versions do.
    """
    texts = [column.cast(pl.String) for column in columns]
    if escaped:
        texts = [_escaped(text, alone=len(texts) == 1) for text in texts]
    return pl.concat_str([text.fill_null(MISSING) for text in texts], separator="/")


def _escaped(text: pl.Expr, *, alone: bool) -> pl.Expr:
    like = text.str.contains(_LIKE_MISSING) if alone else text == MISSING
    others = text if alone else text.str.replace_all(r"[\\/]", r"\${0}")
    return pl.when(like).then("\\" + text).otherwise(others)
