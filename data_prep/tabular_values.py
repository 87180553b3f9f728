"""Values of a table's fields: one spelling for one value, and which texts mean "missing"."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from adasparse_cli.choices import Spelling
from adasparse_cli.config.spelling import word
from adasparse_cli.prep.recipe import Finding

_WHOLE = r"^([+-]?\d+)\.0+$"
_BOOLEANS = ["True", "TRUE", "False", "FALSE"]
_CODE = r"^[A-Z]{2}$"
# Share of a column's values that are two capital letters, from which on NA may be one of them.
_MOSTLY_CODES = 0.9


def spelling_of(texts: pl.Expr, spelling: Spelling) -> pl.Expr:
    """Texts so that those of one value are equal, the same for preparing and for scoring.

    Other tools write a whole column with decimals as soon as one value is missing (22 becomes 22.0), and booleans as
    True, TRUE or true.
    """
    if spelling is Spelling.as_written:
        return texts
    if spelling is not Spelling.numbers:
        texts = texts.str.strip_chars()
    texts = texts.str.replace(_WHOLE, "$1")
    if spelling is Spelling.lower_case:
        return texts.str.to_lowercase()
    return texts.replace(_BOOLEANS, [text.lower() for text in _BOOLEANS])


def spelled(texts: pl.Series, spelling: Spelling) -> pl.Series:
    """`spelling_of` a column; the usual one, in which nothing changes, is only looked at."""
    if spelling is Spelling.numbers and not texts.is_in(_BOOLEANS).any():
        zeros = texts.filter(texts.str.ends_with("0"))
        if not zeros.str.contains(_WHOLE).any():
            return texts
    return texts.to_frame("text").select(spelling_of(pl.col("text"), spelling).alias(texts.name)).to_series()


class Missing:
    """Which texts mean "missing", and how often each was met in each column.

    Args:
        texts: those that mean it.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = list(texts)
        self._met: dict[str, Counter[str]] = {}
        self._codes: dict[str, list[str]] = {}

    def normalised(self, texts: pl.Series, spelling: Spelling) -> pl.Series:
        """A column's values in their one spelling, null where they are missing; what was missing is counted."""
        bare = texts if spelling in (Spelling.as_written, Spelling.numbers) else texts.str.strip_chars()
        missing = bare.is_in(self._texts).fill_null(False)
        if missing.any():
            met = self._met.setdefault(texts.name, Counter())
            met.update(dict(bare.filter(missing).value_counts().iter_rows()))
        return spelled(bare.set(missing, None), spelling)

    def met(self) -> dict[str, Counter[str]]:
        """How often each text was met in each column so far."""
        return self._met

    def add(self, met: Mapping[str, Counter[str]]) -> None:
        """Count what another instance has met."""
        for name, counts in met.items():
            self._met.setdefault(name, Counter()).update(counts)

    def look(self, texts: pl.Series) -> None:
        """Remember a column whose values are two-letter codes, among which NA may be one."""
        known = texts.filter(~texts.is_in(self._texts)).drop_nulls()
        codes = known.filter(known.str.contains(_CODE)).unique().sort()
        if len(codes) > 1 and known.str.contains(_CODE).mean() >= _MOSTLY_CODES:  # type: ignore[operator]
            self._codes[texts.name] = codes.head(3).to_list()

    def findings(self) -> list[Finding]:
        """What was read as missing; a warning where NA may be a code."""
        found = []
        for name, codes in self._codes.items():
            if count := self._met.get(name, Counter())["NA"]:
                kept = shlex.quote(word("data.missing", [text for text in self._texts if text != "NA"]))
                text = (
                    f"{name}: NA is read as missing in {count:,} rows, among two-letter codes ({', '.join(codes)}, …)"
                )
                found.append(Finding("warning", text, f"if NA is a code, such as Namibia's: {kept}"))
        if self._met:
            each = "; ".join(
                f"{name}: "
                + ", ".join(
                    f"{text or 'empty'} in {met[text]:,} rows" for text in sorted(met, key=lambda one: (-met[one], one))
                )
                for name, met in self._met.items()
            )
            found.append(
                Finding("note", f"read as missing: {each}", "data.missing=[TEXT,…] lists the texts that mean it")
            )
        return found
