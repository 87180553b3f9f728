"""Small tables as CSV, and the settings that read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import tabular
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import RawData, Silent
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain, typed


def settings_of(*words: str) -> tabular.Settings:
    base = ["data=tabular", "data.label=y", "data.domain=[place]"]
    return typed(compose("prep", [*base, *words])["data"], tabular.Settings, "data")


def written(folder: Path, header: str, lines: Sequence[str], name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def read(path: Path, *words: str) -> tuple[pl.DataFrame, RawData]:
    """All rows, and what was said of them."""
    data = tabular.read(settings_of(*words), [path])
    frames = list(data.frames)
    return pl.concat(frames) if frames else pl.DataFrame(), data


def prepared(folder: Path, paths: Sequence[Path], *words: str) -> Manifest:
    own = settings_of("data.min_count=1", *words)
    return prepare(own, plain(own), list(paths), folder, Silent())
