"""Run folders as commands leave them, without training anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from adasparse_cli.config.compose import compose
from adasparse_cli.runs.chosen import STUDY
from adasparse_cli.typed import to_yaml


def made(
    root: Path, name: str, *words: str, command: str | None = "train", state: str = "DONE", place: str = "twin/dnn"
) -> Path:
    """A run folder `root/place/name` with its settings, the command that trained it and its state."""
    folder = root / place / name
    (folder / "checkpoints/best").mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(compose("train", ["model=dnn", *words])))
    if command is not None:
        sittings = [{"command": f"adasparse {command} data=twin"}]
        (folder / "environment.json").write_text(json.dumps({"data_fingerprint": "f", "sittings": sittings}))
    for file in ("metrics.jsonl", "checkpoints/best/checkpoint.json", ".lock"):
        (folder / file).write_text("{}")
    # of a version without checksums
    (folder / "report.json").write_text('{"report_version": 1}')
    if state:
        (folder / state).write_text("the disk is full\n" if state == "FAILED" else "\n")
    return folder


def study_of(studies: Path, name: str, arms: Mapping[str, Mapping[int, Path]]) -> Path:
    """A study.json that names runs, as a study leaves it."""
    folder = studies / name
    folder.mkdir(parents=True)
    written = [
        {"name": arm, "words": [], "runs": {str(seed): str(run.resolve()) for seed, run in runs.items()}}
        for arm, runs in arms.items()
    ]
    (folder / STUDY).write_text(json.dumps({"study_version": 2, "arms": written}))
    return folder
