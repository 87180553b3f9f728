"""A run's encoder as plain values for an artefact, read from the tables of prepared data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.choices import FieldKind, FieldRole, Spelling
from adasparse_cli.errors import UsageError
from adasparse_cli.files import file_stem
from adasparse_cli.numpy_engine.values import ValueType
from adasparse_cli.prep.recipe import domain_field
from adasparse_cli.prep.vocabulary import Vocabulary
from adasparse_cli.prepared.files import as_today, data_file
from adasparse_cli.prepared.key import joined_keys
from adasparse_cli.prepared.tables import key_columns, read_domains
from adasparse_cli.schema import Field, Manifest


@dataclass(frozen=True)
class Tables:
    """The encoder's tables of prepared data.

    Args:
        folder: a run's `encoder/`, or prepared data.
    """

    folder: Path
    manifest: Manifest

    @cached_property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """The vocabularies by field, as preparation uses them."""
        return {
            field.name: Vocabulary(
                pl.read_parquet(
                    data_file(self.folder, self.manifest, f"vocabularies/{file_stem(field.name)}.parquet"), glob=False
                ),
                field.kind,
            )
            for field in self.manifest.fields
        }

    @cached_property
    def combination(self) -> str | None:
        """The field that is the domain id."""
        settings = as_today(self.manifest)
        roles = {name for name, role in (settings.get("roles") or {}).items() if role == FieldRole.domain_aware}
        aware = {*(settings.get("domain_aware") or ()), *self.manifest.domain, *roles}
        return domain_field(self.manifest.fields, aware) if settings.get("domain_id") else None

    @cached_property
    def keys(self) -> pl.DataFrame:
        """The values of the domain's fields, in their types, for domains 0, 1, …"""
        domains = read_domains(self.folder, self.manifest)
        columns = []
        for name, key in zip(self.manifest.domain, key_columns(self.manifest.domain), strict=True):
            kind = self.type_of(self.field(name))
            columns.append(domains[key].cast(pl.Int64 if kind is ValueType.integer else pl.String).alias(name))
        return pl.DataFrame(columns)

    @cached_property
    def train_rows(self) -> list[int]:
        """Training rows of each domain."""
        found: list[int] = read_domains(self.folder, self.manifest)["train_rows"].to_list()
        return found

    def field(self, name: str) -> Field:
        """A field by its name."""
        return next(field for field in self.manifest.fields if field.name == name)

    def type_of(self, field: Field) -> ValueType:
        """The type of a field's values.

        Raises:
            UsageError: an artefact cannot store this type.
        """
        if field.kind is FieldKind.numeric:
            return ValueType.number
        dtype = self.vocabularies[field.name].table["value"].dtype
        if dtype.is_integer():
            return ValueType.integer
        if dtype == pl.String or dtype == pl.Null:
            return ValueType.text
        raise UsageError(
            f"the field {field.name} has values of type {dtype}, which an artefact does not hold",
            hint="a recipe delivers integers or texts; prepare the data with another one",
        )

    def require_plain_domain(self) -> None:
        """Check that domains consist of categorical fields.

        Raises:
            UsageError: a field of the domain is numeric or multi-valued.
        """
        for name in self.manifest.domain:
            if self.field(name).kind is not FieldKind.categorical:
                raise UsageError(
                    f"the domain's field {name} is {self.field(name).kind}: its domains have no exact key",
                    hint=f"prepare the data with 'data.kinds={{{name}: categorical}}'",
                )

    def file_of(self, field: Field) -> dict[str, Any]:
        """The content of a field's file in the artefact."""
        table = self.vocabularies[field.name].table
        if field.kind is FieldKind.numeric:
            lower = table["lower"].drop_nulls().to_list()
            return {"field": field.name, "lower": lower, "missing": table.height if table.height > len(lower) else 0}
        if field.name == self.combination:
            return {"field": field.name, "parts": list(self.manifest.domain), "values": self._combinations(table)}
        return {"field": field.name, "type": str(self.type_of(field)), "values": table["value"].to_list()}

    def _combinations(self, table: pl.DataFrame) -> list[list[Any]]:
        """The key of each value of the combination's field."""
        names = self.keys.select(
            joined_keys([pl.col(name) for name in self.keys.columns], escaped=self.manifest.escaped_keys)
        )
        keys = self.keys.with_columns(names.to_series().alias("__name")).unique("__name", keep="first")
        found = table.select(pl.col("value").alias("__name")).join(keys, on="__name", how="left", maintain_order="left")
        return [list(row) for row in found.select(self.keys.columns).iter_rows()]

    @cached_property
    def rules(self) -> dict[str, Any]:
        """The rules that convert text to values, as in `adasparse.json`."""
        settings = as_today(self.manifest)
        return {
            "missing": list(settings.get("missing", [""])),
            "spelling": str(settings.get("spelling", Spelling.as_written)),
            "list_separator": str(settings.get("list_separator", ";")),
        }

    def encoded(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Ids of raw values by field, as in preparation: a list of ids per row for a multi-valued field."""
        found: dict[str, Any] = {}
        for field in self.manifest.fields:
            vocabulary = self.vocabularies[field.name]
            if field.name == self.combination:
                parts = pl.DataFrame({name: self._series(name, columns[name]) for name in self.manifest.domain})
                key = joined_keys([pl.col(name) for name in parts.columns], escaped=self.manifest.escaped_keys)
                found[field.name] = vocabulary.ids(parts.select(key).to_series()).to_numpy()
            elif field.kind is FieldKind.multi_valued:
                found[field.name] = [
                    tuple(vocabulary.ids(self._series(field.name, items)).to_list()) if items else ()
                    for items in columns[field.name]
                ]
            else:
                found[field.name] = vocabulary.ids(self._series(field.name, columns[field.name])).to_numpy()
        return found

    def _series(self, name: str, values: Sequence[Any]) -> pl.Series:
        kind = self.type_of(self.field(name))
        types = {ValueType.integer: pl.Int64, ValueType.number: pl.Float64, ValueType.text: pl.String}
        return pl.Series(name, values, dtype=types[kind])

    def domain_numbers(self, columns: Mapping[str, Sequence[Any]]) -> list[int]:
        """The domain of each row."""
        rows = pl.DataFrame({name: self._series(name, columns[name]) for name in self.manifest.domain})
        known = self.keys.with_row_index("__domain")
        found = rows.join(known, on=self.keys.columns, how="left", nulls_equal=True, maintain_order="left")
        numbers: list[int] = found["__domain"].fill_null(self.keys.height).to_list()
        return numbers

    def conditions(self) -> dict[str, list[int]] | None:
        """Ids of the domain-aware fields of each domain; None if the domain does not determine them."""
        aware = [field for field in self.manifest.fields if field.role is FieldRole.domain_aware]
        if any(field.name not in (*self.manifest.domain, self.combination) for field in aware):
            return None
        columns = self.keys.to_dict(as_series=False)
        names = self.keys.select(
            joined_keys([pl.col(name) for name in self.keys.columns], escaped=self.manifest.escaped_keys)
        )
        return {
            field.name: self.vocabularies[field.name]
            .ids(names.to_series() if field.name == self.combination else self._series(field.name, columns[field.name]))
            .to_list()
            for field in aware
        }
