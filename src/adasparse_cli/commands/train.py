"""`adasparse train`: train a model with one or several seeds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.choices import Mode
from adasparse_cli.command_line import typed_without
from adasparse_cli.findings.finding import FEW, cell, estimate, few_caption, is_few
from adasparse_cli.terminal.arguments import AsCsv, AsJson, ConfigFile, DryRun, Overrides, Verify
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import (
    MACHINE,
    Format,
    chosen_format,
    note,
    say,
    share,
    show,
    show_machine,
    with_spread,
)

if TYPE_CHECKING:
    from adasparse_cli.runs.train_job import TrainJob

EXAMPLES = """
Examples:

  adasparse train --mode fusion       (the twin is prepared first)

  adasparse train --model dnn data=twin-3m --seeds 3

  adasparse train --dry-run data=twin-3m --seeds 3

  adasparse train --resume data=twin-3m

  adasparse train loop.placebo=true   (the pruner receives another row's domain)

  adasparse train 'model.regulariser.interval=[0.35,0.40]'
"""
SHOWN_METRICS = ("auc", "gauc_domain", "gauc_domain_unweighted", "gauc_user", "log_loss", "calibration")
SHOWN_DOMAINS = 5
# Features known before the click do not reach this AUC. A higher value indicates a leak of the label.
TOO_GOOD = 0.99


def train(
    overrides: Overrides = None,
    mode: Annotated[Mode | None, typer.Option("--mode", help="Weight-factor mode of AdaSparse.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model. `adasparse models ls` lists them.", autocompletion=completion.models),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds, starting at `seed`.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the newest run with these settings. If it is finished, show it.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
    dry_run: DryRun = False,
    nproc: Annotated[
        int,
        typer.Option("--nproc", min=1, help="Processes that train the model together, each on a part of every batch."),
    ] = 1,
) -> None:
    """Train a model and show its metrics. The data are prepared first if necessary."""
    from adasparse_cli.config.grammar import with_flags
    from adasparse_cli.runs.train_job import model_flags, plan_seeds

    flags = {**model_flags(model), "model.mode": None if mode is None else mode.value}
    words = with_flags(overrides or [], flags)
    form = chosen_format(as_json, as_csv)
    if nproc > 1 and not dry_run:
        from adasparse_cli.distributed.launch import launch

        raise typer.Exit(launch(typed_without("--nproc"), nproc, tell=note))
    jobs = plan_seeds(words, seeds, config_file=config)
    if verify:
        from adasparse_cli.catalogue.verify import verify_planned

        verify_planned(jobs)
    if dry_run:
        _show_plan(jobs, form, resume=resume)
        return
    from adasparse_cli.distributed.process_group import is_restarted, joined_group, launched_at
    from adasparse_cli.layers import ranks

    with joined_group(jobs[0].device):
        # processes that are started again resume what they began, and no older run of these settings
        again = not resume and is_restarted()
        reports, folders = _train(jobs, resume=resume or again, begun_since=launched_at() if again else None)
        if ranks.rank() > 0:
            return
    if form in MACHINE:
        own = {"runs": reports} if seeds > 1 else reports[0]
        show_machine([flat_report(report) for report in reports], form, own)
    elif seeds > 1:
        _show_seeds(reports, folders)
    else:
        show_run_report(reports[0], folders[0])


def _train(
    jobs: Sequence[TrainJob], *, resume: bool, begun_since: float | None
) -> tuple[list[Mapping[str, Any]], list[Path]]:
    """Train one run after the other, and return their reports and folders."""
    from adasparse_cli.execution.best_so_far import BestSoFar, valid_metric
    from adasparse_cli.layers import ranks
    from adasparse_cli.runs.train import run_train

    reports: list[Mapping[str, Any]] = []
    folders: list[Path] = []
    best = BestSoFar(jobs[0].loop.select)
    if ranks.rank() > 0:
        for job in jobs:
            run_train(job)
        return reports, folders
    with ProgressDisplay() as progress:
        for number, job in enumerate(jobs, start=1):
            done = run_train(job, progress, resume=resume, begun_since=begun_since)
            if len(jobs) > 1:
                value = valid_metric(done.report, best.metric)
                after = f"  {number} of {len(jobs)} runs"
                best.report(progress, f"seed {job.seed}", value, arm=job.label, seed=job.seed, after=after)
            if not done.fresh:
                note(f"{done.folder} is already finished; nothing to train")
            _warn_of_leak(done.report)
            reports.append(done.report)
            folders.append(done.folder)
    return reports, folders


def _show_plan(jobs: Sequence[TrainJob], form: Format, *, resume: bool) -> None:
    """Print what would be prepared and trained, where, the number of parameters and the expected time."""
    from adasparse_cli.studies.forecast import forecast_run

    plans = [forecast_run(job, resume=resume) for job in jobs]
    rows = [
        {
            "run": plan.folder,
            "seed": job.seed,
            "action": plan.does,
            "parameters": plan.parameters,
            "seconds": None if plan.seconds is None else round(plan.seconds),
        }
        for job, plan in zip(jobs, plans, strict=True)
    ]
    left = [plan for plan in plans if plan.seconds != 0]
    known = [plan.seconds for plan in left if plan.seconds is not None]
    basis = "a similar run" if all(plan.measured for plan in left) else "this machine's speed"
    time = (
        f"about {cell(sum(known) / 60, 'minutes')} minutes of training, estimated from {basis}"
        if known
        else "no estimate until the data are prepared"
    )
    show(rows, title=f"Plan; data: {plans[0].data}", caption=time if left else "nothing to train", form=form)


def show_run_report(report: Mapping[str, Any], folder: Path, *, with_domains: bool = True) -> None:
    """Print metrics, sparsity, best and worst domains, the folder of the run, and the next commands.

    Args:
        with_domains: whether to print domains. Reading them takes longer than all the rest, because it loads polars.
    """
    name = report["model"] if report["mode"] is None else f"{report['model']} {report['mode']}"
    show_metrics(report["metrics"], title=f"{name} on {report['data']['name']}, seed {report['seed']}")
    _show_left_out(report["metrics"])
    if report["sparsity"]:
        _show_sparsity([report])
    if with_domains:
        _show_domains(folder, report["data"]["domain"])
    seconds, rate = report["timings"]["elapsed_seconds"], report["timings"]["rows_per_second"]
    speed = f", {rate:,.0f} rows/s" if rate else ""
    say(f"{report['steps']:,} steps in {seconds:.1f} s{speed}; best checkpoint at step {report['best_step']:,}")
    say(f"run: {folder}")
    say(f"next: {_counterpart(report)}    to compare")
    say(f"      adasparse predict {folder.name} FILE    to score new rows")


def _warn_of_leak(report: Mapping[str, Any]) -> None:
    """Print a warning if the AUC of held-out rows is implausibly high."""
    auc_of = {split: metrics["auc"] for split, metrics in report["metrics"].items() if "," not in split}
    high = [f"{split} AUC {auc:.4f}" for split, auc in auc_of.items() if auc is not None and auc > TOO_GOOD]
    if high:
        name = report["data"]["name"]
        note(
            f"warning: {', '.join(high)}: a field may leak the label; adasparse data show {name} lists fields "
            "that predict the label by themselves, and 'data.roles={FIELD: ignored}' excludes a field"
        )


def _counterpart(report: Mapping[str, Any]) -> str:
    """The command for a run to compare this one with: the DNN or AdaSparse, with the same training settings."""
    from adasparse_cli.config.settings_words import settings_words

    baseline = "adasparse train" if report["model"] == "dnn" else "adasparse train --model dnn"
    standard = {**report["settings"], "loop": {**report["settings"]["loop"], "name": "standard"}}
    shared = settings_words(standard, ("network", "loop"))
    seed = [f"seed={report['seed']}"] if report["seed"] else []
    settings = shlex.join([setting for setting in shared if not setting.startswith("loop.placebo=")] + seed)
    return " ".join(filter(None, (baseline, report["data"]["words"], settings)))


def show_metrics(metrics: Mapping[str, Mapping[str, Any]], *, title: str) -> None:
    """Print one row per metric, with one column per split."""
    rows = [
        {
            "metric": name,
            **{split: estimate(values[name], values["rows"], values["positives"]) for split, values in metrics.items()},
        }
        for name in SHOWN_METRICS
    ]
    counted = [(split, values) for split, values in metrics.items() if "," not in split]
    sizes = ", ".join(
        f"{split} {values['rows']:,} rows, {values['positives']:,} positives" for split, values in counted
    )
    few = few_caption(dict(counted))
    show(rows, title=title, caption=f"{sizes}; {few}" if few else sizes)


def _show_left_out(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    test = metrics.get("test")
    if test:
        say(
            f"GAUC excludes domains with only one class: {test['one_class_domains']} of {test['domains']} test domains "
            f"({share(test['one_class_domain_row_share'])} of rows)"
        )
        # reports of earlier versions lack this count
        without = test.get("rows_without_user")
        if without:
            say(
                f"GAUC by user excludes rows without a user: {without:,} of {test['rows']:,} test rows ({share(without / test['rows'])})"
            )


def _show_sparsity(reports: Sequence[Mapping[str, Any]]) -> None:
    """Print one row per gated layer: the share of pruned neurons over the seeds, and whether it is inside the interval."""
    by_seed = [report["sparsity"] for report in reports]
    interval = by_seed[0]["interval"]
    splits = [split for split in ("valid", "test") if split in by_seed[0]]
    rows = []
    for k, layer in enumerate(by_seed[0]["layers"]):
        row = {"layer": layer, **{split: with_spread([one[split][k] for one in by_seed], share) for split in splits}}
        at_end = [one["at_end"][k] for one in by_seed if one["at_end"]]
        if at_end:
            row["last steps"] = with_spread(at_end, share)
        if interval:
            row["within interval"] = all(interval[0] <= one[splits[-1]][k] <= interval[1] for one in by_seed)
        rows.append(row)
    what = f"interval {interval[0]:.0%} to {interval[1]:.0%}" if interval else "this mode has no target interval"
    show(rows, title=f"Sparsity: share of pruned neurons ({what})")
    say("valid and test: best checkpoint; last steps: mean since the last line of the training log")
    if not all(row.get("within interval", True) for row in rows):
        say(
            "No evaluation had all layers inside the interval, so the metric alone chose the best checkpoint. The regulariser "
            "grows during training: train longer, or raise model.regulariser.start."
        )


def _show_domains(folder: Path, domain: Sequence[str]) -> None:
    from adasparse_cli.runs.run_tables import extreme_domains

    rows = extreme_domains(folder, SHOWN_DOMAINS)
    if rows:
        columns = ("domain", "train rows", "positives", "AUC", "log loss", "calibration")
        title = f"Best and worst test domains by AUC, among domains with at least 20 positives ({'/'.join(domain)})"
        show(rows, title=title, columns=columns)


def _show_seeds(reports: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> None:
    splits = list(reports[0]["metrics"])
    rows = [
        {
            "metric": name,
            **{split: _over_seeds([report["metrics"][split] for report in reports], name) for split in splits},
        }
        for name in SHOWN_METRICS
    ]
    name = reports[0]["model"] if reports[0]["mode"] is None else f"{reports[0]['model']} {reports[0]['mode']}"
    seeds = ", ".join(str(report["seed"]) for report in reports)
    counted = {split: reports[0]["metrics"][split] for split in splits if "," not in split}
    title = f"{name} on {reports[0]['data']['name']}: mean ± sd over seeds {seeds}"
    show(rows, title=title, caption=few_caption(counted))
    if reports[0]["sparsity"]:
        _show_sparsity(reports)
    for folder in folders:
        say(f"run: {folder}")
    say(f"next: {_counterpart(reports[0])} --seeds {len(reports)}    to compare")


def _over_seeds(by_seed: Sequence[Mapping[str, Any]], name: str) -> str:
    """A metric of a split, mean ± standard deviation; with few rows of one class, two digits and a mark."""
    few = is_few(by_seed[0]["rows"], by_seed[0]["positives"])
    text = with_spread([metrics[name] for metrics in by_seed], "{:.2f}".format if few else "{:.4f}".format)
    return text + FEW * (few and text != "n/a")


def flat_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """A run's report as one flat row. Metrics have the keys `<split>_<metric>`."""
    flat = {name: report[name] for name in ("run", "model", "mode", "seed", "steps", "best_step")}
    for split, metrics in report["metrics"].items():
        flat |= {f"{split}_{name}": value for name, value in metrics.items()}
    return flat
