"""`adasparse hpo`: search settings with Optuna."""

from __future__ import annotations

from typing import Annotated

import typer

from adasparse_cli.choices import Metric
from adasparse_cli.terminal.arguments import AsCsv, AsJson, ConfigFile, Overrides, Verify, Workers
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import chosen_format, show_finding

EXAMPLES = """
Examples:

  adasparse hpo 'loop.learning_rate=interval(0.0005,0.005)' model=star

  adasparse hpo model.rank=8,16,32 model=apg --trials 10 --seeds 2
"""


def hpo(
    overrides: Overrides = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Total number of trials.")] = 20,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds per trial. Their mean is used.")] = 1,
    metric: Annotated[
        Metric, typer.Option("--metric", help="Metric of the valid split to optimise.")
    ] = Metric.gauc_domain,
    workers: Workers = 1,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Search settings with Optuna, by a metric of the valid split. The same command resumes an interrupted search."""
    from adasparse_cli.search.hpo import plan_search, run_search

    form = chosen_format(as_json, as_csv)
    job = plan_search(overrides or [], trials=trials, seeds=seeds, metric=metric, config_file=config)
    with ProgressDisplay() as progress:
        finding, kept = run_search(job, progress, workers=workers, verify=verify)
    show_finding(finding, form, kept)
