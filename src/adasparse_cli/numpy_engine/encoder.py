"""Encodes rows of raw values as rows of ids with vocabularies. NumPy only: neither torch nor polars."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adasparse_cli.choices import FieldKind
from adasparse_cli.numpy_engine.keys import joined_key
from adasparse_cli.numpy_engine.values import Bags, Buckets, Vocabulary, WrongValueError
from adasparse_cli.schema import Field


@dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """Rows of ids.

    Args:
        ids: int32, rows × fields in the artefact's order; for a multi-valued field the number of the row's bag.
        bags: by the name of each multi-valued field.
        domains: the number of each row's domain; for an unknown domain, the number of all domains.
    """

    ids: np.ndarray
    bags: Mapping[str, Bags]
    domains: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray | slice) -> EncodedRows:
        """The rows at these indices."""
        bags = {name: Bags(own.values, own.starts, own.of_row[rows]) for name, own in self.bags.items()}
        return EncodedRows(ids=self.ids[rows], bags=bags, domains=self.domains[rows])


@dataclass(frozen=True)
class Fault:
    """A value that cannot be used: index of its row, its column, the value and the reason."""

    place: int
    column: str
    value: str
    reason: str


class RowEncoder:
    """Maps columns of raw values to ids.

    Args:
        fields: in the artefact's order.
        vocabularies: by field; none for the combination.
        combination: name of the field that is the domain id, computed from the others; None if there is none.
        combinations: for that field, the values of the domain's fields for ids 1, 2, …
        domain: names of the domain's fields.
        keys: the values of the domain's fields for domains 0, 1, …
    """

    def __init__(
        self,
        fields: Sequence[Field],
        vocabularies: Mapping[str, Vocabulary | Buckets],
        *,
        combination: str | None,
        combinations: Sequence[Sequence[Any]],
        domain: Sequence[str],
        keys: Sequence[Sequence[Any]],
    ) -> None:
        self.fields, self.vocabularies = tuple(fields), dict(vocabularies)
        self.combination, self.domain = combination, tuple(domain)
        self.inputs = tuple(field.name for field in fields if field.name != combination)
        self.keys = [tuple(key) for key in keys]
        self.combinations = {tuple(key): place for place, key in enumerate(combinations, start=1)}
        self._names: dict[int, str] = {}
        self._domains = {key: place for place, key in enumerate(self.keys)}

    @property
    def num_all_domains(self) -> int:
        """Number of known domains."""
        return len(self.keys)

    def name_of(self, domain: int) -> str | None:
        """A domain's name: its key as one text; None for an unknown domain."""
        if domain >= len(self.keys):
            return None
        if domain not in self._names:
            self._names[domain] = joined_key(self.keys[domain])
        return self._names[domain]

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> tuple[EncodedRows, list[Fault]]:
        """The ids of all rows, and errors. The ids of rows with errors are meaningless.

        Args:
            columns: raw values by input field, all of the same length; other columns are ignored.
        """
        rows = len(columns[self.inputs[0]])
        ids = np.zeros((rows, len(self.fields)), dtype=np.int32)
        bags: dict[str, Bags] = {}
        faults: list[Fault] = []
        for place, field in enumerate(self.fields):
            if field.name == self.combination:
                continue
            column = columns[field.name]
            wrong: dict[int, str] = {}
            vocabulary = self.vocabularies[field.name]
            if field.kind is FieldKind.multi_valued:
                assert isinstance(vocabulary, Vocabulary)
                own = vocabulary.bags(column, wrong)
                bags[field.name], ids[:, place] = own, own.of_row
            else:
                ids[:, place] = vocabulary.ids(column, wrong)
            faults += [Fault(at, field.name, str(column[at])[:80], reason) for at, reason in wrong.items()]
        domains, combinations = self._of_domains(columns, rows)
        if self.combination is not None:
            ids[:, [field.name for field in self.fields].index(self.combination)] = combinations
        faults.sort(key=lambda fault: fault.place)
        return EncodedRows(ids=ids, bags=bags, domains=domains), faults

    def _of_domains(self, columns: Mapping[str, Sequence[Any]], rows: int) -> tuple[np.ndarray, np.ndarray]:
        """The number of each row's domain, and the id of its combination. Each distinct key is looked up once."""
        raw = [columns[name] for name in self.domain]
        keys: list[Hashable]
        if all(set(map(type, column)) <= {str, int, type(None)} for column in raw):
            keys = list(zip(*raw, strict=True))
            known: dict[Hashable, tuple[int, int]] = {key: self._of_key(key) for key in set(keys)}
        else:  # values that cannot be hashed, or that are equal to a value of another type
            keys = list(range(rows))
            known = {place: self._of_key(values) for place, values in enumerate(zip(*raw, strict=True))}
        found = np.array([known[key] for key in keys], dtype=np.int64).reshape(rows, 2)
        return found[:, 0], found[:, 1].astype(np.int32)

    def _of_key(self, values: Any) -> tuple[int, int]:
        try:
            key = tuple(self.vocabularies[name].value_of(raw) for name, raw in zip(self.domain, values, strict=True))
        except WrongValueError:  # is already among the errors
            return len(self.keys), 0
        return self._domains.get(key, len(self.keys)), self.combinations.get(key, 0)
