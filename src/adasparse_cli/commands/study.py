"""`adasparse compare`, `ablate`, `sweep`: many runs as one study, and which of their differences are real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adasparse_cli.commands.arguments import Baseline, ConfigFile, DryRun, Overrides, Seeds, Workers
from adasparse_cli.render import Format, ProgressDisplay, note, say, share, show, show_json

if TYPE_CHECKING:
    from adasparse_cli.jobs.study import StudyJob, StudyReport

COMPARE_EXAMPLES = """
Examples:

  adasparse compare                            (all models on the twin)

  adasparse compare --models dnn,star,apg,adasparse data=twin-3m

  adasparse compare --dry-run data=iaac --seeds 5 --workers 2

  adasparse compare --experiment parts         (a named study)
"""
ABLATE_EXAMPLES = """
Examples:

  adasparse ablate                      (the modes, and the placebo)

  adasparse ablate --parts data=twin-3m (what fusion is made of)

  adasparse ablate data.heterogeneity=0 data.name=control
"""
SWEEP_EXAMPLES = """
Examples:

  adasparse sweep loop.learning_rate=0.0005,0.001,0.002

  adasparse sweep model=star,apg network.embedding_std=0.01,0.1
"""
METRICS = {"gauc_domain": "GAUC by domain", "auc": "AUC", "log_loss": "log loss (less is better)"}


class Cluster(StrEnum):
    """What the intervals' clusters of test rows are."""

    domain = "domain"
    user = "user"


Clusters = Annotated[Cluster, typer.Option("--cluster", help="What test rows are resampled by.")]
Form = Annotated[Format, typer.Option("--format", help="How tables are written.")]


def compare(
    overrides: Overrides = None,
    models: Annotated[str, typer.Option("--models", help="Which models, a,b,c; all of them without it.")] = "",
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="A named study instead, of conf/experiment.")
    ] = None,
    baseline: Baseline = None,
    seeds: Seeds = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    cluster: Clusters = Cluster.domain,
    config: ConfigFile = None,
    form: Form = Format.text,
) -> None:
    """Train models with the same seeds on the same data, and say which differences are real."""
    from adasparse_cli.errors import UsageError
    from adasparse_cli.jobs.study import plan_compare, plan_experiment

    words = overrides or []
    if experiment is None:
        named = [name.strip() for name in models.split(",") if name.strip()]
        job = plan_compare(named, words, seeds=seeds or 3, baseline=baseline, config_file=config)
    elif models:
        raise UsageError("--models and --experiment both say what to compare", hint="keep one of the two")
    else:
        job = plan_experiment(experiment, words, seeds=seeds, baseline=baseline, config_file=config)
    _do(job, workers=workers, dry_run=dry_run, cluster=cluster, form=form)


def ablate(
    overrides: Overrides = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Vary what fusion is made of instead, one part at a time.")
    ] = False,
    baseline: Baseline = None,
    seeds: Seeds = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    cluster: Clusters = Cluster.domain,
    config: ConfigFile = None,
    form: Form = Format.text,
) -> None:
    """Compare AdaSparse's modes, and a placebo that is told another row's domain, with the plain network."""
    from adasparse_cli.jobs.study import plan_experiment

    name = "parts" if parts else "ablation"
    job = plan_experiment(name, overrides or [], seeds=seeds, baseline=baseline, config_file=config)
    _do(job, workers=workers, dry_run=dry_run, cluster=cluster, form=form)


def sweep(
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds of every combination.")] = 1,
    workers: Workers = 1,
    dry_run: DryRun = False,
    cluster: Clusters = Cluster.domain,
    config: ConfigFile = None,
    form: Form = Format.text,
) -> None:
    """Train every combination of the values given, and compare them with the first."""
    from adasparse_cli.jobs.study import plan_sweep

    job = plan_sweep(overrides or [], seeds=seeds, config_file=config)
    _do(job, workers=workers, dry_run=dry_run, cluster=cluster, form=form)


def _do(job: StudyJob, *, workers: int, dry_run: bool, cluster: Cluster, form: Format) -> None:
    from adasparse_cli.jobs.study import run_study

    if dry_run:
        show_plan(job, workers, form)
        return
    with ProgressDisplay() as progress:
        report = run_study(job, progress, workers=workers, cluster=cluster.value)
    show_study(report, form)


def show_study(report: StudyReport, form: Format) -> None:
    """The table of a study, the differences to its baseline, and what of it is real."""
    for name, why in report.failed.items():
        note(f"failed: {name}: {why}")
    comparison = report.comparison
    table = comparison.table()
    if form is Format.json:
        show_json(table)
        return
    if form is Format.csv:
        show(table, form=form)
        return
    if form is Format.text:
        say(report.question)
    title = f"{report.title}: mean ± sd over seeds"
    show([_quality(row) for row in table], title=title, caption=comparison.caption, form=form)
    if any(row["gauc_domain_difference"] is not None for row in table):
        others = [row for row in table if row["arm"] != comparison.baseline]
        for metric, name in METRICS.items():
            show(
                [_against(row, metric) for row in others],
                title=f"{name}, difference to {comparison.baseline}",
                form=form,
            )
        _say_what_is_real(table, comparison.baseline, form)
    cut = comparison.sparsity()
    if cut:
        show(cut, title="Share of neurons cut, by layer", form=form)
    if form is Format.text:
        say(f"study: {report.folder}")
        say(f"next: adasparse report {report.folder.name}    for a page with plots")


def show_plan(job: StudyJob, workers: int, form: Format) -> None:
    """What a study would do, and how long it would take."""
    from adasparse_cli.jobs.study import plan_of

    runs = plan_of(job)
    rows = [
        {
            "arm": run.arm,
            "seed": run.seed,
            "state": run.state,
            "seconds": None if run.seconds is None else round(run.seconds),
        }
        for run in runs
    ]
    left = [run for run in runs if run.state != "done"]
    caption = "all runs are done"
    if left:
        known = [run.seconds for run in left if run.seconds is not None]
        minutes = sum(known) / len(known) * len(left) / workers / 60 if known else None
        how = "by runs like them" if all(run.known for run in left) else "a guess from this machine's speed"
        expected = (
            "nobody knows how long, before a first run" if minutes is None else f"about {minutes:,.1f} minutes, {how}"
        )
        caption = f"{len(left)} of {len(runs)} runs are to be done, {workers} at a time: {expected}"
    show(rows, title=f"{job.title}: the plan of {job.folder}", caption=caption, form=form)


def _quality(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "arm": row["arm"],
        "seeds": row["seeds"],
        "GAUC by domain": _spread(row, "gauc_domain"),
        "AUC": _spread(row, "auc"),
        "log loss": _spread(row, "log_loss"),
        "GAUC, valid": row["valid_gauc_domain"],
        "multiply-adds per row": row["multiply_adds"],
    }


def _against(row: Mapping[str, Any], metric: str) -> dict[str, Any]:
    found = {name: row[f"{metric}_{name}"] for name in ("difference", "low", "high", "p_holm", "detectable", "real")}
    table = {
        "arm": row["arm"],
        "difference": None if found["difference"] is None else f"{found['difference']:+.4f}",
        "95 % interval": None if found["low"] is None else f"[{found['low']:+.4f}, {found['high']:+.4f}]",
        "p (Holm)": found["p_holm"],
        "real": found["real"],
        "detectable": found["detectable"],
    }
    if metric == "gauc_domain":
        table["domains better"] = share(row["uplift_domains"])
    if metric == "auc":
        table["RelaImpr"] = share(row["relative_improvement"])
    return table


def _spread(row: Mapping[str, Any], metric: str) -> str:
    if row[metric] is None:
        return "n/a"
    sd = row[f"{metric}_sd"]
    return f"{row[metric]:.4f}" + ("" if sd is None else f" ± {sd:.4f}")


def _say_what_is_real(table: Sequence[Mapping[str, Any]], baseline: str, form: Format) -> None:
    """Text and Markdown can hold sentences; in LaTeX they are comments."""
    better = [row["arm"] for row in table if row["gauc_domain_real"] and row["gauc_domain_difference"] > 0]
    worse = [row["arm"] for row in table if row["gauc_domain_real"] and row["gauc_domain_difference"] < 0]
    others = [row["arm"] for row in table if row["arm"] not in (*better, *worse, baseline)]
    mark = {Format.markdown: "- ", Format.latex: "% "}.get(form, "")
    for what, arms in (("better than", better), ("worse than", worse), ("undecided against", others)):
        if arms:
            say(f"{mark}GAUC by domain, {what} {baseline}: {', '.join(arms)}")
    say(
        f"{mark}Intervals cover the chance of seeds and of test rows. Real: 0 is excluded after Holm's correction over all arms "
        "(p < 0.05). Detectable: the smallest true difference that such a study would have found with a chance of 80 %."
    )
    say("")
