"""`adasparse compare`, `ablate`, `sweep`: train many runs as one study, and report which differences are significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.errors import UsageError
from adasparse_cli.findings.finding import Best, cell, estimate
from adasparse_cli.findings.machine import machine_rows
from adasparse_cli.study_commands.verdicts import how_to_read, short_name, verdict_lines
from adasparse_cli.terminal.arguments import (
    AsCsv,
    AsJson,
    Baseline,
    ConfigFile,
    DryRun,
    Overrides,
    Seeds,
    Verify,
    Workers,
    Worlds,
)
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import MACHINE, Format, chosen_format, note, remark, say, show, show_machine

if TYPE_CHECKING:
    from adasparse_cli.prep.recipe import Progress
    from adasparse_cli.studies.comparison import Comparison
    from adasparse_cli.studies.plan import StudyJob
    from adasparse_cli.studies.study import StudyReport

COMPARE_EXAMPLES = """
Examples:

  adasparse compare                        (all models except lightgbm, on the twin)

  adasparse compare --models dnn,star,apg,adasparse data=twin-3m

  adasparse compare --dry-run data=iaac --seeds 5 --workers 2

  adasparse compare --experiment parts     (a named study)
"""
ABLATE_EXAMPLES = """
Examples:

  adasparse ablate                       (the modes and the placebo)

  adasparse ablate --parts data=twin-3m  (the parts of fusion)

  adasparse ablate --worlds 0,1,2        (on three synthetic data sets)

  adasparse ablate data.heterogeneity=0 data.name=control
"""
SWEEP_EXAMPLES = """
Examples:

  adasparse sweep loop.learning_rate=0.0005,0.001,0.002

  adasparse sweep model=star,apg network.embedding_std=0.01,0.1
"""
METRICS = {"gauc_domain": "GAUC by domain", "auc": "AUC", "log_loss": "log loss (lower is better)"}
BETTER = {"gauc_domain": 1, "auc": 1, "log_loss": -1}
NONE = {"gauc_domain": "no test domain has both classes", "auc": "all test rows are of one class"}


class Cluster(StrEnum):
    """Cluster of test rows that is resampled for confidence intervals."""

    domain = "domain"
    user = "user"


Clusters = Annotated[Cluster, typer.Option("--cluster", help="Cluster for resampling test rows.")]
Form = Annotated[Format | None, typer.Option("--format", help="Table format. markdown and latex suit papers.")]


def compare(
    overrides: Overrides = None,
    models: Annotated[
        str | None,
        typer.Option(
            "--models", help="Models a,b,c. Default: all except lightgbm.", autocompletion=completion.several_models
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", help="Run a named study of conf/experiment instead.", autocompletion=completion.experiments
        ),
    ] = None,
    baseline: Baseline = None,
    seeds: Seeds = None,
    worlds: Worlds = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    cluster: Clusters = Cluster.domain,
    config: ConfigFile = None,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Train models with the same seeds on the same data, and report which differences are significant."""
    from adasparse_cli.studies.plan import plan_compare, plan_experiment
    from adasparse_cli.studies.worlds import worlds_of

    words = overrides or []
    if experiment is None:
        named = [name.strip() for name in (models or "").split(",") if name.strip()]
        if models is not None and not named:
            raise UsageError(
                "--models names no model",
                hint="adasparse models ls lists them; without --models, all except lightgbm are compared",
            )
        job = plan_compare(
            named, words, seeds=seeds or 3, baseline=baseline, config_file=config, worlds=worlds_of(worlds)
        )
    elif models is not None:
        raise UsageError("--models and --experiment exclude each other", hint="use one of them")
    else:
        job = plan_experiment(
            experiment, words, seeds=seeds, baseline=baseline, config_file=config, worlds=worlds_of(worlds)
        )
    form = chosen_format(as_json, as_csv, form)
    _do(job, workers=workers, dry_run=dry_run, cluster=cluster, form=form, verify=verify)


def ablate(
    overrides: Overrides = None,
    parts: Annotated[bool, typer.Option("--parts", help="Vary the parts of fusion instead, one at a time.")] = False,
    baseline: Baseline = None,
    seeds: Seeds = None,
    worlds: Worlds = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    cluster: Clusters = Cluster.domain,
    config: ConfigFile = None,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Compare the modes of AdaSparse with the DNN baseline, and with a placebo that receives another row's domain."""
    from adasparse_cli.studies.plan import plan_experiment
    from adasparse_cli.studies.worlds import worlds_of

    name = "parts" if parts else "ablation"
    words = overrides or []
    job = plan_experiment(name, words, seeds=seeds, baseline=baseline, config_file=config, worlds=worlds_of(worlds))
    form = chosen_format(as_json, as_csv, form)
    _do(job, workers=workers, dry_run=dry_run, cluster=cluster, form=form, verify=verify)


def sweep(
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds per combination.")] = 1,
    worlds: Worlds = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    cluster: Clusters = Cluster.domain,
    config: ConfigFile = None,
    form: Form = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Train every combination of the given values, and compare each combination with the first."""
    from adasparse_cli.studies.plan import plan_sweep
    from adasparse_cli.studies.worlds import worlds_of

    job = plan_sweep(overrides or [], seeds=seeds, config_file=config, worlds=worlds_of(worlds))
    form = chosen_format(as_json, as_csv, form)
    _do(job, workers=workers, dry_run=dry_run, cluster=cluster, form=form, verify=verify, choose=True)


def _do(
    job: StudyJob,
    *,
    workers: int,
    dry_run: bool,
    cluster: Cluster,
    form: Format,
    verify: bool,
    choose: bool = False,
) -> None:
    if dry_run:
        show_plan(job, workers, form)
        return
    with ProgressDisplay() as progress:
        report = done(job, progress, workers=workers, cluster=cluster, verify=verify)
    show_study(report, form, choose=choose)
    if report.failed:
        raise typer.Exit(1)


def done(
    job: StudyJob, progress: Progress, *, workers: int, verify: bool, cluster: Cluster = Cluster.domain
) -> StudyReport:
    """Run a study.

    Args:
        verify: whether to verify the checksums of its data before, and of its runs after.
    """
    from adasparse_cli.catalogue.verify import verify_planned
    from adasparse_cli.studies.study import run_study
    from adasparse_cli.studies.subject import subject_of_study, verify_subject

    if verify:
        verify_planned([run for arm in job.arms for run in arm.jobs])
    report = run_study(job, progress, workers=workers, cluster=cluster.value)
    if verify:
        verify_subject(subject_of_study(report))
    return report


def show_study(report: StudyReport, form: Format, *, choose: bool = False) -> None:
    """Print the verdicts, the table and the differences to the baseline; with `choose`, also the best arm."""
    for name, why in report.failed.items():
        note(f"failed: {name}: {why}")
    comparison = report.comparison
    table = comparison.table()
    if form in MACHINE:
        more = {
            "title": report.title,
            "question": report.question,
            "baseline": comparison.baseline,
            "seeds": list(comparison.seeds),
            "worlds": list(comparison.worlds),
            "sparsity": machine_rows(comparison.sparsity()),
            "failed": dict(report.failed),
            "folder": str(report.folder),
        }
        show_machine(table, form, more)
        return
    if form is Format.text:
        say(report.question)
    for line in verdict_lines(comparison, table, METRICS):
        remark(line, form)
    title = f"{report.title}: mean ± sd over {'worlds and seeds' if comparison.worlds else 'seeds'}"
    show([_quality(row, comparison) for row in table], title=title, caption=comparison.caption, form=form)
    if any(row["serving_rows_per_second"] is not None for row in table):
        show([_cost(row, table) for row in table], title="Cost: measured rates, serving by one thread", form=form)
    _show_differences(comparison, table, form)
    sparsity = comparison.sparsity()
    if sparsity:
        show(sparsity, title="Sparsity: share of pruned neurons, by layer", form=form)
    if choose:
        remark(_best(comparison, table), form)
    if form is Format.text:
        say(f"study: {report.folder}")
        say(f"next: adasparse report {report.folder.name}    for a page with plots")


def _show_differences(comparison: Comparison, table: Sequence[Mapping[str, Any]], form: Format) -> None:
    """Print a table per metric that has differences, a sentence per metric that has none, and how to read them."""
    from adasparse_cli.insights.differences import difference_tables

    base = comparison.baseline
    others = [row for row in table if row["arm"] != base]
    if not others:
        return
    whole = [arm.name for arm in comparison.arms if arm.whole]
    if base not in whole or len(whole) < 2:
        remark(
            f"No difference to {base} is available: it needs the baseline and another arm, each with all seeds.", form
        )
        return
    if not comparison.has_test_rows:
        remark(f"No difference to {base} is available: there are no test rows.", form)
        return
    shown = [metric for metric in METRICS if any(row[f"{metric}_difference"] is not None for row in others)]
    for metric, name in METRICS.items():
        if metric in shown:
            for one in difference_tables(others, metric, f"{name}, difference to {base}", comparison):
                show(one.shown_rows, title=one.title, caption=one.shown_caption, form=form)
        else:
            remark(f"{short_name(name)} is not available: {NONE.get(metric, 'its value is not a number')}.", form)
    judged = [metric for metric in shown if any(row[f"{metric}_real"] is not None for row in others)]
    lacking: dict[str, list[str]] = {}
    for metric in shown:
        if metric not in judged:
            lacking.setdefault(comparison.why_no_interval(metric), []).append(short_name(METRICS[metric]))
    for why, names in lacking.items():
        what = "" if len(names) == len(shown) else f" for {' and '.join(names)}"
        remark(f"No interval is available{what}: {why}.", form)
    if judged:
        remark(how_to_read(comparison), form)
    if form is not Format.text:
        say("")


def show_plan(job: StudyJob, workers: int, form: Format) -> None:
    """Print the runs of a study, their states and the expected time."""
    from adasparse_cli.studies.plan import plan_of

    runs = plan_of(job)
    workers = getattr(job.arms[0].jobs[0].launcher, "jobs", workers)
    rows = [
        {
            "arm": run.arm,
            **({"world": run.world} if job.worlds else {}),
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
        basis = "similar runs" if all(run.known for run in left) else "this machine's speed"
        expected = (
            "no estimate until one run has finished"
            if minutes is None
            else f"about {cell(minutes, 'minutes')} minutes, estimated from {basis}"
        )
        caption = f"{len(left)} of {len(runs)} runs left, {workers} at a time: {expected}"
    show(rows, title=f"{job.title}: plan of {job.folder}", caption=caption, form=form)


def _quality(row: Mapping[str, Any], comparison: Comparison) -> dict[str, Any]:
    from adasparse_cli.insights.card import best_arm
    from adasparse_cli.insights.differences import spread

    valid, test = comparison.counts("valid"), comparison.counts("test")

    def shown(metric: str) -> str | None:
        text = spread(row, metric, test)
        return Best(text) if text is not None and best_arm(comparison, metric) == row["arm"] else text

    return {
        "arm": row["arm"],
        **({"worlds": row["worlds"]} if row["worlds"] > 1 else {}),
        "seeds": row["seeds"],
        "GAUC by domain": shown("gauc_domain"),
        "AUC": shown("auc"),
        "log loss": shown("log_loss"),
        "GAUC, valid": _shown(row["valid_gauc_domain"], valid),
        "multiply-adds per row": row["multiply_adds"],
    }


def _cost(row: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from adasparse_cli.insights.cost import rates_shown

    return {"arm": row["arm"], "multiply-adds per row": row["multiply_adds"], **rates_shown(row, table)}


def _best(comparison: Comparison, table: Sequence[Mapping[str, Any]]) -> str:
    """A sentence about the best arm on the valid split, among the arms with all seeds."""
    from adasparse_cli.insights.differences import shown_difference

    whole = [row for row in table if row["seeds"] == len(comparison.seeds)]
    metric = next((name for name in METRICS if any(row[f"valid_{name}"] is not None for row in whole)), None)
    if metric is None:
        return "No best arm: no arm has a metric on the valid split."
    known = [row for row in whole if row[f"valid_{metric}"] is not None]
    best = max(known, key=lambda row: BETTER[metric] * row[f"valid_{metric}"])
    test, gap = best[metric], best[f"{metric}_difference"]
    if best["arm"] == comparison.baseline:
        against = ", the baseline itself"
    else:
        against = "" if gap is None else f", {shown_difference(best, metric, comparison)} to {comparison.baseline}"
    valid = _shown(best[f"valid_{metric}"], comparison.counts("valid"))
    shown = _shown(test, comparison.counts("test"))
    judged = "no value on the test split" if test is None else f"{shown} on the test split{against}"
    return (
        f"Best by {short_name(METRICS[metric])} on the valid split: {best['arm']} with {valid}, {judged}. "
        "Choose by the valid split only: the test split serves to judge the choice."
    )


def _shown(value: float | None, counts: Mapping[str, Any]) -> str:
    """A metric with as many digits as its split supports."""
    return cell(estimate(value, counts.get("rows"), counts.get("positives")))
