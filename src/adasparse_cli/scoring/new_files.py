"""Encodes new files with the vocabularies of prepared data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from adasparse_cli.choices import FieldKind, nearest_names
from adasparse_cli.columns.lookup import Lookup
from adasparse_cli.errors import DataError
from adasparse_cli.files import file_stem
from adasparse_cli.prep.encode import Encoder
from adasparse_cli.prep.recipe import DataSettings, recipe_named, with_domain_id
from adasparse_cli.prep.vocabulary import Vocabulary, bag_values, encoded_bags
from adasparse_cli.prepared.tables import read_domains, table
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.schema import Manifest


@dataclass(frozen=True)
class EncodedFile:
    """A new file, encoded with the vocabularies of prepared data.

    Args:
        frame: as in the parts; `__label` only if the file has labels.
        new_bags: per multi-valued field, the lists of ids of bags that the prepared data do not
            have; their indices follow the indices of the stored bags.
        rejects: rejected rows.
    """

    frame: pl.DataFrame
    new_bags: Mapping[str, pl.Series]
    rejects: Sequence[Reject]


def encode_rows(folder: Path, manifest: Manifest, settings: DataSettings, raw: Sequence[Path]) -> Iterator[EncodedFile]:
    """Encode new files block by block with the vocabularies of prepared data.

    The new bags of each block are numbered from the number of stored bags on. Columns that are not fields are ignored.
    A level 22 written as 22.0 matches the prepared level, and vice versa.

    Raises:
        DataError: a file has a missing field.
    """
    recipe = recipe_named(manifest.recipe)
    read = recipe.read(settings.as_prepared(manifest.fields), list(raw))
    data = with_domain_id(read, settings, manifest.fields, escaped=manifest.escaped_keys)
    named = {plan.name: plan for plan in data.plans}
    lacking = [field.name for field in manifest.fields if field.name not in named]
    if lacking:
        raise DataError(
            f"{raw[0]}: lacks the column {lacking[0]}, which {manifest.name} was prepared with",
            hint=f"did you mean {nearest_names(lacking[0], list(named))}?",
        )
    plans = tuple(named[field.name] for field in manifest.fields)
    kinds = {plan.name: plan.kind for plan in plans}
    vocabularies = {
        name: Vocabulary(table(folder, manifest, f"vocabularies/{file_stem(name)}.parquet"), kind)
        for name, kind in kinds.items()
    }
    encoder = Encoder(plans, vocabularies, tuple(manifest.domain), read_domains(folder, manifest))
    multi = [plan for plan in plans if plan.kind is FieldKind.multi_valued]
    categorical = [plan.name for plan in plans if plan.kind is FieldKind.categorical]
    stored = {plan.name: _stored_texts(folder, manifest, plan.name) for plan in multi}
    known = {name: Lookup(texts) for name, texts in stored.items()}
    for frame in data.frames:
        new_bags = {}
        for plan in multi:
            name, first = plan.name, len(stored[plan.name]) + 1
            numbers, fresh = _bag_numbers(frame[name], known[name], first)
            frame = frame.with_columns(numbers)
            values = bag_values(plan, fresh, first_bag=first)
            new_bags[name] = encoded_bags(vocabularies[name], values, first_bag=first, bags=len(fresh))
        frame = frame.with_columns(_as_known(frame[name], vocabularies[name]) for name in categorical)
        labelled = frame["__label"].null_count() == 0
        rejects = tuple(data.rejects[: (found := len(data.rejects))])
        del data.rejects[:found]  # more may have been added since
        yield EncodedFile(encoder.encode(frame, labelled=labelled), new_bags, rejects)
    if data.rejects:
        yield EncodedFile(pl.DataFrame(), {}, tuple(data.rejects))


def _as_known(values: pl.Series, vocabulary: Vocabulary) -> pl.Series:
    """Whole numbers in the spelling of the vocabulary.

    Other tools write a column with decimals as soon as one value is missing: 22 in one file is 22.0 in the next.
    """
    if values.dtype != pl.String:
        return values
    unknown = values.filter((vocabulary.ids(values) == 0) & values.is_not_null()).unique()
    unknown = unknown.filter(unknown.str.contains(r"^[+-]?\d+(\.0)?$"))
    decimal = unknown.str.ends_with(".0")
    other = pl.select(pl.when(decimal).then(unknown.str.strip_suffix(".0")).otherwise(unknown + ".0")).to_series()
    known = vocabulary.ids(other) > 0
    return values.replace(unknown.filter(known), other.filter(known)) if known.any() else values


def _stored_texts(folder: Path, manifest: Manifest, name: str) -> pl.Series:
    texts = f"bags/{file_stem(name)}.texts.parquet"
    if texts not in manifest.files:  # every bag is empty
        return pl.Series("text", [], dtype=pl.String)
    return table(folder, manifest, texts)["text"]


def _bag_numbers(texts: pl.Series, stored: Lookup, first: int) -> tuple[pl.Series, pl.Series]:
    """The bag of each row (0 for null), and the texts of bags `first`, …, which are not stored."""
    texts = texts.cast(pl.String)
    distinct = texts.drop_nulls().unique(maintain_order=True)
    numbers = stored.places(distinct) + 1
    new = np.flatnonzero(numbers == 0)
    numbers[new] = np.arange(first, first + len(new))
    # the last one is for index −1, of a null
    found = np.append(numbers, np.int32(0))[Lookup(distinct).places(texts)]
    return pl.Series(texts.name, found), distinct.gather(new)
