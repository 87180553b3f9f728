"""Stored findings: `findings/<name>/finding.json` in the folder of a run or study, and a CSV file for each table.

finding.json is written last. It has a checksum and contains the checksums of the CSV files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import SealedFolder, checksums, read_sealed, write_sealed, write_text
from adasparse_cli.findings.finding import Finding, as_csv
from adasparse_cli.typed import require_types

FINDINGS, FINDING = "findings", "finding.json"
FINDING_VERSION = 2
_ANEW = "run the analysis once more"


class FindingFiles(TypedDict, total=False):
    """The CSV files of a finding, in finding.json."""

    files: Mapping[str, str]


def write_finding(
    finding: Finding, folder: Path, *, whole: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> Path:
    """Write a finding to the folder of its run or study; the report page then shows it.

    Args:
        whole: tables too long to be shown, by name; they are only written as CSV.
    """
    target = folder / FINDINGS / finding.name
    target.mkdir(parents=True, exist_ok=True)
    # the old finding is removed as a unit, so no reader sees parts of both
    (target / FINDING).unlink(missing_ok=True)
    tables = {table.name: table.rows for table in finding.tables} | dict(whole or {})
    written = {target / f"{name}.csv": as_csv(rows, list(rows[0])) for name, rows in tables.items() if rows}
    for path, text in written.items():
        write_text(path, text)
    sums = checksums(target, list(written))
    write_sealed(target / FINDING, {"finding_version": FINDING_VERSION, **finding.to_json(), "files": sums})
    return target


def kept_findings(folder: Path) -> list[Path]:
    """The finding.json of each finding in a run's or study's folder."""
    return sorted((folder / FINDINGS).glob(f"*/{FINDING}"))


def read_finding(path: Path) -> Finding:
    """Read a stored finding.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    values = _values(path)
    require_types(values, Finding, path, hint=_ANEW)
    try:
        found = Finding.from_json({key: own for key, own in values.items() if key not in ("finding_version", "files")})
        for table in found.tables:  # a cell of another type is found here, and not where it is shown
            _ = table.shown_rows, table.shown_caption
        return found
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path} is damaged: {error!r}", hint=_ANEW) from None


def verify_finding(path: Path) -> int:
    """Check a finding and its CSV files.

    Returns:
        The number of files.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    values = _values(path)
    require_types(values, FindingFiles, path, hint=_ANEW)
    files = values.get("files", {})
    SealedFolder(folder=path.parent, files=files, changed="was changed after the analysis", hint=_ANEW).verify()
    return len(files) + 1


def _values(path: Path) -> dict[str, Any]:
    try:
        return read_sealed(path, "finding_version", unsealed=None)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=_ANEW) from None
