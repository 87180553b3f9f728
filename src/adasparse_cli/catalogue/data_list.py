"""The prepared data sets, their fields and their largest domains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adasparse_cli.choices import nearest_names
from adasparse_cli.errors import AdasparseError, UsageError
from adasparse_cli.prepared.files import open_prepared
from adasparse_cli.prepared.place import prepared_folders
from adasparse_cli.schema import Manifest


def list_data(root: Path) -> list[dict[str, Any]]:
    """All prepared data below `root`."""
    rows = []
    for folder in prepared_folders(root):
        try:
            manifest = open_prepared(folder)
        except AdasparseError as error:
            rows.append(_data_row(folder.name, error.message))
            continue
        rows.append(
            _data_row(
                manifest.name,
                "ready",
                rows=sum(counts.rows for counts in manifest.splits.values()),
                positives=sum(counts.positives or 0 for counts in manifest.splits.values()),
                domains=manifest.num_domains,
                fields=len(manifest.fields),
                fingerprint=manifest.fingerprint[:12],
            )
        )
    return rows


def data_set(root: Path, name: str) -> Manifest:
    """One prepared data set.

    Raises:
        UsageError: there is none with this name.
    """
    require_prepared(root, name)
    return open_prepared(root / name)


def require_prepared(root: Path, name: str) -> None:
    """Check that prepared data with this name exist; damaged ones count.

    Raises:
        UsageError: there are none with this name.
    """
    known = [folder.name for folder in prepared_folders(root)]
    if name not in known:
        hint = f"prepared data sets include {nearest_names(name, known)}" if known else "adasparse prep creates one"
        raise UsageError(f"no data set {name!r} is prepared in {root}", hint=hint)


def field_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """One row per field; `unseen` is the share (0–1) of test values that training did not see, or None."""
    return [
        {
            "field": field.name,
            "role": field.role.value,
            "kind": field.kind.value,
            "ids": field.size,
            "unseen": manifest.unseen.get(field.name),
        }
        for field in manifest.fields
    ]


def largest_domains(folder: Path, manifest: Manifest, number: int) -> list[dict[str, Any]]:
    """The domains with the most training rows."""
    from adasparse_cli.prepared.tables import read_domains  # loads polars, which lists of data do not need

    return read_domains(folder, manifest).head(number).to_dicts()


def _data_row(name: str, state: str, **known: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("rows", "positives", "domains", "fields", "fingerprint"))
    return {"data": name, "state": state, **empty, **known}
