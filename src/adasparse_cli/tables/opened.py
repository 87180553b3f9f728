"""Any table's file, opened by the kind that its content has."""

from __future__ import annotations

from pathlib import Path

from adasparse_cli.raw.file_kind import TableKind, table_kind
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.tables.formats import FormatSettings, Table, with_partitions
from adasparse_cli.tables.ndjson import open_ndjson
from adasparse_cli.tables.parquet import open_parquet
from adasparse_cli.tables.text import open_text

_OPEN = {TableKind.text: open_text, TableKind.ndjson: open_ndjson, TableKind.parquet: open_parquet}


def opened_table(path: Path, name: str, settings: FormatSettings, rejects: list[Reject]) -> Table:
    """Open a file with the columns that its folders add.

    Args:
        name: what the file is called in rejects.

    Raises:
        DataError: it is no table that can be read.
    """
    return with_partitions(_OPEN[table_kind(path)](path, name, settings, rejects), settings)
