"""What earlier versions left, made of what this one writes: the same files without checksums of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adasparse_cli.files import write_json


def data_of_before(folder: Path, *, lacking: Sequence[str] = ()) -> None:
    """Prepared data as of format 1, without the settings that are `lacking`."""
    path = folder / "manifest.json"
    settings = json.loads(path.read_text())["settings"]
    _without_seal(path, format_version=1, settings={key: settings[key] for key in settings if key not in lacking})


def run_of_before(folder: Path) -> None:
    """A finished run whose DONE is empty, and whose report is of format 1."""
    values = json.loads((folder / "environment.json").read_text())
    write_json(folder / "environment.json", {key: values[key] for key in ("data_fingerprint", "sittings")})
    write_json(folder / "report.json", {**json.loads((folder / "report.json").read_text()), "report_version": 1})
    (folder / "DONE").write_text("\n")
    for path in folder.glob("findings/*/finding.json"):
        _without_seal(path, finding_version=None, files=None)


def study_of_before(folder: Path) -> None:
    """A study of format 2."""
    _without_seal(folder / "study.json", study_version=2, files=None)
    for path in folder.glob("findings/*/finding.json"):
        _without_seal(path, finding_version=None, files=None)


def _without_seal(path: Path, **changes: Any) -> None:
    values = {**json.loads(path.read_text()), **changes, "checksum": None}
    write_json(path, {key: value for key, value in values.items() if value is not None})
