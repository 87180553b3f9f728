"""What there is to look at: runs, models, prepared data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import polars as pl
import torch

from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.config.compose import compose
from adasparse_cli.errors import AdasparseError, IntegrityError, UsageError
from adasparse_cli.findings.finding import ENOUGH_POSITIVES
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import DataShape, NetworkSettings
from adasparse_cli.prep.key import joined_keys
from adasparse_cli.prep.place import prepared_folders
from adasparse_cli.prep.prepared import open_prepared, read_domains
from adasparse_cli.prep.recipe import nearest_names
from adasparse_cli.runs.chosen import all_runs, settings_of, state_of
from adasparse_cli.runs.domain_rows import read_domain_rows
from adasparse_cli.runs.run_folder import DOMAINS, has_file, read_report, run_file
from adasparse_cli.schema import Field, Manifest
from adasparse_cli.training.dataset import load_shape
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.typed import typed

# What `models ls` weighs models on where no data set is named: as in benchmarks/.
EXAMPLE = DataShape(
    fields=tuple(
        Field(
            name=f"field_{k}",
            role=FieldRole.domain_agnostic if k < 18 else FieldRole.domain_aware,
            kind=FieldKind.categorical,
            size=100_000 if k < 18 else 20,
        )
        for k in range(21)
    ),
    bags={},
    num_domains=300,
)


def list_runs(root: Path) -> list[dict[str, Any]]:
    """All runs below `root`, the oldest first."""
    return [_run_row(folder, root) for folder in all_runs(root)]


def list_models(shape: DataShape | None = None) -> list[dict[str, Any]]:
    """Every model and loop: what it is, its own settings, and what it weighs with its packaged settings.

    Args:
        shape: of the data to weigh models on; without it, those of `EXAMPLE`.
    """
    rows = []
    for name, model in sorted(MODELS.items()):
        tree = compose("train", [f"model={name}"])
        settings = typed(tree["model"], model.Settings, "model")
        network = typed(tree["network"], NetworkSettings, "network")
        with torch.device("meta"):
            built: Any = model
            cost = built(settings, network, shape or EXAMPLE).cost()
        own = [field for field in model.Settings.__dataclass_fields__ if field != "name"]
        rows.append(
            {
                "model": name,
                "what": (model.__doc__ or "").splitlines()[0],
                "settings": ", ".join(own) or "–",
                "backbone parameters": cost.backbone_parameters,
                "domain parameters": cost.domain_parameters,
                "multiply-adds per row": cost.backbone_multiply_adds + cost.domain_multiply_adds,
            }
        )
    plain = next(row for row in rows if row["model"] == "dnn")
    for name, loop in sorted(LOOPS.items()):
        if name != "standard":
            own = [
                field
                for field in loop.Settings.__dataclass_fields__
                if field not in vars(LoopSettings)["__dataclass_fields__"]
            ]
            what = f"{(loop.__doc__ or '').splitlines()[0]} (a loop; `loop={name}` trains other models with it)"
            rows.append({**plain, "model": name, "what": what, "settings": ", ".join(own)})
    return rows


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
        UsageError: there is none of that name.
    """
    known = [folder.name for folder in prepared_folders(root)]
    if name not in known:
        hint = f"there are {nearest_names(name, known)}" if known else "adasparse prep makes one"
        raise UsageError(f"no data set {name!r} is prepared in {root}", hint=hint)
    return open_prepared(root / name)


def shape_of(root: Path, name: str) -> DataShape:
    """What models must know of a prepared data set."""
    return load_shape(root / name, data_set(root, name))


def field_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """One line per field."""
    return [
        {
            "field": field.name,
            "role": field.role.value,
            "kind": field.kind.value,
            "ids": field.size,
            "unseen": f"{manifest.unseen[field.name]:.1%}" if field.name in manifest.unseen else "n/a",
        }
        for field in manifest.fields
    ]


def largest_domains(folder: Path, manifest: Manifest, number: int) -> list[dict[str, Any]]:
    """The domains with most training rows."""
    return read_domains(folder, manifest).head(number).to_dicts()


def extreme_domains(folder: Path, number: int) -> list[dict[str, Any]]:
    """The best and the worst domains of a run by AUC on the test split, among those with enough positives."""
    if not has_file(folder, DOMAINS):
        return []
    table = read_domain_rows(run_file(folder, DOMAINS))
    keys = table.columns[1 : table.columns.index("train_rows")]
    judged = table.filter((pl.col("test_positives") >= ENOUGH_POSITIVES) & pl.col("test_auc").is_not_null())
    judged = judged.sort("test_auc", descending=True)
    if judged.height > 2 * number:
        judged = pl.concat([judged.head(number), judged.tail(number)])
    shown = judged.select(
        joined_keys([pl.col(key) for key in keys]).alias("domain"),
        pl.col("train_rows").alias("train rows"),
        pl.col("test_rows").alias("test rows"),
        pl.col("test_positives").alias("positives"),
        pl.col("test_auc").alias("AUC"),
        pl.col("test_log_loss").alias("log loss"),
        pl.col("test_calibration").alias("calibration"),
    )
    return shown.to_dicts()


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


def _data_row(name: str, state: str, **known: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("rows", "positives", "domains", "fields", "fingerprint"))
    return {"data": name, "state": state, **empty, **known}
