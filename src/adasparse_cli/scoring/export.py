"""Export a run: model, vocabularies and the sub-network of each domain, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from adasparse_cli.checkpoints.checkpoint import INDEX
from adasparse_cli.errors import UsageError
from adasparse_cli.exporting.write import ExportReport, ExportSource, write_artefact
from adasparse_cli.files import read_json
from adasparse_cli.models import TREE_MODELS
from adasparse_cli.runs.saved_run import PLACEBO, run_file
from adasparse_cli.scoring.output import require_output
from adasparse_cli.scoring.score import SavedRun, trained_model
from adasparse_cli.serving.artefact import is_artefact
from adasparse_cli.training.boosting import TREES
from adasparse_cli.training.loop import BEST
from adasparse_cli.typed import plain


def artefact_name(run: SavedRun) -> Path:
    """The default folder for an exported run."""
    return Path(f"{run.manifest.name}-{run.job.label}-{run.folder.name}.artefact")


def run_export(
    run: SavedRun, target: Path, *, domains: Sequence[str] | None = None, graph: bool = False, overwrite: bool = False
) -> ExportReport:
    """Write the artefact of a run.

    Args:
        domains: domains whose sub-networks are written: `all`, `top:N` or keys; None for all domains of a model with gates.
        graph: whether to write `model.onnx` too.
        overwrite: whether an existing artefact may be replaced.

    Raises:
        UsageError: no single model gives the run's scores, or the target exists.
        IntegrityError: a part of the run is missing or damaged, or a sub-network differs from the model.
    """
    _require_one_model(run)
    if graph and find_spec("onnx") is None:
        raise UsageError("--onnx needs the package onnx", hint="pip install 'adasparse-cli[export]'")
    _require_target(target, overwrite=overwrite)
    model, _ = trained_model(run)
    checkpoint = read_json(run_file(run.folder, f"{BEST}/{INDEX}"))
    return write_artefact(
        ExportSource(
            model=model.cpu(),
            manifest=run.manifest,
            encoder=run.encoder,
            label=run.job.label,
            settings={"model": plain(run.job.model), "network": plain(run.job.network)},
            run={"name": run.folder.name, "seed": run.job.seed, "weights_sha256": checkpoint["sha256"]},
        ),
        target,
        domains,
        graph=graph,
    )


def _require_one_model(run: SavedRun) -> None:
    if run.job.loop.placebo:
        raise UsageError(
            f"{run.folder} is a control arm ({PLACEBO.lstrip('-')}): each row receives another row's domain, so a row "
            "alone does not determine its score",
            hint="export a run without loop.placebo",
        )
    if run.job.model.name in TREE_MODELS:
        raise UsageError(
            f"{run.folder} holds trees, which have no sub-networks and are not exported",
            hint=f"{run.folder / TREES} is LightGBM's own text; adasparse predict scores files with the run",
        )
    if getattr(run.job.loop, "adapt_before_test", False):
        raise UsageError(
            f"{run.folder} adapts its weights to each domain's training rows before it scores (loop.adapt_before_test)",
            hint="export a run with loop.adapt_before_test=false",
        )


def _require_target(target: Path, *, overwrite: bool) -> None:
    require_output(target)
    if not target.parent.is_dir():
        raise UsageError(f"the folder {target.parent} does not exist", hint=f"mkdir -p {target.parent}")
    if target.exists() and not (overwrite and is_artefact(target)):
        hint = "or replace it with --overwrite" if is_artefact(target) else "it is not an exported model, so it is kept"
        raise UsageError(f"{target} exists", hint=f"choose another folder with --output; {hint}")
