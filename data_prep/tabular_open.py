"""Any table's file, opened by the kind that its content has."""

from __future__ import annotations

from pathlib import Path

from adasparse_cli.data_prep.tabular_formats import FormatSettings, Table, with_partitions
from adasparse_cli.data_prep.tabular_json import open_ndjson
from adasparse_cli.data_prep.tabular_parquet import open_parquet
from adasparse_cli.data_prep.tabular_text import open_text
from adasparse_cli.raw.file_kind import TableKind, table_kind
from adasparse_cli.raw.rejected import Reject

_OPEN = {TableKind.text: open_text, TableKind.ndjson: open_ndjson, TableKind.parquet: open_parquet}


def opened_table(path: Path, name: str, settings: FormatSettings, rejects: list[Reject]) -> Table:
    """Open a file with the columns that its folders add.

    Args:
        name: what the file is called in rejects.

    Raises:
        DataError: it is no table that can be read.
    """
    return with_partitions(_OPEN[table_kind(path)](path, name, settings, rejects), settings)
