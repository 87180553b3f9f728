"""Tables of separated text (CSV, TSV). Fields may be in double quotes. Each bad row is rejected with its line number."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from adasparse_cli.errors import UsageError
from adasparse_cli.prep.recipe import LINE
from adasparse_cli.raw.file_kind import table_suffix
from adasparse_cli.raw.lines import Block, TextFile
from adasparse_cli.raw.rejected import OPEN_QUOTE, Reject
from adasparse_cli.raw.shards import Shard, surveyed
from adasparse_cli.tables.formats import FormatSettings, Table, usable_columns

SAMPLE_BYTES, BLOCK_BYTES = 4 << 20, 32 << 20
_SEPARATORS = (",", "\t", ";", "|")


def open_text(path: Path, name: str, settings: FormatSettings, rejects: list[Reject]) -> Table:
    """Open a table of text.

    Raises:
        UsageError: the separator is not valid.
        DataError: there is no header, or its names cannot be used.
    """
    separator = settings.separator or ("\t" if table_suffix(path) in (".tsv", ".tab") else None)
    if separator is None:
        first = TextFile(path, b",", [], encoding=settings.encoding).first_line.decode("utf-8", "replace")
        separator = max(_SEPARATORS, key=first.count)
    if not separator or not separator.isascii() or set(separator) & set('"\r\n'):
        raise UsageError(
            f"data.separator={separator!r} is not a valid separator", hint="for example ',', '\\t' or '::'"
        )

    def opened(sink: list[Reject]) -> TextFile:
        # formats with a separator of several characters have no quotes
        quoted = len(separator) == 1
        return TextFile(
            path,
            separator.encode(),
            sink,
            quoted=quoted,
            quoted_newlines=quoted and settings.quoted_newlines,
            name=name,
            names=settings.header,
            encoding=settings.encoding,
        )

    file = opened(rejects)
    assert file.separator is not None
    between = file.separator.decode()
    columns = usable_columns(f"{path}:1", file.columns, settings)
    # a frame needs a name for each column, even for an ignored one
    kept = set(columns.kept)
    names = [own if own in kept else f"__{k}" for k, own in enumerate(file.columns)]

    def frames(source: TextFile, block_bytes: int, shard: Shard | None = None) -> Iterator[pl.DataFrame]:
        for block in source.blocks(block_bytes, shard):
            frame, lines = _frame(block, names, between, source)
            yield frame.select(columns.kept).with_columns(pl.Series(LINE, lines, dtype=pl.Int64))

    empty = pl.DataFrame(schema=dict.fromkeys(columns.kept, pl.String) | {LINE: pl.Int64()})
    return Table(
        path=path,
        name=name,
        columns=columns.named,
        first=lambda: next(frames(opened([]), SAMPLE_BYTES), empty),
        frames=lambda: frames(file, BLOCK_BYTES),
        consumed=lambda: file.consumed,
        survey=lambda source: surveyed(path, source, BLOCK_BYTES if file.divisible else None),
        part=lambda shard: frames(file, BLOCK_BYTES, shard),
        notes=columns.notes,
    )


def _frame(block: Block, names: list[str], separator: str, file: TextFile) -> tuple[pl.DataFrame, list[int]]:
    """A block's rows, and the line of each."""
    schema = dict.fromkeys(names, pl.String)
    if file.quoted and b'"' in block.data:
        rows, lines = _unquoted(block, len(names), separator, file)
        return pl.DataFrame(rows, schema=schema, orient="row"), lines
    frame = pl.read_csv(
        block.data,
        has_header=False,
        separator=separator,
        quote_char=None,
        schema=schema,
        empty_string_is_null=False,
        glob=False,
    )
    return frame, block.numbers.tolist()


def _unquoted(block: Block, width: int, separator: str, file: TextFile) -> tuple[list[list[str]], list[int]]:
    """Rows of a block with quotes, one by one. An unclosed quote rejects its own row only."""
    rows, kept = [], []
    line_of = _OneLine()
    reader = csv.reader(line_of, delimiter=separator, strict=True)
    for line, text in zip(block.numbers.tolist(), block.texts(), strict=True):
        try:
            if '"' in text:
                line_of.text = text
                row = next(reader)
            else:
                row = text.split(separator)
        except csv.Error as error:
            open_quote = "unexpected end" in str(error)
            file.reject(line, "", text, OPEN_QUOTE if open_quote else "has a quote that closes too early")
            continue
        if len(row) == width:
            rows.append(row)
            kept.append(line)
        else:
            many = "too many" if len(row) > width else "too few"
            file.reject(line, "", text, f"{many} columns: {len(row)} where the header has {width}")
    return rows, kept


class _OneLine:
    """Passes one text at a time to a csv reader and ends after it, so that an open quote consumes no further line.

    A new reader for each text takes two to three times as long, and longer if the garbage collector tracks many rows.
    """

    text: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text, self.text = self.text, None
        if text is None:
            raise StopIteration
        return text
