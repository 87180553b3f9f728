"""The functions of Spark's tasks. They read and write files by path. A file is complete or absent."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli import __version__
from adasparse_cli.prep.counts import POSITIVES, ROWS, Count
from adasparse_cli.prep.recipe import LABEL, ROW_HASH, ShardReader
from adasparse_cli.prep.spill import BagTable, Spill, read_frame, rewritten
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.raw.shards import Shard, Survey

# Columns of the tables that Spark adds and ranks. A key is in NUMBER or in TEXT; both are null for a missing value.
ASKED, NUMBER, TEXT, ROW, HASH, RANK = "asked", "number", "text", "row", "hash", "rank"


@dataclass(frozen=True, kw_only=True)
class ReadShard:
    """The result of reading a part: its frames on disk, in which bags are numbered within the part.

    Args:
        paths: files of the frames.
        heights: number of rows per frame.
        texts: file with the texts of the bags, by field.
        noted: see `ShardRows`.
    """

    paths: Sequence[Path]
    heights: Sequence[int]
    rows_per_source: Mapping[int, int]
    bytes: int
    texts: Mapping[str, Path]
    rejects: Sequence[Reject]
    noted: Any


def environment() -> dict[str, str]:
    """Versions that must be equal on all machines for equal results."""
    return {
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "polars": pl.__version__,
        "adasparse": __version__,
    }


def look_around(sizes: Mapping[Path, int | None], _: int) -> tuple[str, list[str], dict[str, str]]:
    """Check what a worker sees.

    Args:
        sizes: bytes by path that must be visible; None for a folder.

    Returns:
        The worker's host name, the paths that are not visible or have another size, and its `environment`.
    """
    hidden = []
    for path, size in sizes.items():
        try:
            there = path.is_dir() if size is None else path.stat().st_size == size
        except OSError:
            there = False
        if not there:
            hidden.append(str(path))
    return socket.gethostname(), hidden, environment()


def survey(reader: ShardReader, source: int) -> Survey:
    """The SHA-256 checksum and the parts of a source."""
    return reader.survey(source)


def read_shard(shared: tuple[ShardReader, Sequence[str], Path], item: tuple[int, Shard]) -> ReadShard:
    """Read a part and write its frames.

    Args:
        shared: the reader, the multi-valued fields, and the folder for the frames.
        item: number and location of the part.
    """
    (reader, multi, folder), (number, shard) = shared, item
    # another attempt at the same part has another folder
    own = folder / f"{number:06d}-{uuid.uuid4().hex[:8]}"
    own.mkdir(parents=True)
    spill = Spill(own, {name: BagTable() for name in multi})
    rows = reader.rows(shard)
    for frame in rows.frames:
        spill.take(frame)
    spill.flush()
    texts = {}
    for k, (name, table) in enumerate(spill.bags.items()):
        texts[name] = own / f"texts-{k}.parquet"
        table.texts().to_frame().write_parquet(texts[name])
    return ReadShard(
        paths=spill.paths,
        heights=spill.heights,
        rows_per_source=spill.rows_per_source,
        bytes=spill.bytes,
        texts=texts,
        rejects=rows.rejects,
        noted=rows.noted(),
    )


def number_bags(_: None, item: tuple[Path, Mapping[str, np.ndarray]]) -> tuple[Path, int]:
    """Replace the numbers of a frame's bags within the part by their numbers among all parts.

    Args:
        item: path of the frame, and the new number by old number, for each multi-valued field.

    Returns:
        The result of `rewritten`.
    """
    path, numbers = item
    return rewritten(
        path,
        lambda rows: rows.with_columns(pl.Series(name, new[rows[name].to_numpy()]) for name, new in numbers.items()),
    )


def write_counts(shared: tuple[Sequence[Count], pl.Expr | None, Path], item: tuple[int, Path]) -> str:
    """Write the counts of one frame as a table with the columns ASKED, NUMBER, TEXT, ROWS, POSITIVES.

    The values of several keys become one text, see `keys_of`.
    """
    (asked, split, folder), (number, path) = shared, item
    columns = list(dict.fromkeys(name for one in asked for name in one.columns()))
    frame = read_frame(path, split, columns=columns).lazy()
    tables = []
    for k, one in enumerate(asked):
        found = one.of(frame).collect()
        names = found.columns[: len(one.keys)]
        keys = [found[name] for name in names]
        whole = len(keys) == 1 and keys[0].dtype.is_integer()
        if len(keys) == 1:
            text = keys[0].cast(pl.String)
        else:
            texts = found.select(pl.struct(pl.col(name).cast(pl.String) for name in names).struct.json_encode())
            text = texts.to_series()
        empty = pl.Series([None]).new_from_index(0, found.height)
        tables.append(
            pl.DataFrame(
                {
                    ASKED: pl.Series([k], dtype=pl.Int32).new_from_index(0, found.height),
                    NUMBER: (keys[0] if whole else empty).cast(pl.Int64),
                    TEXT: empty.cast(pl.String) if whole else text,
                    ROWS: found[ROWS],
                    POSITIVES: found[POSITIVES] if one.positives else empty.cast(pl.Int64),
                }
            )
        )
    return _written(pl.concat(tables), folder, number)


def keys_of(table: pl.DataFrame, types: Mapping[str, pl.DataType]) -> list[pl.Series]:
    """The keys of the counts of one request. The inverse of the key columns of `write_counts`.

    Args:
        types: name and type of each key.
    """
    if len(types) == 1:
        ((name, kind),) = types.items()
        return [(table[NUMBER] if kind.is_integer() else table[TEXT]).cast(kind).alias(name)]
    texts = table[TEXT].str.json_decode(pl.Struct(dict.fromkeys(types, pl.String()))).struct.unnest()
    return [texts[name].cast(kind) for name, kind in types.items()]


def write_hashes(shared: tuple[bool, Path], item: tuple[int, Path, int]) -> str:
    """Write the number and the hash of each row of a frame.

    Args:
        shared: whether only labelled rows are written, and the folder.
        item: number of the frame, its path, and the number of its first row.
    """
    (labelled, folder), (number, path, start) = shared, item
    frame = read_frame(path, columns=[ROW_HASH, LABEL])
    table = pl.DataFrame(
        {
            ROW: pl.int_range(start, start + frame.height, dtype=pl.Int64, eager=True),
            HASH: frame[ROW_HASH].to_numpy().view(np.int64),
        }
    )
    return _written(table.filter(frame[LABEL].is_not_null()) if labelled else table, folder, number)


def _written(table: pl.DataFrame, folder: Path, number: int) -> str:
    """Write a table for Spark, and return its path as text."""
    path, temporary = folder / f"{number:06d}.parquet", folder / f".{number:06d}.{uuid.uuid4().hex}"
    table.write_parquet(temporary, compression="snappy")
    temporary.replace(path)
    return str(path)
