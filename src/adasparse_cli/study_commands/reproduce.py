"""`adasparse reproduce`: test the paper's claims."""

from __future__ import annotations

from typing import Annotated

import typer

from adasparse_cli.findings.machine import machine_rows
from adasparse_cli.terminal.arguments import AsCsv, AsJson, DryRun, Overrides, Seeds, Verify, Workers
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import MACHINE, chosen_format, say, show, show_machine

EXAMPLES = """
Examples:

  adasparse reproduce --profile quick --workers 2

  adasparse reproduce --profile full --workers 2 --dry-run

  adasparse reproduce data=iaac        (after adasparse prep data=iaac)
"""


def reproduce(
    overrides: Overrides = None,
    profile: Annotated[
        str, typer.Option("--profile", help="quick (minutes; too small for some claims) or full (hours).")
    ] = "quick",
    seeds: Seeds = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
) -> None:
    """Test the paper's claims: train the runs they need, and report supported, not supported or undecided."""
    from adasparse_cli.paper.studies import plan_reproduce, planned_studies

    form = chosen_format(as_json, as_csv)
    job = plan_reproduce(profile, overrides or [], seeds=seeds)
    if dry_run:
        rows = [
            {
                "study": name,
                "runs left": runs,
                "minutes": None if seconds is None else round(seconds / workers / 60, 1),
            }
            for name, runs, seconds in planned_studies(job)
        ]
        caption = (
            "Minutes are estimates. The series of domain definitions is not included: its data must be prepared first."
        )
        show(rows, title=f"{job.name}: plan", caption=caption, form=form)
        return
    from adasparse_cli.paper.reproduce import run_reproduce

    with ProgressDisplay() as progress:
        report = run_reproduce(job, progress, workers=workers, verify=verify)
    if form in MACHINE:
        rows = [{"claim": claim.name, "verdict": claim.verdict} for claim in report.claims]
        evidence = [{"claim": claim.name, "rows": machine_rows(claim.rows)} for claim in report.claims]
        show_machine(rows, form, {"evidence": evidence, "page": str(report.page)})
        return
    for claim, finding in zip(report.claims, report.findings[1:], strict=False):
        verdict = "not tested on these data" if claim.verdict is None else claim.verdict.value
        say(f"{claim.name}: {verdict}")
        say(f"  {claim.statement}")
        if claim.rows:
            show(finding.tables[0].shown_rows, caption=finding.tables[0].shown_caption)
        for remark in claim.remarks:
            say(f"  {remark}")
    overview = report.findings[0]
    show(overview.tables[0].rows, title=overview.title, columns=("claim", "verdict"))
    for answer in overview.answers:
        say(answer)
    say(f"page: {report.page}")
