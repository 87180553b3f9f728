"""Converts values to ids: fields with their vocabularies, domains and users by their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from adasparse_cli.choices import FieldKind, Split
from adasparse_cli.prep.lookup import Lookup
from adasparse_cli.prep.prepared_tables import key_columns
from adasparse_cli.prep.recipe import DAY, LABEL, LINE, PROPENSITY, SOURCE, TIMESTAMP, USER, FieldPlan
from adasparse_cli.prep.spill import SPLIT, Spill
from adasparse_cli.prep.vocabulary import Vocabulary

DOMAIN = "__domain"


def key_text(names: Sequence[str]) -> list[pl.Expr]:
    """Key fields as text, as in `domains.parquet`."""
    return [pl.col(name).cast(pl.String).alias(key) for name, key in zip(names, key_columns(names), strict=True)]


def domain_table(spill: Spill, domain: Sequence[str]) -> pl.DataFrame:
    """All domains: `domain` (id), the key's fields as text, and rows and positives per split.

    Domains with training rows come first, ordered by (−training rows, key); the others follow, by key.
    """
    splits, keys = [split.value for split in Split], key_columns(domain)
    counts = spill.scan([*domain, SPLIT, LABEL]).group_by([*key_text(domain), SPLIT]).agg(
        pl.len().alias("rows"), pl.col(LABEL).cast(pl.Int64).sum().alias("positives")
    )  # fmt: skip
    wide = (
        counts.group_by(keys)
        .agg(
            *(
                pl.col("rows").filter(pl.col(SPLIT) == split).sum().cast(pl.Int64).alias(f"{split}_rows")
                for split in splits
            ),
            *(
                pl.col("positives").filter(pl.col(SPLIT) == split).sum().alias(f"{split}_positives")
                for split in splits
                if split != Split.unlabelled
            ),
        )
        .collect()
    )
    ordered = wide.sort(["train_rows", *keys], descending=[True, *(False for _ in keys)], nulls_last=True)
    return ordered.with_row_index("domain").with_columns(pl.col("domain").cast(pl.Int32))


@dataclass
class Encoder:
    """Converts value frames to id frames, with the same vocabularies for every frame.

    Args:
        domains: the result of `domain_table`; an unknown key gets the number of its rows as id.
        spill: source of all users, to number them; None if users are not needed.
    """

    plans: tuple[FieldPlan, ...]
    vocabularies: Mapping[str, Vocabulary]
    domain: tuple[str, ...]
    domains: pl.DataFrame
    spill: Spill | None
    has_user: bool = field(init=False, default=False)
    has_timestamp: bool = field(init=False, default=False)
    _users: Lookup | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.spill is None:
            return
        names = self.spill.scan().collect_schema().names()
        self.has_user, self.has_timestamp = USER in names, TIMESTAMP in names
        if self.has_user:
            # rows without a user have the number −1: they are not one user
            self._users = Lookup(self.spill.sorted_values(USER).drop_nulls())

    def by_split(self, path: Path) -> dict[Split, pl.DataFrame]:
        """The rows of one spilled frame, encoded, by split."""
        assert self.spill is not None
        parts = self.spill.frame(path).partition_by(SPLIT, as_dict=True)
        found = {Split(str(name)): own for (name,), own in parts.items()}
        return {split: self.encode(own, labelled=split is not Split.unlabelled) for split, own in found.items()}

    def encode(self, frame: pl.DataFrame, *, labelled: bool) -> pl.DataFrame:
        """Ids of the fields in their order, then the other columns of the row."""
        columns = [
            frame[plan.name].cast(pl.Int32)
            if plan.kind is FieldKind.multi_valued
            else self.vocabularies[plan.name].ids(frame[plan.name]).alias(plan.name)
            for plan in self.plans
        ]
        keys = frame.select(key_text(self.domain)).join(
            self.domains.select(*key_columns(self.domain), "domain"),
            on=key_columns(self.domain),
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )
        columns.append(keys["domain"].fill_null(self.domains.height).cast(pl.Int32).alias(DOMAIN))
        if labelled:
            columns.append(frame[LABEL].cast(pl.Int8))
        if self._users is not None:
            columns.append(pl.Series("__user", self._users.places(frame[USER])))
        columns += [frame[SOURCE].cast(pl.Int32), frame[LINE].cast(pl.Int64)]
        if DAY in frame.columns:
            columns.append(frame[DAY].cast(pl.Int32))
        if PROPENSITY in frame.columns:
            columns.append(frame[PROPENSITY])
        return pl.DataFrame(columns)
