"""`adasparse analyze`: what saved runs and studies mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.choices import Split
from adasparse_cli.commands.arguments import AsCsv, AsJson, Baseline, DataFolder, RunsFolder, StudiesFolder
from adasparse_cli.render import ProgressDisplay, chosen_format, show_finding

app = typer.Typer(help="What saved runs and studies mean.", no_args_is_help=True, rich_markup_mode=None)

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


@app.command("overlap", epilog=OVERLAP_EXAMPLES)
def overlap(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run of adasparse; the newest one without it.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="A domain to show by itself, by its key; two or three of them.")
    ] = None,
    split: Annotated[Split, typer.Option("--split", help="Whose rows are run through the model.")] = Split.test,
    min_rows: Annotated[int, typer.Option("--min-rows", min=1, help="Rows that a domain must have there.")] = 50,
    permutations: Annotated[int, typer.Option("--permutations", min=99, help="Shuffles of Mantel's test.")] = 999,
    runs: RunsFolder = Path("runs"),
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Which neurons domains share: similar domains against unlike ones, by layer, with a permutation test."""
    from adasparse_cli.errors import UsageError
    from adasparse_cli.jobs.overlap import OverlapJob, run_overlap
    from adasparse_cli.jobs.run_folder import newest_run_of
    from adasparse_cli.jobs.score import open_run

    named = tuple(domain or ())
    if named and len(named) not in (2, 3):
        raise UsageError(f"--domain is given {len(named)} times", hint="name two or three domains")
    folder = newest_run_of("adasparse", run, runs)
    job = OverlapJob(
        run=open_run(folder, data_root=data), split=split, minimum_rows=min_rows, named=named, permutations=permutations
    )
    with ProgressDisplay() as progress:
        finding, kept = run_overlap(job, progress)
    show_finding(finding, chosen_format(as_json, as_csv), kept)


@app.command("exposure", epilog=EXPOSURE_EXAMPLES)
def exposure(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STUDY | RUN...]", help="A study, or runs; the newest study without it."),
    ] = None,
    bins: Annotated[int, typer.Option("--bins", min=2, help="Bins of domains, by training rows.")] = 5,
    log: Annotated[
        bool, typer.Option("--log", help="Edges at equal ratios of rows; equal numbers of domains without it.")
    ] = False,
    baseline: Baseline = None,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Whether domains with few training rows gain as much as those with many, bin by bin, with intervals."""
    from adasparse_cli.jobs.exposure import run_exposure
    from adasparse_cli.jobs.source import find_source

    source = find_source(what or [], runs=runs, studies=studies, baseline=baseline)
    finding, kept = run_exposure(source, bins=bins, logarithmic=log)
    show_finding(finding, chosen_format(as_json, as_csv), kept)
