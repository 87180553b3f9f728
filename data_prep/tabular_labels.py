"""Labels of a table: which texts mean 1, and what to type where that is not plain."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from adasparse_cli.choices import Spelling
from adasparse_cli.config.spelling import word
from adasparse_cli.data_prep.tabular_values import spelled
from adasparse_cli.errors import DataError
from adasparse_cli.prep.recipe import Finding

_PLAIN = {"0": 0, "1": 1, "false": 0, "true": 1}
_LIKELY_POSITIVE = ("1", "yes", "y", "true", "t", "positive", "pos", "click", "clicked", "on")
# From this share on, unreadable labels are a matter of the column, not of single rows.
_UNREADABLE = 0.05
_SHOWN = 5


def labels_of(texts: pl.Series, positive: Sequence[str]) -> pl.Series:
    """0 or 1, null where a text is neither; with `positive`, every text that is not null is one of the two."""
    plain = spelled(texts, Spelling.lower_case)
    if not positive:
        return plain.replace_strict(_PLAIN, default=None, return_dtype=pl.Int8)
    return plain.is_in(list(_plainly(positive))).cast(pl.Int8)


def label_findings(path: Path, name: str, known: pl.Series, positive: Sequence[str], allowed: float) -> list[Finding]:
    """What the first labels say about `data.positive`.

    Args:
        known: the first rows' labels that are not missing. allowed: share of rows that may be rejected.

    Raises:
        DataError: too many labels are neither 0 nor 1, and nothing says which texts mean 1.
    """
    counts = known.value_counts(sort=True)
    texts = counts.get_column(known.name).to_list()
    shown = ", ".join(f"{text!r} ({count:,} rows)" for text, count in counts.head(_SHOWN).iter_rows())
    shown += ", …" if len(texts) > _SHOWN else ""
    labels = labels_of(known, positive)
    if not positive:
        if len(known) and labels.null_count() / len(known) > max(allowed, _UNREADABLE):
            raise DataError(
                f"{path}: the label {name} is neither 0 nor 1 in {labels.null_count():,} of the first {len(known):,} rows "
                f"that have one; its values: {shown}",
                hint=_what_to_type(texts),
            )
        return []
    ones = sorted(set(known.filter(labels == 1).to_list()))
    zeros = [text for text in texts if text not in ones]
    if not ones:
        text = f"{name}: none of data.positive={list(positive)} is in the first {len(known):,} rows; values: {shown}"
        return [Finding("warning", text, "data.positive=[TEXT,…] names the texts that mean 1")]
    one, zero = (", ".join(map(repr, some[:_SHOWN])) + (", …" if len(some) > _SHOWN else "") for some in (ones, zeros))
    advice = "data.positive=[TEXT,…] names the texts that mean 1; every other text means 0"
    return [
        Finding("note", f"{name}: 1 is {one}; 0 is {zero or 'nothing yet'} in the first {len(known):,} rows", advice)
    ]


def _what_to_type(texts: list[str]) -> str:
    others = "every other text means 0"
    if len(texts) == 2:
        positive = next((text for text in texts if text.strip().lower() in _LIKELY_POSITIVE), texts[1])
        return f"{shlex.quote(word('data.positive', [positive]))} reads {positive!r} as 1; {others}"
    return f"data.positive=[TEXT,…] names the texts that mean 1; {others}"


def _plainly(texts: Sequence[str]) -> pl.Series:
    return spelled(pl.Series(list(texts), dtype=pl.String), Spelling.lower_case)
