"""`adasparse report`: write a page about runs or a study that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.terminal.arguments import AsCsv, AsJson, Baseline, Overwrite, RunsFolder, StudiesFolder, Verify
from adasparse_cli.terminal.render import MACHINE, chosen_format, note, say, show_machine

if TYPE_CHECKING:
    from adasparse_cli.findings.card import Card
    from adasparse_cli.terminal.render import Format

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
            metavar="STUDY | RUN",
            help="A study, or runs to compare. Default: the newest study.",
            autocompletion=completion.studies_or_runs,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Output file. Default: report.html in the folder of the study or run."),
    ] = None,
    overwrite: Overwrite = False,
    baseline: Baseline = None,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Write one self-contained HTML page: tables, intervals, plots, every domain, and how to reproduce it."""
    from adasparse_cli.findings.kept import kept_findings, read_finding
    from adasparse_cli.insights.card import card_of
    from adasparse_cli.insights.report import PAGE, write_kept, write_report
    from adasparse_cli.scoring.output import require_output
    from adasparse_cli.studies.subject import find_kept, find_subject, verify_subject

    form = chosen_format(as_json, as_csv)
    if output is not None:
        require_output(output, overwrite=overwrite, own=PAGE)
    kept = find_kept(what or [], studies)
    if kept is not None:
        path = write_kept(kept, output)
        if form in MACHINE:
            finding = read_finding(kept_findings(kept)[0])
            more = {"report": str(path), "headline": "".join(finding.answers[:1]), "remarks": finding.answers[1:]}
            show_machine(finding.tables[0].rows if finding.tables else [], form, more)
            return
    else:
        source = find_subject(what or [], runs=runs, studies=studies, baseline=baseline)
        note(source.line)
        if verify:
            verify_subject(source)
        path = write_report(source, output)
        if form in MACHINE:
            _show_card(card_of(source), path, form)
            return
    say(f"report: {path}")


def _show_card(card: Card, path: Path, form: Format) -> None:
    """Print the verdict card as JSON or CSV: one row per arm, or per metric of a single run."""
    rows = [
        {
            "arm": one.arm,
            "outcome": one.outcome,
            "difference": one.difference,
            "interval": one.interval,
            "detectable": one.detectable,
            "larger": one.larger,
        }
        for one in card.arms
    ] or [{"measure": one.name, "value": one.value, "note": one.note} for one in card.measures]
    more = {"report": str(path), "headline": card.headline, "remarks": card.remarks, "metric": card.metric}
    show_machine(rows, form, more)
