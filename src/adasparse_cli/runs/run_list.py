"""What there is to look at: runs, models, prepared data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from adasparse_cli.errors import IntegrityError
from adasparse_cli.runs.chosen import all_runs, settings_of, state_of
from adasparse_cli.runs.saved_run import read_report


def list_runs(root: Path) -> list[dict[str, Any]]:
    """All runs below `root`, the oldest first."""
    return [_run_row(folder, root) for folder in all_runs(root)]


def _run_row(folder: Path, root: Path) -> dict[str, Any]:
    data, model, name = folder.relative_to(root).parts
    state = state_of(folder)
    test: dict[str, Any] = {}
    if state == "done":
        try:
            test = read_report(folder)["metrics"].get("test", {})
        except IntegrityError:
            state = "damaged"
    return {
        "data": data,
        "model": model,
        "run": name,
        "state": state,
        "test rows": test.get("rows"),
        "test positives": test.get("positives"),
        "AUC": test.get("auc"),
        "GAUC by domain": test.get("gauc_domain"),
        "log loss": test.get("log_loss"),
        # the mode stands in the model's name
        "settings": shlex.join(one for one in settings_of(folder) or () if not one.startswith("model.mode=")),
    }
