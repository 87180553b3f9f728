"""`adasparse analyze`: analyses of saved runs and studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.choices import Split
from adasparse_cli.terminal.arguments import (
    AsCsv,
    AsJson,
    Baseline,
    ConfigFile,
    DataFolder,
    DryRun,
    Overrides,
    RunsFolder,
    Seeds,
    StudiesFolder,
    Unfinished,
    Verify,
    Workers,
)
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import chosen_format, note, show_finding

app = typer.Typer(help="Analyse saved runs and studies.", no_args_is_help=True, rich_markup_mode=None)

OVERLAP_EXAMPLES = """
Examples:

  adasparse analyze overlap                   (the newest adasparse run)

  adasparse analyze overlap latest --split train --min-rows 200

  adasparse analyze overlap RUN --domain 0/1003/3006 --domain 1/1004/3005
"""

EXPOSURE_EXAMPLES = """
Examples:

  adasparse analyze exposure                  (the newest study)

  adasparse analyze exposure ablation-twin --bins 10

  adasparse analyze exposure RUN_A RUN_B --log
"""

ABTEST_EXAMPLES = """
Examples:

  adasparse analyze abtest DNN_RUN FUSION_RUN

  adasparse analyze abtest RUN RUN        (the same run twice: no difference)
"""

SPARSITY_EXAMPLES = """
Examples:

  adasparse analyze sparsity data=twin-3m --workers 2

  adasparse analyze sparsity --dry-run
"""
DOMAINS_EXAMPLES = """
Examples:

  adasparse analyze domains data=twin-3m --workers 2

  adasparse analyze domains --fields user_gender_id,item_category_1
"""


@app.command("overlap", epilog=OVERLAP_EXAMPLES)
def overlap(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run of AdaSparse. Default: the newest.", autocompletion=completion.runs),
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="Domain to show separately, by its key. Give two or three.")
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Split whose rows are scored.")] = Split.test,
    min_rows: Annotated[int, typer.Option("--min-rows", min=1, help="Minimum number of rows per domain.")] = 50,
    permutations: Annotated[
        int, typer.Option("--permutations", min=99, help="Number of permutations in Mantel's test.")
    ] = 999,
    unfinished: Unfinished = False,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Show which neurons domains share, by layer, and test whether similar domains share more."""
    from adasparse_cli.catalogue.verify import verify_opened
    from adasparse_cli.errors import UsageError
    from adasparse_cli.neurons.overlap import OverlapJob, run_overlap
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.scoring.score import open_run

    form = chosen_format(as_json, as_csv)
    named = tuple(domain or ())
    if named and len(named) not in (2, 3):
        raise UsageError(f"--domain is given {len(named)} times", hint="give it two or three times")
    chosen = choose_run(run, runs, studies, model="adasparse", unfinished=unfinished)
    note(chosen.line)
    saved = open_run(chosen.folder, data_root=data)
    if verify:
        verify_opened([saved])
    job = OverlapJob(
        run=saved,
        split=split,
        minimum_rows=min_rows,
        named=named,
        permutations=permutations,
    )
    with ProgressDisplay() as progress:
        finding, kept = run_overlap(job, progress)
    show_finding(finding, form, kept, runs=[chosen.to_json()])


@app.command("exposure", epilog=EXPOSURE_EXAMPLES)
def exposure(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY | RUN",
            help="A study, or runs. Default: the newest study.",
            autocompletion=completion.studies_or_runs,
        ),
    ] = None,
    bins: Annotated[int, typer.Option("--bins", min=2, help="Number of bins of domains, by training rows.")] = 5,
    log: Annotated[
        bool, typer.Option("--log", help="Place bin edges at equal ratios of rows. Default: equal numbers of domains.")
    ] = False,
    baseline: Baseline = None,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Show whether domains with few training rows gain as much as domains with many."""
    from adasparse_cli.insights.exposure import run_exposure
    from adasparse_cli.studies.subject import find_subject, verify_subject

    form = chosen_format(as_json, as_csv)
    source = find_subject(what or [], runs=runs, studies=studies, baseline=baseline)
    note(source.line)
    if verify:
        verify_subject(source)
    finding, kept = run_exposure(source, bins=bins, logarithmic=log)
    show_finding(finding, form, kept)


@app.command("abtest", epilog=ABTEST_EXAMPLES)
def abtest(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="Control arm.", autocompletion=completion.runs)],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="Treatment arm.", autocompletion=completion.runs)],
    auctions: Annotated[int, typer.Option("--auctions", min=1, help="Number of auctions.")] = 200_000,
    candidates: Annotated[int, typer.Option("--candidates", min=2, help="Ads per auction.")] = 8,
    bid_spread: Annotated[
        float, typer.Option("--bid-spread", min=0.0, help="Standard deviation of log bids, at most 5.")
    ] = 0.5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the auctions.")] = 0,
    unfinished: Unfinished = False,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Compare two runs in simulated auctions: CTR, CPC, revenue, and uplift by domain.

    The twin has true click rates. A log with propensities gives an off-policy estimate.
    """
    from adasparse_cli.catalogue.verify import verify_opened
    from adasparse_cli.insights.abtest import AbTestJob, run_abtest
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.scoring.score import open_run

    form = chosen_format(as_json, as_csv)
    both = [choose_run(name, runs, studies, unfinished=unfinished) for name in (run_a, run_b)]
    for chosen in both:
        note(chosen.line)
    opened = [open_run(chosen.folder, data_root=data) for chosen in both]
    if verify:
        verify_opened(opened)
    job = AbTestJob(
        a=opened[0], b=opened[1], auctions=auctions, candidates=candidates, bid_spread=bid_spread, seed=seed
    )
    with ProgressDisplay() as progress:
        finding, kept = run_abtest(job, progress)
    show_finding(finding, form, kept, runs=[chosen.to_json() for chosen in both])


@app.command("sparsity", epilog=SPARSITY_EXAMPLES)
def sparsity(
    overrides: Overrides = None,
    seeds: Seeds = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Train sparsity intervals from almost dense to mostly pruned, and compare each with dnn."""
    from adasparse_cli.insights.sparsity import keep_sparsity
    from adasparse_cli.studies.plan import plan_experiment
    from adasparse_cli.study_commands.study import done, show_plan

    form = chosen_format(as_json, as_csv)
    job = plan_experiment("sparsity", overrides or [], seeds=seeds, config_file=config)
    if dry_run:
        show_plan(job, workers, form)
        return
    with ProgressDisplay() as progress:
        finding, kept = keep_sparsity(done(job, progress, workers=workers, verify=verify))
    show_finding(finding, form, kept)


@app.command("domains", epilog=DOMAINS_EXAMPLES)
def domains(
    overrides: Overrides = None,
    fields: Annotated[
        str,
        typer.Option(
            "--fields",
            help="Fields a,b,c, added one by one. Default: the fields of the data set's domain and two more.",
        ),
    ] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds per definition.")] = 3,
    workers: Workers = 1,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Train with a series of finer domain definitions, starting with a single domain, and compare them on the same rows."""
    from adasparse_cli.catalogue.verify import verify_planned
    from adasparse_cli.studies.domain_definitions import plan_definitions, run_definitions

    form = chosen_format(as_json, as_csv)
    named = [name.strip() for name in fields.split(",") if name.strip()]
    with ProgressDisplay() as progress:
        job = plan_definitions(overrides or [], fields=named, seeds=seeds, progress=progress)
        if verify:
            verify_planned([*job.baseline, *(run for definition in job.definitions for run in definition.jobs)])
        finding, kept = run_definitions(job, progress, workers=workers)
    show_finding(finding, form, kept)
