"""`adasparse evaluate`: recompute the metrics of a saved run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.choices import Split
from adasparse_cli.commands.train import show_metrics
from adasparse_cli.terminal.arguments import (
    AsCsv,
    AsJson,
    DataFolder,
    Run,
    RunsFolder,
    StudiesFolder,
    Unfinished,
    Verify,
)
from adasparse_cli.terminal.render import MACHINE, chosen_format, note, say, show_machine

EXAMPLES = """
Examples:

  adasparse evaluate latest

  adasparse evaluate runs/twin/dnn/20260101T120000Z-s0 --split test --json
"""


def evaluate(
    run: Run,
    split: Annotated[
        list[Split] | None, typer.Option("--split", help="Split to score. Can be repeated. Default: valid and test.")
    ] = None,
    unfinished: Unfinished = False,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Recompute the metrics of a run from its best checkpoint."""
    from adasparse_cli.catalogue.verify import verify_data, verify_run
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.scoring.score import open_run, run_evaluate

    form = chosen_format(as_json, as_csv)
    chosen = choose_run(run, runs, studies, unfinished=unfinished)
    note(chosen.line)
    saved = open_run(chosen.folder, data_root=data)
    if verify:
        verify_run(saved.folder)
        verify_data(saved.data_folder)
    report = run_evaluate(saved, splits=split or (Split.valid, Split.test))
    if form in MACHINE:
        both = {"metrics": report.metrics, "best_possible": report.best_possible}
        rows = [
            {"split": split, "of": of, **metrics}
            for of, by_split in zip(("model", "truth"), both.values(), strict=True)
            for split, metrics in by_split.items()
        ]
        show_machine(rows, form, {**chosen.to_json(), **{key: by_split for key, by_split in both.items() if by_split}})
    else:
        best = {f"{name}, truth": metrics for name, metrics in report.best_possible.items()}
        show_metrics({**report.metrics, **best}, title=f"{saved.job.label} on {saved.manifest.name}: {report.run.name}")
        if best:
            say(
                "truth: metrics of the true probabilities that the labels were drawn from, the best that a model can reach"
            )
