"""Opens a table file according to the kind of its content."""

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
    """Open a file, with the columns from its folder names.

    Args:
        name: name of the file in rejected rows.

    Raises:
        DataError: it is not a readable table.
    """
    return with_partitions(_OPEN[table_kind(path)](path, name, settings, rejects), settings)
