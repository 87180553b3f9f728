"""`adasparse tune`: search the settings of every model with the same budget."""

from __future__ import annotations

from typing import Annotated

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.choices import Metric
from adasparse_cli.errors import UsageError
from adasparse_cli.terminal.arguments import AsCsv, AsJson, ConfigFile, Overrides, Verify, Workers
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import chosen_format, show_finding

EXAMPLES = """
Examples:

  adasparse tune                                 (all models on the twin)

  adasparse tune --models dnn,adasparse,star data.name=clicks --workers 2

  adasparse tune --trials 24 --seeds 2 data=iaac
"""


def tune(
    overrides: Overrides = None,
    models: Annotated[
        str | None,
        typer.Option(
            "--models", help="Models a,b,c. Default: all except lightgbm.", autocompletion=completion.several_models
        ),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Maximum number of trials per model.")] = 20,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds per trial. Their mean is used.")] = 1,
    metric: Annotated[
        Metric, typer.Option("--metric", help="Metric of the valid split to optimise.")
    ] = Metric.gauc_domain,
    least_gain: Annotated[
        float, typer.Option("--least-gain", min=0.0, help="Minimum gain of the metric for which a setting is changed.")
    ] = 0.001,
    workers: Workers = 1,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Search the settings of every model with the same budget, one setting at a time, and write a study that compares them.

    conf/search lists the settings and values that are tried. The same command resumes an interrupted search.
    """
    from adasparse_cli.search.tune import plan_tune, run_tune

    form = chosen_format(as_json, as_csv)
    named = [name.strip() for name in (models or "").split(",") if name.strip()]
    if models is not None and not named:
        raise UsageError(
            "--models names no model",
            hint="adasparse models ls lists them; without --models, all except lightgbm are searched",
        )
    job = plan_tune(
        named,
        overrides or [],
        trials=trials,
        seeds=seeds,
        metric=metric,
        least_gain=least_gain,
        config_file=config,
    )
    with ProgressDisplay() as progress:
        finding, kept = run_tune(job, progress, workers=workers, verify=verify)
    show_finding(finding, form, kept)
