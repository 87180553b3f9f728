"""Converts values to ids: fields with their vocabularies, domains and users by their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from adasparse_cli.choices import FieldKind, Split
from adasparse_cli.columns.lookup import Lookup
from adasparse_cli.prep.counts import POSITIVES, ROWS, Count
from adasparse_cli.prep.recipe import DAY, LABEL, LINE, PROPENSITY, SOURCE, USER, FieldPlan
from adasparse_cli.prep.spill import SPLIT
from adasparse_cli.prep.vocabulary import Vocabulary
from adasparse_cli.prepared.tables import key_columns

DOMAIN = "__domain"


def key_text(names: Sequence[str]) -> list[pl.Expr]:
    """Key fields as text, as in `domains.parquet`."""
    return [pl.col(name).cast(pl.String).alias(key) for name, key in zip(names, key_columns(names), strict=True)]


def domain_count(domain: Sequence[str]) -> Count:
    """Rows and positives by key and split."""
    return Count(keys=(*key_text(domain), pl.col(SPLIT)), positives=True)


def domain_table(counts: pl.DataFrame, domain: Sequence[str]) -> pl.DataFrame:
    """All domains: `domain` (id), the key's fields as text, and rows and positives per split.

    Domains with training rows come first, ordered by (−training rows, key); the others follow, by key.

    Args:
        counts: of `domain_count`.
    """
    splits, keys = [split.value for split in Split], key_columns(domain)
    wide = counts.group_by(keys).agg(
        *(pl.col(ROWS).filter(pl.col(SPLIT) == split).sum().alias(f"{split}_rows") for split in splits),
        *(
            pl.col(POSITIVES).filter(pl.col(SPLIT) == split).sum().alias(f"{split}_positives")
            for split in splits
            if split != Split.unlabelled
        ),
    )
    ordered = wide.sort(["train_rows", *keys], descending=[True, *(False for _ in keys)], nulls_last=True)
    return ordered.with_row_index("domain").with_columns(pl.col("domain").cast(pl.Int32))


@dataclass
class Encoder:
    """Converts value frames to id frames, with the same vocabularies for every frame.

    Args:
        domains: the result of `domain_table`; an unknown key gets the number of its rows as id.
        users: the distinct users, sorted; None if users are not needed. Rows without a user get −1: they are not one user.
    """

    plans: tuple[FieldPlan, ...]
    vocabularies: Mapping[str, Vocabulary]
    domain: tuple[str, ...]
    domains: pl.DataFrame
    users: pl.Series | None = None

    @cached_property
    def _users(self) -> Lookup:
        assert self.users is not None
        return Lookup(self.users.drop_nulls())

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
        if self.users is not None:
            columns.append(pl.Series("__user", self._users.places(frame[USER])))
        columns += [frame[SOURCE].cast(pl.Int32), frame[LINE].cast(pl.Int64)]
        if DAY in frame.columns:
            columns.append(frame[DAY].cast(pl.Int32))
        if PROPENSITY in frame.columns:
            columns.append(frame[PROPENSITY])
        return pl.DataFrame(columns)
