"""Findings beside what they are about: `findings/<name>/finding.json`, and a CSV file for each of its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adasparse_cli.files import write_json, write_text
from adasparse_cli.findings import Finding, as_csv

FINDINGS, FINDING = "findings", "finding.json"


def keep(finding: Finding, folder: Path, *, whole: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> Path:
    """Write a finding below the folder of its run or study; the report page shows it from then on.

    Args:
        whole: tables too long to be shown, by name; they are written as CSV alone.
    """
    target = folder / FINDINGS / finding.name
    target.mkdir(parents=True, exist_ok=True)
    tables = {table.name: table.rows for table in finding.tables} | dict(whole or {})
    for name, rows in tables.items():
        if rows:
            write_text(target / f"{name}.csv", as_csv(rows, list(rows[0])))
    write_json(target / FINDING, finding.to_json())
    return target
