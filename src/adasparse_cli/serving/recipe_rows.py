"""Reads files that need the data's recipe: the contest's raw text, Parquet, fields derived from a timestamp. Loads polars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.choices import FieldKind, nearest_names
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.foreign import RefusedModuleError
from adasparse_cli.prep.recipe import LINE, SOURCE, recipe_named
from adasparse_cli.prepared.earlier_data import settings_as_today
from adasparse_cli.raw.raw_files import source_names
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.serving.artefact import Artefact
from adasparse_cli.serving.rows import RawBlock
from adasparse_cli.typed import typed


def recipe_blocks(artefact: Artefact, files: Sequence[Path], rejects: list[Reject]) -> Iterator[RawBlock]:
    """The rows of files as the recipe reads them.

    Raises:
        DataError: a file has a missing field, or the recipe cannot read it.
    """
    data = artefact.index["data"]
    recipe = recipe_named(str(data["recipe"]))
    try:
        settings = typed(settings_as_today(data["settings"]), recipe.Settings, "data")
    except RefusedModuleError:
        raise
    except UsageError as error:
        raise IntegrityError(
            f"{artefact.folder} has data settings that this version does not know: {error.message}",
            hint="export the run again with this version",
        ) from None
    raw = recipe.read(settings.as_prepared(artefact.fields), list(files))
    plans = {plan.name: plan for plan in raw.plans}
    inputs = artefact.encoder.inputs
    lacking = [name for name in inputs if name not in plans]
    if lacking:
        raise DataError(
            f"{files[0]}: lacks the column {lacking[0]}, an input of {artefact.folder}",
            hint=f"did you mean {nearest_names(lacking[0], list(plans))}? the inputs are {', '.join(inputs)}",
        )
    names = source_names(files)
    for frame in raw.frames:
        rejects += raw.rejects
        raw.rejects.clear()
        for (source,), part in frame.partition_by(SOURCE, as_dict=True, maintain_order=True).items():
            columns = {
                name: _lists(part[name], plans[name].parse)
                if plans[name].kind is FieldKind.multi_valued
                else part[name].to_list()
                for name in inputs
            }
            yield RawBlock(names[int(str(source))], part[LINE].to_list(), columns)
    rejects += raw.rejects


def _lists(texts: pl.Series, parse: Any) -> list[list[Any]]:
    """Lists of values, each distinct text parsed once."""
    texts = texts.cast(pl.String)
    distinct = texts.drop_nulls().unique()
    known = dict(zip(distinct.to_list(), parse(distinct).to_list(), strict=True))
    return [known.get(text) or [] for text in texts.to_list()]
