"""`adasparse report`: runs or a study as one page that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.commands.arguments import Overwrite, RunsFolder, StudiesFolder, Verify
from adasparse_cli.render import note, say

EXAMPLES = """
Examples:

  adasparse report                      (the newest study)

  adasparse report ablation-twin        (a study, by part of its name)

  adasparse report RUN_A RUN_B --baseline dnn -o page.html
"""


def report(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY | RUN...]",
            help="A study, or runs to compare. Default: the newest study.",
            autocompletion=completion.studies_or_runs,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output file. Default: report.html in the folder of the study or run."),
    ] = None,
    overwrite: Overwrite = False,
    baseline: Annotated[str | None, typer.Option("--baseline", help="Baseline arm, if runs are given.")] = None,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    verify: Verify = False,
) -> None:
    """Write one self-contained HTML page: tables, intervals, plots, every domain, and how to reproduce it."""
    from adasparse_cli.insights.report import PAGE, write_kept, write_report
    from adasparse_cli.runs.output import require_output
    from adasparse_cli.studies.subject import find_kept, find_subject, verify_subject

    if output is not None:
        require_output(output, overwrite=overwrite, own=PAGE)
    kept = find_kept(what or [], studies)
    if kept is not None:
        path = write_kept(kept, output)
    else:
        source = find_subject(what or [], runs=runs, studies=studies, baseline=baseline)
        note(source.line)
        if verify:
            verify_subject(source)
        path = write_report(source, output)
    say(f"report: {path}")
