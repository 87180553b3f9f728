"""Draws rows of raw values with known ids from the vocabularies, for the check of an artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adasparse_cli.choices import FieldKind
from adasparse_cli.exporting.vocabularies import Tables
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.values import Bags, ValueType
from adasparse_cli.schema import Field

# Number of rows in addition to one per domain: with unseen domains and values, missing values, empty lists.
OTHERS = 64
LONGEST_LIST = 6
UNSEEN_SHARE, MISSING_SHARE = 0.1, 0.1


@dataclass(frozen=True)
class DrawnRows:
    """Rows of raw values.

    Args:
        columns: raw values by input field. encoded: the same rows as ids, from the tables of preparation.
    """

    columns: dict[str, list[Any]]
    encoded: EncodedRows

    def raw(self, place: int) -> dict[str, Any]:
        """One row."""
        return {name: values[place] for name, values in self.columns.items()}


def draw_rows(tables: Tables, domains: Sequence[int], *, seed: int = 0) -> DrawnRows:
    """One row of each domain, then OTHERS more rows of any domain, half of them with an unseen value in its key.

    Values of other fields are drawn from the vocabularies; some are unseen, missing, or empty lists.
    """
    draw = np.random.default_rng(seed)
    count = len(domains) + OTHERS
    columns: dict[str, list[Any]] = {}
    chosen = [*domains, *draw.integers(0, tables.keys.height, OTHERS).tolist()]
    for field in tables.manifest.fields:
        if field.name in tables.manifest.domain:
            values = tables.keys[field.name].gather(chosen).to_list()
            parts = tables.manifest.domain
            for place in range(len(domains) + 2 * parts.index(field.name), count, 2 * len(parts)):
                values[place] = _unseen(tables, field)
        elif field.name == tables.combination:
            continue
        else:
            values = [_value(tables, field, draw) for _ in range(count)]
        columns[field.name] = values
    return DrawnRows(columns, as_rows(tables, columns))


def as_rows(tables: Tables, columns: dict[str, list[Any]]) -> EncodedRows:
    """Encode raw values with the tables of preparation."""
    found = tables.encoded(columns)
    rows = len(next(iter(columns.values())))
    ids = np.zeros((rows, len(tables.manifest.fields)), dtype=np.int32)
    bags = {}
    for place, field in enumerate(tables.manifest.fields):
        own = found[field.name]
        if field.kind is FieldKind.multi_valued:
            numbers: dict[tuple[int, ...], int] = {(): 0}
            of_row = np.array([numbers.setdefault(one, len(numbers)) for one in own], dtype=np.int32)
            flat = np.array([value for one in numbers for value in one], dtype=np.int64)
            bags[field.name] = Bags(flat, np.cumsum([0, *map(len, numbers)]), of_row)
            own = of_row
        ids[:, place] = own
    return EncodedRows(ids=ids, bags=bags, domains=np.array(tables.domain_numbers(columns), dtype=np.int64))


def _value(tables: Tables, field: Field, draw: np.random.Generator) -> Any:
    if field.kind is FieldKind.multi_valued:
        return [_known_value(tables, field, draw) for _ in range(int(draw.integers(0, LONGEST_LIST + 1)))]
    chance = draw.random()
    if chance < MISSING_SHARE:
        return None
    return _unseen(tables, field) if chance < MISSING_SHARE + UNSEEN_SHARE else _known_value(tables, field, draw)


def _known_value(tables: Tables, field: Field, draw: np.random.Generator) -> Any:
    values = tables.vocabularies[field.name].table["lower" if field.kind is FieldKind.numeric else "value"].drop_nulls()
    return _unseen(tables, field) if len(values) == 0 else values[int(draw.integers(0, len(values)))]


def _unseen(tables: Tables, field: Field) -> Any:
    kind = tables.type_of(field)
    if kind is ValueType.number:
        lower = tables.vocabularies[field.name].table["lower"].drop_nulls()
        return float(lower[0]) - 1.0 if len(lower) else 0.0
    values = tables.vocabularies[field.name].table["value"]
    if kind is ValueType.integer:
        greatest = values.max()
        return 1 + (int(greatest) if isinstance(greatest, int) else 0)
    known, text = set(values.to_list()), "unseen"
    while text in known:
        text += "-"
    return text
