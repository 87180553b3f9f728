"""How many domains are best? One model on a ladder of definitions of a domain, all judged on the same rows and groups.

A rung is a list of fields whose combination is the domain; the first is none at all. Every rung has the same features,
split and rows: what changes is what counts as a domain, and which fields the pruners are told. All are judged by the
domains of the data's own definition, and against one DNN, which does not know what a domain is.
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
from adasparse_cli.files import only_owner, shortened
from adasparse_cli.findings.figures import gains
from adasparse_cli.findings.finding import Figure, Finding, Interval, Support, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.findings.wording import none_if_nan
from adasparse_cli.prep.prepared_files import changed_sources
from adasparse_cli.prep.prepared_tables import read_domains
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.runs.prepare import PrepReport, ensure_prepared
from adasparse_cli.runs.run_tables import read_predictions
from adasparse_cli.runs.saved_run import read_report
from adasparse_cli.runs.train import finished_run
from adasparse_cli.runs.train_job import TrainJob, plan_seeds
from adasparse_cli.schema import Manifest
from adasparse_cli.studies.best_so_far import BestSoFar
from adasparse_cli.studies.cluster_runs import require_launcher
from adasparse_cli.studies.named_run import NamedRun
from adasparse_cli.studies.workers import train_all

BASELINE = "dnn"
# Fields beyond the data's own definition that a ladder goes on with, if none are named: as many, of so many values.
FURTHER, FEWEST, MOST = 2, 3, 60
UNSEEN = 0.5
# Domains with both classes in the test split that definitions are judged by.
FEWEST_JUDGES = 2


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A definition of a domain, with its jobs, one per seed."""

    fields: tuple[str, ...]
    jobs: tuple[TrainJob, ...]

    @property
    def name(self) -> str:
        """Its fields, in words."""
        return " × ".join(self.fields) or "one domain"

    @property
    def adds(self) -> str:
        """What sets it apart from the rung before."""
        return "one domain" if not self.fields else f"{'+ ' if len(self.fields) > 1 else ''}{self.fields[-1]}"


@dataclass(frozen=True, kw_only=True)
class LadderJob:
    """Rungs from the coarsest to the finest, the DNN's runs, and where the finding goes."""

    rungs: tuple[Rung, ...]
    baseline: tuple[TrainJob, ...]
    reference: PrepReport
    folder: Path
    words: tuple[str, ...]


def plan_ladder(
    words: Sequence[str], *, fields: Sequence[str], seeds: int, progress: Progress | None = None
) -> LadderJob:
    """The ladder's jobs. The data of its own definition are prepared first, where they are not.

    Args:
        words: as for `train`, with adasparse as the model.
        fields: added one by one; empty for those of the data's own definition and a few more.

    Raises:
        UsageError: a field is of no use as part of a domain.
        DataError: the data have no two domains to judge by.
    """
    words = [*words] if any(word.startswith("threads=") for word in words) else [*words, "threads=1"]
    baseline = plan_seeds(["model=dnn", *[word for word in words if not word.startswith("model.")]], seeds)
    require_launcher(baseline[0], 1)  # before data are prepared
    reference = ensure_prepared(baseline[0].data, progress or Silent())
    manifest = reference.manifest
    _require_judges(reference)
    chosen = tuple(fields) or (*manifest.domain, *_further(manifest))
    _require_fields(manifest, chosen)
    rungs = [Rung(fields=(), jobs=tuple(_jobs(words, manifest, chosen[:1], seeds, told=False)))]
    for number in range(1, len(chosen) + 1):
        rungs.append(
            Rung(fields=chosen[:number], jobs=tuple(_jobs(words, manifest, chosen[:number], seeds, told=True)))
        )
    digest = hashlib.sha256(
        json.dumps([*without_launcher(words), *chosen, seeds, manifest.fingerprint]).encode()
    ).hexdigest()
    name = f"domains-{manifest.name}-{digest[:8]}"
    return LadderJob(
        rungs=tuple(rungs),
        baseline=tuple(baseline),
        reference=reference,
        folder=Path(baseline[0].config["paths"]["studies"]) / name,
        words=tuple(words),
    )


def run_ladder(job: LadderJob, progress: Progress | None = None, *, workers: int = 1) -> tuple[Finding, Path]:
    """Prepare and train what is missing, judge, and keep the finding.

    Raises:
        InterruptedRun: stopped; what was begun is saved.
        DataError: a rung has no finished runs.
    """
    progress = progress or Silent()
    require_launcher(job.baseline[0], workers)
    job.folder.mkdir(parents=True, exist_ok=True)
    with only_owner(job.folder):
        _require_unchanged(job)
        prepared = [ensure_prepared(rung.jobs[0].data, progress) for rung in job.rungs]
        asked = [(BASELINE, own, job.reference) for own in job.baseline] + [
            (rung.name, own, data) for rung, data in zip(job.rungs, prepared, strict=True) for own in rung.jobs
        ]
        runs = [
            NamedRun(name=f"{name}, seed {own.seed}", job=own, prepared=data)
            for name, own, data in asked
            if finished_run(own, data) is None
        ]
        each = BestSoFar(job.baseline[0].loop.select, comparable=False)  # every definition has groups of its own
        failed = train_all(runs, progress, workers=workers, what="series of domain definitions", best=each)
        finding = _finding(job, failed)
        return finding, write_finding(finding, job.folder)


def _require_unchanged(job: LadderJob) -> None:
    """Every definition must be prepared from the rows of the reference."""
    sources = [Path(source.path) for source in job.reference.manifest.sources if Path(source.path).is_absolute()]
    for path in changed_sources(job.reference.manifest, sources):
        raise DataError(
            f"{path} has changed since {job.reference.folder} was prepared from it, so other definitions of a domain "
            "cannot be compared on the same rows",
            hint="restore the file, or prepare the data anew with adasparse prep --replace",
        )


def _jobs(words: Sequence[str], manifest: Manifest, fields: Sequence[str], seeds: int, *, told: bool) -> list[TrainJob]:
    """Jobs on data of another definition; without the domain, the pruners read their layer instead."""
    name = _name(manifest, fields)
    own = [f"data.domain=[{','.join(fields)}]", f"data.name={name}", "data.domain_aware=[]"]
    sources = [source.path for source in manifest.sources if Path(source.path).is_absolute()]
    raw = [f"raw=[{','.join(_quoted(path) for path in sources)}]"] if sources else []
    # the settings that the data were prepared with, whoever typed them; as typed now, where words cannot say them
    same = data_words(manifest.settings) or [word for word in words if _of_data(word)]
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
    # data prepared anew under the same name get definitions of their own, so that none has to be replaced
    name = f"{manifest.name}-by-{'-'.join(parts)}"
    return f"{shortened(name, LONGEST_NAME - 9)}-{manifest.fingerprint[:8]}"


def _quoted(path: str) -> str:
    return "'" + path.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _further(manifest: Manifest) -> tuple[str, ...]:
    """The coarsest other fields that a domain could be made of."""
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
    """Definitions are judged by GAUC over the domains of the data's own definition: nothing is trained where it says nothing."""
    domains = read_domains(reference.folder, reference.manifest)
    usable = domains.filter((pl.col("test_positives") > 0) & (pl.col("test_positives") < pl.col("test_rows"))).height
    if usable >= FEWEST_JUDGES:
        return
    manifest = reference.manifest
    raise DataError(
        f"there is nothing to compare: {usable} of the {domains.filter(pl.col('test_rows') > 0).height} test domains of "
        f"{manifest.name} ({' × '.join(manifest.domain)}) have both classes, and definitions of a domain are compared by "
        f"GAUC over at least {FEWEST_JUDGES} of them",
        hint="prepare the data with other fields as their domain, under another name: data.domain=[a,b] data.name=NAME",
    )


def _require_fields(manifest: Manifest, fields: Sequence[str]) -> None:
    categorical = [field.name for field in manifest.fields if field.kind is FieldKind.categorical]
    for name in fields:
        if name not in categorical:
            raise UsageError(
                f"--fields names {name}, which is no categorical field",
                hint=f"there are {nearest_names(name, categorical)}",
            )
    if len(set(fields)) < len(fields):
        raise UsageError("--fields names a field twice", hint="each field can be added once")


@dataclass(frozen=True, kw_only=True)
class JudgedLadder:
    """All rungs on the same rows: logits by arm, and the runs of each rung that has all of them."""

    rows: TestRows
    arms: dict[str, list[np.ndarray]]
    whole: Sequence[tuple[Rung, PrepReport, list[Path]]]


def judged_ladder(job: LadderJob) -> JudgedLadder:
    """The finished runs of a ladder, put on the same rows.

    Raises:
        DataError: the DNN or every rung lacks a run.
    """
    base = [finished_run(own, job.reference) for own in job.baseline]
    if None in base:
        raise DataError("a run of the DNN is missing", hint="run it once more; what failed is named")
    whole = []
    for rung in job.rungs:
        data = ensure_prepared(rung.jobs[0].data)
        folders = [finished_run(own, data) for own in rung.jobs]
        if None not in folders:
            whole.append((rung, data, [folder for folder in folders if folder is not None]))
    if not whole:
        raise DataError("no definition has all its runs", hint="run it once more; what failed is named")
    rows, key, logits = _rows([folder for folder in base if folder is not None])
    arms = {BASELINE: logits}
    for rung, _, runs in whole:
        arms[rung.name] = [_aligned(run, key) for run in runs]
    return JudgedLadder(rows=rows, arms=arms, whole=whole)


def _finding(job: LadderJob, failed: dict[str, str]) -> Finding:
    judged = judged_ladder(job)
    rows, arms, whole = judged.rows, judged.arms, judged.whole
    gained = {metric: compare(metric, rows, arms, baseline=BASELINE) for metric in ("gauc_domain", "auc")}
    means = {name: gained["gauc_domain"][name].difference for name in arms if name != BASELINE}
    best = max(means, key=lambda name: means[name])
    against = compare("gauc_domain", rows, {name: arms[name] for name in means}, baseline=best)
    table = [_row(rung, data, runs, gained, against.get(rung.name), best) for rung, data, runs in whole]
    return Finding(
        name="domains",
        title="How many domains",
        question="Into how many domains should these data be divided?",
        answers=_answers(table, best, whole, failed),
        tables=[
            Table(
                name="ladder",
                title=f"Domain definitions against {BASELINE}, all judged by {' × '.join(job.reference.manifest.domain)}",
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
            "With the first definition the pruners receive no domain and read their layer instead (`model.pruner.inputs=[hidden]`). Rows and "
            "split are the same for every definition, and so are the features, but for the domain's own id (`data.domain_id`) where a "
            "definition has several fields.",
            "A definition differs significantly from the best one if the interval of their difference, corrected for the number of definitions, "
            "excludes 0. The recommendation is the coarsest definition that does not differ from the best.",
        ),
    )


def _rows(folders: Sequence[Path]) -> tuple[TestRows, pl.DataFrame, list[np.ndarray]]:
    """The rows that all rungs are judged on, in the order of the DNN's first run."""
    frames = [read_predictions(folder) for folder in folders]
    first = frames[0]
    domains = first["domain"].to_numpy().astype(np.int64)
    rows = TestRows(labels=first["label"].to_numpy(), domains=domains, clusters=domains)
    key = first.select("source", "line", "label")
    return rows, key, [frame["logit"].to_numpy() for frame in frames]


def _aligned(folder: Path, key: pl.DataFrame) -> np.ndarray:
    """A run's logits in the order of the rows judged."""
    frame = read_predictions(folder)
    found = key.join(frame, on=["source", "line", "label"], how="left", maintain_order="left")
    if frame.height != key.height or found["logit"].null_count():
        raise IntegrityError(
            f"{folder} scores other rows than the DNN did",
            hint="prepare the data anew and run the series once more",
        )
    return np.asarray(found["logit"].to_numpy())


def _row(
    rung: Rung,
    data: PrepReport,
    folders: Sequence[Path],
    gained: dict[str, dict[str, Difference]],
    against: Difference | None,
    best: str,
) -> dict[str, Any]:
    gain = gained["gauc_domain"][rung.name]
    auc = [read_report(folder)["metrics"]["test"]["auc"] for folder in folders]
    apart = None if against is None else against.p_holm < 0.05
    return {
        "definition": rung.adds,
        "domains": data.manifest.num_domains if rung.fields else 1,
        "AUC": float(np.mean(auc)),
        "gain in AUC": gained["auc"][rung.name].difference,
        "gain in GAUC": gain.difference,
        "95 % interval": Interval.of(gain.low, gain.high),
        "better than dnn": None if none_if_nan(gain.p_holm) is None else gain.is_real and gain.difference > 0,
        "domain": rung.name,
        "differs from the best": False if rung.name == best else apart,
    }


def _answers(
    table: Sequence[dict[str, Any]],
    best: str,
    whole: Sequence[tuple[Rung, PrepReport, list[Path]]],
    failed: dict[str, str],
) -> list[str]:
    top = next(row for row in table if row["domain"] == best)
    alike = [row for row in table if not row["differs from the best"]]
    lines = [
        f"Best in the mean: {best} ({top['domains']:,} domains), {top['gain in GAUC']:+.4f} GAUC over {BASELINE}, {top['95 % interval']}."
    ]
    if len(alike) == len(table):
        lines.append("No domain definition differs significantly from the best, so the optimum cannot be located.")
    else:
        lines.append(
            f"Not significantly different from it: {', '.join(row['domain'] for row in alike if row['domain'] != best) or 'none'}."
        )
    fields = next(rung.fields for rung, _, _ in whole if rung.name == alike[0]["domain"])
    better = any(row["better than dnn"] for row in table)
    if not better:
        lines.append(f"No definition is significantly better than {BASELINE}: on these data any definition will do.")
    written = ",".join(fields)
    lines.append(
        f"Recommended, as the coarsest of these: {alike[0]['domain']}"
        + (f" (`data.domain=[{written}]`)." if fields else ".")
    )
    return [*lines, *(f"Failed: {name}: {why}" for name, why in failed.items())]


def _figure(table: Sequence[dict[str, Any]]) -> Figure:
    return gains(
        "ladder",
        title=f"Gain over {BASELINE} in GAUC, against the number of domains",
        summary="Bars are 95 % intervals. Definitions are ordered from one domain to the finest.",
        x=[row["domains"] for row in table],
        y=[row["gain in GAUC"] for row in table],
        intervals=[row["95 % interval"] for row in table],
        labels=[row["domain"] for row in table],
        xaxis={"type": "log", "title": {"text": "domains in training"}},
        base=BASELINE,
    )
