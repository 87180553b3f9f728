"""How many domains are best? One model is trained with a series of domain definitions and compared on the same rows.

A definition is a list of fields whose combination is the domain; the first definition has no fields. Features, split and
rows are the same for all definitions. Only the domain and the fields that the pruners receive change. All definitions
are evaluated by GAUC over the domains of the prepared data, as the difference to one DNN, which uses no domain.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.analysis.statistics import Difference, TestRows, compare
from adasparse_cli.choices import LONGEST_NAME, FieldKind, FieldRole, nearest_names
from adasparse_cli.cluster.settings import without_launcher
from adasparse_cli.config.as_words import data_words
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.execution.best_so_far import BestSoFar
from adasparse_cli.execution.cluster_runs import require_launcher
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.execution.workers import train_all
from adasparse_cli.files import only_owner, shortened
from adasparse_cli.findings.figures import gains
from adasparse_cli.findings.finding import Figure, Finding, Interval, Support, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.findings.wording import none_if_nan
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.prepared.files import as_today, changed_sources
from adasparse_cli.prepared.tables import read_domains
from adasparse_cli.runs.prepare import PrepReport, ensure_prepared
from adasparse_cli.runs.run_tables import read_predictions
from adasparse_cli.runs.saved_run import read_report
from adasparse_cli.runs.train import finished_run
from adasparse_cli.runs.train_job import TrainJob, plan_seeds
from adasparse_cli.schema import Manifest

BASELINE = "dnn"
# Default fields beyond those of the prepared domain: their number, and the range of their vocabulary size.
FURTHER, FEWEST, MOST = 2, 3, 60
UNSEEN = 0.5
# Minimum number of test domains with both classes.
FEWEST_JUDGES = 2


@dataclass(frozen=True, kw_only=True)
class DomainDefinition:
    """A domain definition with its jobs, one per seed."""

    fields: tuple[str, ...]
    jobs: tuple[TrainJob, ...]

    @property
    def name(self) -> str:
        """The fields, joined."""
        return " × ".join(self.fields) or "one domain"

    @property
    def adds(self) -> str:
        """The field that this definition adds to the one before."""
        return "one domain" if not self.fields else f"{'+ ' if len(self.fields) > 1 else ''}{self.fields[-1]}"


@dataclass(frozen=True, kw_only=True)
class DefinitionsJob:
    """Domain definitions from coarse to fine, the runs of the DNN, and the folder of the finding."""

    definitions: tuple[DomainDefinition, ...]
    baseline: tuple[TrainJob, ...]
    reference: PrepReport
    folder: Path
    words: tuple[str, ...]


def plan_definitions(
    words: Sequence[str], *, fields: Sequence[str], seeds: int, progress: Progress | None = None
) -> DefinitionsJob:
    """The jobs of all definitions. The data with their original domain are prepared first if necessary.

    Args:
        words: settings as for `train`, with the model adasparse.
        fields: fields added one by one; empty for the fields of the prepared domain and a few more.

    Raises:
        UsageError: a field cannot be part of a domain.
        DataError: fewer than two test domains have both classes.
    """
    words = [*words] if any(word.startswith("threads=") for word in words) else [*words, "threads=1"]
    baseline = plan_seeds(["model=dnn", *[word for word in words if not word.startswith("model.")]], seeds)
    require_launcher(baseline[0], 1)  # fails before data are prepared
    reference = ensure_prepared(baseline[0].data, progress or Silent())
    manifest = reference.manifest
    _require_judges(reference)
    chosen = tuple(fields) or (*manifest.domain, *_further(manifest))
    _require_fields(manifest, chosen)
    definitions = [DomainDefinition(fields=(), jobs=tuple(_jobs(words, manifest, chosen[:1], seeds, told=False)))]
    for number in range(1, len(chosen) + 1):
        definitions.append(
            DomainDefinition(
                fields=chosen[:number], jobs=tuple(_jobs(words, manifest, chosen[:number], seeds, told=True))
            )
        )
    digest = hashlib.sha256(
        json.dumps([*without_launcher(words), *chosen, seeds, manifest.fingerprint]).encode()
    ).hexdigest()
    name = f"domains-{manifest.name}-{digest[:8]}"
    return DefinitionsJob(
        definitions=tuple(definitions),
        baseline=tuple(baseline),
        reference=reference,
        folder=Path(baseline[0].config["paths"]["studies"]) / name,
        words=tuple(words),
    )


def run_definitions(job: DefinitionsJob, progress: Progress | None = None, *, workers: int = 1) -> tuple[Finding, Path]:
    """Prepare and train what is missing, compare the definitions, and write the finding.

    Raises:
        InterruptedRun: the series was stopped; unfinished runs are saved.
        DataError: no definition has all its runs.
    """
    progress = progress or Silent()
    require_launcher(job.baseline[0], workers)
    job.folder.mkdir(parents=True, exist_ok=True)
    with only_owner(job.folder):
        _require_unchanged(job)
        prepared = [ensure_prepared(definition.jobs[0].data, progress) for definition in job.definitions]
        asked = [(BASELINE, own, job.reference) for own in job.baseline] + [
            (definition.name, own, data)
            for definition, data in zip(job.definitions, prepared, strict=True)
            for own in definition.jobs
        ]
        runs = [
            NamedRun(name=f"{name}, seed {own.seed}", job=own, prepared=data)
            for name, own, data in asked
            if finished_run(own, data) is None
        ]
        each = BestSoFar(
            job.baseline[0].loop.select, comparable=False
        )  # GAUC groups rows by other domains in each definition
        failed = train_all(runs, progress, workers=workers, what="series of domain definitions", best=each)
        finding = _finding(job, failed)
        return finding, write_finding(finding, job.folder)


def _require_unchanged(job: DefinitionsJob) -> None:
    """Refuse changed raw files, because every definition must be prepared from the same rows."""
    sources = [Path(source.path) for source in job.reference.manifest.sources if Path(source.path).is_absolute()]
    for path in changed_sources(job.reference.manifest, sources):
        raise DataError(
            f"{path} has changed since {job.reference.folder} was prepared from it, so domain definitions cannot be "
            "compared on the same rows",
            hint="restore the file, or prepare the data again with adasparse prep --replace",
        )


def _jobs(words: Sequence[str], manifest: Manifest, fields: Sequence[str], seeds: int, *, told: bool) -> list[TrainJob]:
    """Jobs on data with another domain definition. If not `told`, the pruners receive their layer instead of the domain."""
    name = _name(manifest, fields)
    own = [f"data.domain=[{','.join(fields)}]", f"data.name={name}", "data.domain_aware=[]"]
    sources = [source.path for source in manifest.sources if Path(source.path).is_absolute()]
    raw = [f"raw=[{','.join(_quoted(path) for path in sources)}]"] if sources else []
    # the settings of the prepared data; the given overrides if overrides cannot express those settings
    same = data_words(as_today(manifest)) or [word for word in words if _of_data(word)]
    kept = [*(word for word in words if not _of_data(word)), *same]
    again = {word.partition("=")[0] for word in [*own, *raw]}
    untold = [] if told else ["model.pruner.inputs=[hidden]"]
    return plan_seeds([*(word for word in kept if word.partition("=")[0] not in again), *own, *raw, *untold], seeds)


def _of_data(word: str) -> bool:
    key = word.partition("=")[0]
    return key in ("data", "raw") or key.startswith("data.")


def _name(manifest: Manifest, fields: Sequence[str]) -> str:
    if tuple(fields) == manifest.domain and not manifest.settings.get("domain_aware"):
        return manifest.name
    parts = [re.sub(r"[^\w.+-]", "_", field) for field in fields]
    # the fingerprint is part of the name, so that data prepared again under the same name do not collide
    name = f"{manifest.name}-by-{'-'.join(parts)}"
    return f"{shortened(name, LONGEST_NAME - 9)}-{manifest.fingerprint[:8]}"


def _quoted(path: str) -> str:
    return "'" + path.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _further(manifest: Manifest) -> tuple[str, ...]:
    """The further fields with the smallest vocabularies that can be part of a domain."""
    able = [
        field
        for field in manifest.fields
        if field.role is FieldRole.domain_agnostic
        and field.kind is FieldKind.categorical
        and FEWEST <= field.size - 1 <= MOST
        and manifest.unseen.get(field.name, 0.0) < UNSEEN
    ]
    return tuple(field.name for field in sorted(able, key=lambda field: field.size)[:FURTHER])


def _require_judges(reference: PrepReport) -> None:
    """Refuse data whose GAUC by domain is undefined or rests on one domain, before anything is trained."""
    domains = read_domains(reference.folder, reference.manifest)
    usable = domains.filter((pl.col("test_positives") > 0) & (pl.col("test_positives") < pl.col("test_rows"))).height
    if usable >= FEWEST_JUDGES:
        return
    manifest = reference.manifest
    raise DataError(
        f"only {usable} of the {domains.filter(pl.col('test_rows') > 0).height} test domains of "
        f"{manifest.name} ({' × '.join(manifest.domain)}) have both classes, but domain definitions are compared by "
        f"GAUC over at least {FEWEST_JUDGES} such domains",
        hint="prepare the data with another domain and another name: data.domain=[a,b] data.name=NAME",
    )


def _require_fields(manifest: Manifest, fields: Sequence[str]) -> None:
    categorical = [field.name for field in manifest.fields if field.kind is FieldKind.categorical]
    for name in fields:
        if name not in categorical:
            raise UsageError(
                f"--fields names {name}, which is not a categorical field",
                hint=f"categorical fields include {nearest_names(name, categorical)}",
            )
    if len(set(fields)) < len(fields):
        raise UsageError("--fields names a field twice", hint="name each field once")


@dataclass(frozen=True, kw_only=True)
class JudgedDefinitions:
    """All definitions on the same rows: logits by arm, and the runs of each definition that has all of them."""

    rows: TestRows
    arms: dict[str, list[np.ndarray]]
    whole: Sequence[tuple[DomainDefinition, PrepReport, list[Path]]]


def judged_definitions(job: DefinitionsJob) -> JudgedDefinitions:
    """The finished runs of a series, aligned to the same rows.

    Raises:
        DataError: the DNN or every definition lacks a run.
    """
    base = [finished_run(own, job.reference) for own in job.baseline]
    if None in base:
        raise DataError("a run of the DNN is missing", hint="run the same command again; it reports why runs fail")
    whole = []
    for definition in job.definitions:
        data = ensure_prepared(definition.jobs[0].data)
        folders = [finished_run(own, data) for own in definition.jobs]
        if None not in folders:
            whole.append((definition, data, [folder for folder in folders if folder is not None]))
    if not whole:
        raise DataError("no definition has all its runs", hint="run the same command again; it reports why runs fail")
    rows, key, logits = _rows([folder for folder in base if folder is not None])
    arms = {BASELINE: logits}
    for definition, _, runs in whole:
        arms[definition.name] = [_aligned(run, key) for run in runs]
    return JudgedDefinitions(rows=rows, arms=arms, whole=whole)


def _finding(job: DefinitionsJob, failed: dict[str, str]) -> Finding:
    judged = judged_definitions(job)
    rows, arms, whole = judged.rows, judged.arms, judged.whole
    gained = {metric: compare(metric, rows, arms, baseline=BASELINE) for metric in ("gauc_domain", "auc")}
    means = {name: gained["gauc_domain"][name].difference for name in arms if name != BASELINE}
    best = max(means, key=lambda name: means[name])
    against = compare("gauc_domain", rows, {name: arms[name] for name in means}, baseline=best)
    table = [
        _row(definition, data, runs, gained, against.get(definition.name), best) for definition, data, runs in whole
    ]
    return Finding(
        name="domains",
        title="How many domains",
        question="Into how many domains should these data be divided?",
        answers=_answers(table, best, whole, failed),
        tables=[
            Table(
                name="definitions",
                title=f"Domain definitions minus {BASELINE}, GAUC by {' × '.join(job.reference.manifest.domain)}",
                rows=[{key: value for key, value in row.items() if key != "domain"} for row in table],
                caption=f"{len(rows.labels):,} test rows, seeds {', '.join(str(own.seed) for own in job.baseline)}",
                support=Support(
                    estimates={"AUC": "", "gain in AUC": "", "gain in GAUC": "95 % interval"},
                    rows=len(rows.labels),
                    positives=int(rows.labels.sum()),
                ),
            )
        ],
        figures=[_figure(table)],
        notes=(
            "With the first definition the pruners receive their layer instead of a domain (`model.pruner.inputs=[hidden]`). Rows, split "
            "and features are the same for all definitions, except for the id of the combination (`data.domain_id`) of definitions "
            "with several fields.",
            "A definition differs significantly from the best one if the interval of their difference, corrected for the number of definitions, "
            "excludes 0. The recommendation is the coarsest definition that does not differ from the best.",
        ),
    )


def _rows(folders: Sequence[Path]) -> tuple[TestRows, pl.DataFrame, list[np.ndarray]]:
    """The test rows of all definitions, in the order of the DNN's first run."""
    frames = [read_predictions(folder) for folder in folders]
    first = frames[0]
    domains = first["domain"].to_numpy().astype(np.int64)
    rows = TestRows(labels=first["label"].to_numpy(), domains=domains, clusters=domains)
    key = first.select("source", "line", "label")
    return rows, key, [frame["logit"].to_numpy() for frame in frames]


def _aligned(folder: Path, key: pl.DataFrame) -> np.ndarray:
    """A run's logits in the order of `key`."""
    frame = read_predictions(folder)
    aligned = key.join(frame, on=["source", "line", "label"], how="left", maintain_order="left")
    if frame.height != key.height or aligned["logit"].null_count():
        raise IntegrityError(
            f"{folder} has other test rows than the DNN",
            hint="prepare the data again and rerun the same command",
        )
    return np.asarray(aligned["logit"].to_numpy())


def _row(
    definition: DomainDefinition,
    data: PrepReport,
    folders: Sequence[Path],
    gained: dict[str, dict[str, Difference]],
    against: Difference | None,
    best: str,
) -> dict[str, Any]:
    gain = gained["gauc_domain"][definition.name]
    auc = [read_report(folder)["metrics"]["test"]["auc"] for folder in folders]
    apart = None if against is None else against.p_holm < 0.05
    return {
        "definition": definition.adds,
        "domains": data.manifest.num_domains if definition.fields else 1,
        "AUC": float(np.mean(auc)),
        "gain in AUC": gained["auc"][definition.name].difference,
        "gain in GAUC": gain.difference,
        "95 % interval": Interval.of(gain.low, gain.high),
        "better than dnn": None if none_if_nan(gain.p_holm) is None else gain.is_real and gain.difference > 0,
        "domain": definition.name,
        "differs from the best": False if definition.name == best else apart,
    }


def _answers(
    table: Sequence[dict[str, Any]],
    best: str,
    whole: Sequence[tuple[DomainDefinition, PrepReport, list[Path]]],
    failed: dict[str, str],
) -> list[str]:
    top = next(row for row in table if row["domain"] == best)
    alike = [row for row in table if not row["differs from the best"]]
    lines = [
        f"Highest mean: {best} ({top['domains']:,} domains), {top['gain in GAUC']:+.4f} GAUC over {BASELINE}, {top['95 % interval']}."
    ]
    if len(alike) == len(table):
        lines.append("No domain definition differs significantly from the best, so the optimum cannot be located.")
    else:
        lines.append(
            f"Not significantly different from it: {', '.join(row['domain'] for row in alike if row['domain'] != best) or 'none'}."
        )
    fields = next(definition.fields for definition, _, _ in whole if definition.name == alike[0]["domain"])
    better = any(row["better than dnn"] for row in table)
    if not better:
        lines.append(f"No definition is significantly better than {BASELINE}.")
    written = ",".join(fields)
    lines.append(
        f"Recommended, as the coarsest of these: {alike[0]['domain']}"
        + (f" (`data.domain=[{written}]`)." if fields else ".")
    )
    return [*lines, *(f"Failed: {name}: {why}" for name, why in failed.items())]


def _figure(table: Sequence[dict[str, Any]]) -> Figure:
    return gains(
        "definitions",
        title=f"Gain over {BASELINE} in GAUC, against the number of domains",
        summary="Bars are 95 % intervals. Definitions are ordered from one domain to the finest definition.",
        x=[row["domains"] for row in table],
        y=[row["gain in GAUC"] for row in table],
        intervals=[row["95 % interval"] for row in table],
        labels=[row["domain"] for row in table],
        xaxis={"type": "log", "title": {"text": "domains in training"}},
        base=BASELINE,
    )
