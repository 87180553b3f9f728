"""Maps raw values of a field to the ids of training. NumPy only: neither torch nor polars.

A vocabulary gives a value the same id as in the prepared data. Id 0 is for values that are unseen in training or too
rare. `None` is a missing value, which is a separate value if training had missing values.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from adasparse_cli.choices import Spelling

# A whole number in the spelling of other tools after a value of its column was missing.
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_INTEGER = re.compile(r"[+-]?\d+")
_EITHER = re.compile(r"[+-]?\d+(\.0)?")
_BOOLEANS = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
# Types whose values never equal a value of another type, unlike 1, 1.0 and True.
_PLAIN = {str, int, type(None)}
# Number of raw values that a vocabulary caches in addition to its own.
REMEMBERED = 100_000


class ValueType(StrEnum):
    """The type of a field's values."""

    integer = "integer"
    text = "text"
    number = "number"


class WrongValueError(ValueError):
    """A value that a field cannot have; the text is the reason."""


@dataclass(frozen=True, kw_only=True)
class TextRules:
    """How text is converted to a value, as in preparation.

    Args:
        missing: texts that mean a missing value.
        spelling: which texts are the same value.
        list_separator: between the values of a list.
    """

    missing: frozenset[str]
    spelling: Spelling
    list_separator: str

    def bare(self, text: str) -> str | None:
        """A text before spelling rules; None if it is missing."""
        bare = text if self.spelling in (Spelling.as_written, Spelling.numbers) else text.strip()
        return None if bare in self.missing else bare

    def spelled(self, text: str) -> str:
        """A text in its normalised spelling."""
        if self.spelling is Spelling.as_written:
            return text
        if self.spelling is not Spelling.numbers:
            text = text.strip()
        if found := _WHOLE.fullmatch(text):
            text = found[1]
        return text.lower() if self.spelling is Spelling.lower_case else _BOOLEANS.get(text, text)

    def text_of(self, value: Any) -> str | None:
        """The value in a text field. Integers and booleans are converted to text, as in the columns of a file.

        Raises:
            WrongValueError: it has another type.
        """
        if value is None:
            return None
        if isinstance(value, bool):
            value = "true" if value else "false"
        if isinstance(value, int):
            value = str(value)
        if not isinstance(value, str):
            raise WrongValueError(f"is {shown(value)}, a text is needed")
        bare = self.bare(value)
        return None if bare is None else self.spelled(bare)

    def integer_of(self, value: Any) -> int | None:
        """The value in an integer field; a text of digits is accepted. An integer whose text means missing is missing, as in a file.

        Raises:
            WrongValueError: it has another type.
        """
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return None if str(value) in self.missing else value
        if isinstance(value, str):
            bare = self.bare(value)
            if bare is None:
                return None
            if _INTEGER.fullmatch(bare.strip()):
                return int(bare)
        raise WrongValueError(f"is {shown(value)}, an integer is needed")

    def number_of(self, value: Any) -> float | None:
        """The value in a numeric field; a text with a number is accepted. NaN and infinity are not.

        Raises:
            WrongValueError: it has another type, or is not finite.
        """
        if value is None:
            return None
        number = math.nan
        if isinstance(value, str):
            bare = self.bare(value)
            if bare is None:
                return None
            with contextlib.suppress(ValueError):
                number = math.nan if "_" in bare else float(bare)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):
                number = float(value)
        if not math.isfinite(number):
            raise WrongValueError(f"is {shown(value)}, a finite number is needed")
        return number


def shown(value: Any) -> str:
    """A value in a message."""
    return f"{value!r:.80}"


class Vocabulary:
    """The ids of a categorical or multi-valued field.

    Args:
        values: of ids 1, 2, …; None is the missing value.
        kind: `integer` or `text`.
    """

    def __init__(self, values: Sequence[Any], kind: ValueType, rules: TextRules) -> None:
        self.kind, self.rules = kind, rules
        self.known: dict[Any, int] = {value: place for place, value in enumerate(values, start=1)}
        self._memory: dict[Any, int] = {}

    def value_of(self, raw: Any) -> Any:
        """A raw value as the vocabulary stores it.

        Raises:
            WrongValueError: it has another type.
        """
        if self.kind is ValueType.integer:
            return raw if type(raw) is int and raw in self.known else self.rules.integer_of(raw)
        text = self.rules.text_of(raw)
        if text is not None and text not in self.known and _EITHER.fullmatch(text):
            # a level 22 written as 22.0 matches the prepared level, and vice versa
            other = text.removesuffix(".0") if text.endswith(".0") else f"{text}.0"
            return other if other in self.known else text
        return text

    def id_of(self, raw: Any) -> int:
        """The id of a raw value, 0 if it is unseen in training.

        Raises:
            WrongValueError: it has another type.
        """
        return self.known.get(self.value_of(raw), 0)

    def ids(self, column: Sequence[Any], faults: dict[int, str]) -> np.ndarray:
        """Ids, int32, one per raw value; `faults` receives a reason, by index, for each value that the field cannot have."""
        if set(map(type, column)) <= _PLAIN:
            memory = self._memory
            try:
                return np.fromiter(map(memory.__getitem__, column), np.int32, len(column))
            except KeyError:
                pass
            if len(memory) < REMEMBERED + len(self.known):
                wrong = set()
                for raw in set(column) - memory.keys():
                    try:
                        memory[raw] = self.id_of(raw)
                    except WrongValueError:
                        wrong.add(raw)
                if not wrong:
                    return np.fromiter(map(memory.__getitem__, column), np.int32, len(column))
        return _one_by_one(column, self.id_of, faults)

    def bags(self, column: Sequence[Any], faults: dict[int, str]) -> Bags:
        """The bag of each raw list, or of each text that the list separator splits."""
        numbers: dict[tuple[int, ...], int] = {(): 0}
        texts: dict[str, int] = {}

        def number(raw: Any) -> int:
            if type(raw) is str:
                if raw not in texts:
                    texts[raw] = numbers.setdefault(tuple(map(self._remembered, self._items(raw))), len(numbers))
                return texts[raw]
            plain = type(raw) is list and set(map(type, raw)) <= _PLAIN
            ids = map(self._remembered if plain else self.id_of, self._items(raw))
            return numbers.setdefault(tuple(ids), len(numbers))

        of_row = _one_by_one(column, number, faults)
        starts = np.cumsum([0, *map(len, numbers)])
        return Bags(np.array([one for ids in numbers for one in ids], dtype=np.int64), starts, of_row)

    def _remembered(self, raw: Any) -> int:
        """`id_of`, cached for values of types whose values never equal a value of another type."""
        found = self._memory.get(raw)
        if found is None:
            found = self.id_of(raw)
            if len(self._memory) < REMEMBERED + len(self.known):
                self._memory[raw] = found
        return found

    def _items(self, raw: Any) -> Iterable[Any]:
        if raw is None:
            return ()
        if isinstance(raw, str):
            bare = self.rules.bare(raw)
            raw = [] if bare is None else self.rules.spelled(bare).split(self.rules.list_separator)
        if not isinstance(raw, (list, tuple)):
            raise WrongValueError(f"is {shown(raw)}, a list is needed")
        return (item for item in raw if item not in ("", None))


@dataclass(frozen=True)
class Bags:
    """Bags of ids: bag k holds `values[starts[k]:starts[k + 1]]`, bag 0 is empty; row i has the bag `of_row[i]`."""

    values: np.ndarray
    starts: np.ndarray
    of_row: np.ndarray


class Buckets:
    """The ids of a numeric field: bucket k is [lower[k − 1], lower[k]); the first has no lower bound.

    Args:
        missing: id of a missing value, 0 if training had none.
    """

    kind = ValueType.number

    def __init__(self, lower: Sequence[float], missing: int, rules: TextRules) -> None:
        self.lower, self.missing, self.rules = np.asarray(lower, dtype=np.float64), missing, rules

    def value_of(self, raw: Any) -> float | None:
        """A raw value as a number.

        Raises:
            WrongValueError: it is not a number.
        """
        return self.rules.number_of(raw)

    def ids(self, column: Sequence[Any], faults: dict[int, str]) -> np.ndarray:
        """Ids, int32, one per raw value, see `Vocabulary.ids`."""

        def as_number(raw: Any) -> float:
            number = self.rules.number_of(raw)
            return math.nan if number is None else number

        numbers: np.ndarray | None = None
        if set(map(type, column)) <= {float, type(None)}:  # the common case at once
            numbers = np.array(column, dtype=np.float64)
            missing = np.array([raw is None for raw in column], dtype=bool)
            numbers = numbers if np.isfinite(numbers[~missing]).all() else None
        if numbers is None:
            numbers = _one_by_one(column, as_number, faults, np.float64)
        if len(self.lower) == 0:
            return np.full(len(column), self.missing, dtype=np.int32)
        found = np.maximum(np.searchsorted(self.lower, numbers, side="right"), 1).astype(np.int32)
        return np.where(np.isnan(numbers), np.int32(self.missing), found)


def _one_by_one(
    column: Sequence[Any], read: Callable[[Any], Any], faults: dict[int, str], dtype: type = np.int32
) -> np.ndarray:
    found: np.ndarray = np.zeros(len(column), dtype=dtype)
    for place, raw in enumerate(column):
        try:
            found[place] = read(raw)
        except WrongValueError as error:
            faults.setdefault(place, str(error))
    return found


def rules_of(values: Mapping[str, Any]) -> TextRules:
    """The rules stored in an artefact."""
    return TextRules(
        missing=frozenset(values["missing"]),
        spelling=Spelling(values["spelling"]),
        list_separator=str(values["list_separator"]),
    )
