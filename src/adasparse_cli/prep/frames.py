"""Frames that a person hands over in Python: of polars, of pandas, or of another library with columns."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import polars as pl

from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.recipe import recipe_named
from adasparse_cli.raw.unique_keys import repeated

# Line of the first row in a raw file, whose header is line 1.
FIRST_LINE = 2


class Columns(Protocol):
    """A frame of any library whose columns can be converted to lists, such as one of pandas."""

    columns: Any

    def __getitem__(self, name: Any) -> Any: ...


NewRows: TypeAlias = "pl.DataFrame | Columns | str | PathLike[str] | Sequence[str | PathLike[str]]"


def as_frame(rows: Any) -> pl.DataFrame | None:
    """A frame of any kind as one of polars; None for paths.

    Raises:
        DataError: two columns have the same name.
    """
    if isinstance(rows, pl.DataFrame):
        return rows
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):
        name = repeated([str(name) for name in rows.columns])
        if name is not None:
            raise DataError(f"the frame has the column {name} twice", hint="give each column a unique name")
        # column by column: polars' own conversion needs a further package for texts
        columns = {str(name): pl.Series(rows[name].tolist(), strict=False) for name in rows.columns}
        return pl.DataFrame(columns).fill_nan(None)
    return None


def frame_as_raw(frame: pl.DataFrame, recipe_name: str, folder: Path) -> Path:
    """A frame as a raw file of a recipe, so that rows of frames and of files are read alike.

    Raises:
        UsageError: the recipe has no such form.
        DataError: a column is missing.
    """
    recipe = recipe_named(recipe_name)
    if not hasattr(recipe, "as_raw"):
        raise UsageError(f"the recipe {recipe_name} reads files only", hint="give the path of a raw file")
    path: Path = recipe.as_raw(frame, folder)
    return path


def no_scores() -> pl.DataFrame:
    """The scores of a frame without rows."""
    return pl.DataFrame(schema={"domain": pl.String, "logit": pl.Float32, "probability": pl.Float64})


def scores_in_order(table: pl.DataFrame, height: int) -> pl.DataFrame:
    """One row for each row of a frame; a rejected row has no score.

    Args:
        table: scores with the line of each row, the first row being FIRST_LINE.
    """
    lines = pl.DataFrame({"line": pl.int_range(FIRST_LINE, FIRST_LINE + height, dtype=pl.Int64, eager=True)})
    scores = table.select(pl.col("line").cast(pl.Int64), "domain", "logit", "probability")
    return lines.join(scores, on="line", how="left", maintain_order="left").drop("line")
