"""The best metrics that any model can reach on synthetic data, for several degrees of knowledge about the domains' tastes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.choices import Split
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.metrics import compute_metrics
from adasparse_cli.prep.recipe import recipe_named
from adasparse_cli.prepared.files import as_today, truth_file
from adasparse_cli.prepared.tables import read_split
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import typed

# Largest difference allowed between the probabilities drawn again and those in truth/.
SAME = 1e-9


def ceilings(folder: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """AUC and GAUC by domain on the test split, one row per degree of knowledge.

    The world is drawn again from the settings of the data. Its probabilities must equal those in `truth/`.

    Raises:
        UsageError: the data are not synthetic, or have no labelled test rows.
        IntegrityError: the settings give another world.
    """
    path = truth_file(folder, manifest, "rows.parquet")
    recipe = recipe_named(manifest.recipe) if path is not None else None
    if path is None or recipe is None or not hasattr(recipe, "ceilings"):
        raise UsageError(
            f"{manifest.name} has no ceilings: only synthetic data have them",
            hint="adasparse data show twin --ceilings",
        )
    rows = read_split(folder, manifest, Split.test)
    if not rows.height:
        raise UsageError(f"{manifest.name} has no test rows", hint="prepare it with data.split=day")
    known = recipe.ceilings(typed(as_today(manifest), recipe.Settings, "data"))
    truth = pl.read_parquet(path, glob=False).select("line", "probability")
    found = rows.select(line="__line").join(known, on="line", how="left", maintain_order="left")
    written = rows.select(line="__line").join(truth, on="line", how="left", maintain_order="left")["probability"]
    full = found["full"].to_numpy()
    if found["full"].null_count() or not np.allclose(1 / (1 + np.exp(-full)), written.to_numpy(), rtol=0, atol=SAME):
        raise IntegrityError(
            f"the settings of {manifest.name} give another world than the one in {path}",
            hint="the data were made by another version; prepare them again with adasparse prep --replace",
        )
    labels, domains = rows["__label"].to_numpy(), rows["__domain"].to_numpy()
    result = []
    for name in known.columns[1:]:
        metrics = compute_metrics(labels, found[name].to_numpy(), domains, manifest.num_all_domains, None)
        result.append({"known tastes": name, "AUC": metrics.auc, "GAUC by domain": metrics.gauc_domain})
    return result
