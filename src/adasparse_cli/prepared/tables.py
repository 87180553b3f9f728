"""Reads the tables of prepared data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from adasparse_cli.choices import Split
from adasparse_cli.files import file_stem
from adasparse_cli.prepared.files import DOMAINS, data_file, sealed_files
from adasparse_cli.prepared.key import joined_keys
from adasparse_cli.schema import Manifest

OTHER_COLUMNS = {
    "domain",
    "rows",
    "positives",
    *(f"{split}_{what}" for split in Split for what in ("rows", "positives")),
}


def key_columns(names: Sequence[str]) -> list[str]:
    """The columns of the key fields in `domains.parquet`: the fields' names, unless other columns there have these names."""
    return [f"{name} (field)" if name in OTHER_COLUMNS else name for name in names]


def split_parts(
    folder: Path, manifest: Manifest, split: Split, *, only: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of a split, part by part. Without parts, one empty frame with the right columns.

    Args:
        only: columns; None for all.
    """
    parts = [name for name in sorted(manifest.files) if name.startswith(f"{split}/part-")]
    if not parts:
        names = [field.name for field in manifest.fields]
        columns = {**dict.fromkeys([*names, "__domain", "__source"], pl.Int32), "__line": pl.Int64}
        if split is not Split.unlabelled:
            columns["__label"] = pl.Int8
        if manifest.has_user:
            columns["__user"] = pl.Int32
        yield pl.DataFrame(schema=columns).select(only or pl.all())
    for part in sealed_files(folder, manifest, manifest.files).paths(parts):
        yield pl.read_parquet(part, glob=False, columns=None if only is None else list(only))


def read_split(folder: Path, manifest: Manifest, split: Split) -> pl.DataFrame:
    """All rows of a split."""
    return pl.concat(split_parts(folder, manifest, split))


def read_bags(folder: Path, manifest: Manifest, name: str) -> pl.Series:
    """The bags of a multi-valued field as lists of ids; bag 0 is empty."""
    return table(folder, manifest, f"bags/{file_stem(name)}.parquet")["ids"]


def read_domains(folder: Path, manifest: Manifest) -> pl.DataFrame:
    """All domains with their keys and counts."""
    return table(folder, manifest, DOMAINS)


def table(folder: Path, manifest: Manifest, name: str) -> pl.DataFrame:
    return pl.read_parquet(data_file(folder, manifest, name), glob=False)


def domain_names(domains: pl.DataFrame, domain: Sequence[str]) -> pl.Series:
    """The name of each domain: its key's values in one text (see `prepared.key`), in the order of `read_domains`."""
    return domains.select(joined_keys([pl.col(key) for key in key_columns(domain)]).alias("name")).to_series()
