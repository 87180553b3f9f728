"""The settings of `recipe: tabular`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, Encoding, FieldKind, FieldRole, Spelling, SplitRule, TimeUnit
from adasparse_cli.errors import UsageError
from adasparse_cli.prep.recipe import (
    DataSettings,
    domain_field,
)
from adasparse_cli.schema import Field

# Fields that can be made from a timestamp.
DERIVED = ("hour", "weekday")


@dataclass(frozen=True, kw_only=True)
class Settings(DataSettings):
    """What a table's columns are.

    Args:
        test_files: names of the files whose rows are the test split, for `split=given`; `*` is any text.
        label: the column to predict, 0 or 1.
        positive: texts of the label that mean 1, in upper or lower case; every other text then means 0. Empty: 1 and true
            mean 1, 0 and false mean 0, and other texts are rejected.
        timestamp: column of numbers since 1970 or of ISO dates; null for none.
        timestamp_unit: unit of a numeric timestamp; `auto` detects it from the first rows of each file.
        utc_offset_hours: offset from UTC, in hours, of the time zone in which days and hours are read.
        derived: fields made from the timestamp: `hour`, `weekday`. A column of the same name is not read. Null: both, unless
            a column has the name, as in data that were prepared before this setting.
        user: column that names the user; null for none.
        propensity: column with the probability, in (0, 1], that the logging system showed the row; null if unknown. It is
            not a feature; `analyze abtest` weights rows by it. Unlabelled files may lack it.
        roles: role of a column, if it is not `domain_agnostic`; `ignored` leaves a column out.
        kinds: kind of a column, if the inferred kind is wrong.
        header: names of the columns, for text files without a header line; empty if the first line has the names.
        encoding: character encoding of text files.
        separator: separator of the columns, one or more characters; null to detect it in the first line. With several
            characters, quotes have no special meaning.
        list_separator: character between the values of a multi-valued field.
        spelling: which texts of a field count as the same value.
        quoted_newlines: whether a text file's fields in double quotes may hold line breaks. Reading is slower then; a
            rejected row is named by the first line of its record.
        missing: texts that mean "missing".
        identifier_share: columns of text or whole numbers with a larger share (0–1) of distinct values are left out.
    """

    test_files: tuple[str, ...]
    label: str
    positive: tuple[str, ...]
    timestamp: str | None
    timestamp_unit: TimeUnit
    utc_offset_hours: Annotated[float, Between(-24, 24)]
    derived: tuple[str, ...] | None
    user: str | None
    propensity: str | None
    roles: Mapping[str, FieldRole]
    kinds: Mapping[str, FieldKind]
    header: tuple[str, ...]
    encoding: Encoding
    separator: str | None
    list_separator: str
    spelling: Spelling
    quoted_newlines: bool
    missing: tuple[str, ...]
    identifier_share: Annotated[float, Between(0, 1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split is SplitRule.given and not self.test_files:
            raise UsageError(
                "data.split=given takes the test split from files, and data.test_files names none",
                hint="such as 'data.test_files=[test.csv]'",
            )
        unknown = [name for name in self.derived or () if name not in DERIVED]
        if unknown:
            raise UsageError(
                f"data.derived={list(self.derived or ())}: {unknown[0]} cannot be made from a timestamp",
                hint=f"data.derived may name {' and '.join(DERIVED)}",
            )

    def reads(self, column: str) -> bool:
        """Whether a column's values are needed; those of other columns count only to tell equal rows apart."""
        return self.roles.get(column) is not FieldRole.ignored

    def as_prepared(self, fields: Sequence[Field]) -> ScoringSettings:
        """Only what a score needs: the fields, of the kinds they were prepared with."""
        own = domain_field(fields, self.domain_aware or self.domain) if self.domain_id else None
        known = {field.name: field for field in fields if field.name != own}
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Settings)}
        timed = any(name in (DERIVED if self.derived is None else self.derived) for name in known)
        return ScoringSettings(
            **{
                **values,
                "kinds": {name: field.kind for name, field in known.items()},
                "roles": {name: role for name, role in self.roles.items() if name in known},
                "timestamp": self.timestamp if timed else None,
                "propensity": None,
            },
            fields=tuple(known),
        )


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings):
    """How files are read to be scored.

    Columns that are not of `fields` are not read, a row needs no label, and a file without the user's column has rows
    of missing users.
    """

    fields: tuple[str, ...]

    def reads(self, column: str) -> bool:
        """Whether a column's values are needed."""
        return column in (*self.fields, *self.domain, self.label, self.timestamp, self.user)
