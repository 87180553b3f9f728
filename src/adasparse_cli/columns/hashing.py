"""Hashes of rows that are equal on every machine and in every version of every library."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl


def row_hashes(frame: pl.DataFrame) -> np.ndarray:
    """A 64-bit hash of each row's values, by column order. Equal rows have equal hashes.

    A column of unsigned 64-bit integers is treated as texts that are already hashed, see `text_digests`.

    Two different rows collide with probability 2⁻⁶⁴: 3 in a million for all pairs of 10 million rows.
    """
    hashes = np.zeros(frame.height, dtype=np.uint64)
    for position, series in enumerate(frame.iter_columns()):
        hashes = mixed(hashes ^ _column_hashes(series), salt=position)
    return hashes


def mixed(values: np.ndarray, *, salt: int) -> np.ndarray:
    """Scramble 64-bit numbers one to one (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        x = values + np.uint64((0x9E3779B97F4A7C15 * (salt + 1)) & 0xFFFFFFFFFFFFFFFF)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _column_hashes(series: pl.Series) -> np.ndarray:
    missing = series.is_null().to_numpy() if series.null_count() else None
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        whole = series if missing is None else series.fill_null(False if series.dtype == pl.Boolean else 0)
        same = pl.Float64 if series.dtype.is_float() else pl.UInt64 if series.dtype == pl.UInt64 else pl.Int64
        bits = whole.cast(same).to_numpy().view(np.uint64)
    else:
        bits = _text_hashes(series.cast(pl.String).fill_null(""))
    if missing is None:
        return bits
    return np.where(missing, np.uint64(0x5BD1E995A5A5A5A5), bits)


def _text_hashes(series: pl.Series) -> np.ndarray:
    """Hashes of texts; each distinct text is hashed once."""
    distinct = series.unique()
    table = pl.DataFrame({"text": distinct, "hash": text_digests(distinct)})
    found = series.to_frame("text").join(table, on="text", how="left", maintain_order="left")
    return found["hash"].to_numpy()


def text_digests(texts: pl.Series) -> pl.Series:
    """A 64-bit hash of each text."""
    digests = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in texts]
    return pl.Series(digests, dtype=pl.UInt64)
