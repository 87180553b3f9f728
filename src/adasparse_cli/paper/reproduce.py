"""Test the claims of the paper: train the studies that they need, and report a verdict for each.

A profile sets the data and the number of seeds. Studies share their runs, so no run is trained twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adasparse_cli.analysis.verdict import Verdict
from adasparse_cli.catalogue.verify import verify_planned
from adasparse_cli.errors import DataError
from adasparse_cli.findings.finding import Finding, Support, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.insights.differences import INTERVAL, test_support
from adasparse_cli.insights.report import write_findings
from adasparse_cli.insights.sparsity import sparsity_finding
from adasparse_cli.paper.claims import (
    Claim,
    domain,
    little_exposure,
    moderate_sparsity,
    modes,
    negative_control,
    number_of_domains,
    online,
    opponents,
    shared_neurons,
)
from adasparse_cli.paper.studies import FUSION, OPPONENTS, ReproduceJob
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.studies.domain_definitions import plan_definitions, run_definitions
from adasparse_cli.studies.plan import StudyJob
from adasparse_cli.studies.study import StudyReport, run_study
from adasparse_cli.studies.subject import subject_of_study, verify_subject


@dataclass(frozen=True, kw_only=True)
class ReproduceReport:
    """The claims, their findings and the page."""

    claims: Sequence[Claim]
    findings: Sequence[Finding]
    folder: Path
    page: Path


def run_reproduce(
    job: ReproduceJob, progress: Progress | None = None, *, workers: int = 1, verify: bool = False
) -> ReproduceReport:
    """Train the missing runs, test every claim, and write the page.

    Args:
        verify: whether to verify the checksums of the data before, and of the runs after.
    """
    progress = progress or Silent()

    def done(study: StudyJob) -> StudyReport:
        if verify:
            verify_planned([run for arm in study.arms for run in arm.jobs])
        report = run_study(study, progress, workers=workers)
        if verify:
            verify_subject(subject_of_study(report))
        return report

    main = done(job.main)
    require_runs(main)
    sparse = done(job.sparsity)
    control = None if job.control is None else done(job.control)
    definitions = plan_definitions([*job.words, *FUSION], fields=(), seeds=len(job.main.seeds), progress=progress)
    definitions_finding, _ = run_definitions(definitions, progress, workers=workers)
    progress.start("testing claims", None, "claims")
    claims = [
        modes(main.comparison),
        opponents(main.comparison, list(OPPONENTS)),
        domain(main.comparison),
        negative_control(control),
        number_of_domains(definitions),
        shared_neurons(main, control, minimum_rows=job.profile.minimum_rows),
        little_exposure(main.comparison),
        moderate_sparsity(sparse),
        online(main),
    ]
    support = test_support(main.comparison, {"GAUC difference": INTERVAL})
    of_claims = [_of_claim(claim, support) for claim in claims]
    findings = [_overview(job, claims), *of_claims, sparsity_finding(sparse), definitions_finding]
    for finding in findings[: len(claims) + 1]:
        write_finding(finding, job.folder)
    data = main.comparison.data
    page = write_findings(
        findings,
        title=f"Claims of the paper on {data['name']}",
        lead=job.note,
        facts={
            "data": data["name"],
            "fingerprint": data["fingerprint"][:12],
            "seeds": ", ".join(map(str, job.main.seeds)),
        },
        path=job.folder / "reproduce.html",
    )
    return ReproduceReport(claims=claims, findings=findings, folder=job.folder, page=page)


def _of_claim(claim: Claim, support: Support) -> Finding:
    verdict = "not tested on these data" if claim.verdict is None else claim.verdict.value
    return Finding(
        name=f"claim-{claim.name}",
        title=f"{claim.name.replace('-', ' ').capitalize()}: {verdict}",
        question=claim.statement,
        answers=claim.remarks,
        tables=[Table(name="evidence", title="Evidence", rows=claim.rows, support=support)],
    )


def _overview(job: ReproduceJob, claims: Sequence[Claim]) -> Finding:
    rows = [
        {
            "claim": claim.name.replace("-", " "),
            "verdict": "not tested" if claim.verdict is None else claim.verdict.value,
            "statement": claim.statement,
        }
        for claim in claims
    ]
    counted = {verdict: sum(claim.verdict is verdict for claim in claims) for verdict in Verdict}
    answer = ", ".join(f"{number} {verdict.value}" for verdict, number in counted.items() if number)
    return Finding(
        name="claims",
        title="Claims and verdicts",
        question="Which claims of the paper do these data support?",
        answers=(f"Of {len(claims)} claims: {answer}.", job.note),
        tables=[Table(name="claims", title="Verdicts", rows=rows)],
        notes=(
            "Supported: the difference is significant after Holm's correction. Not supported: the interval excludes any difference that "
            "matters (0.001 in GAUC), or the difference is significant in the other direction. Undecided: the study is too small.",
            "A claim with several parts is supported if all parts are supported, and not supported if one part is not supported.",
        ),
    )


def require_runs(report: StudyReport) -> None:
    """Refuse to test claims without the arms that every claim needs.

    Raises:
        DataError: dnn or fusion lacks a run.
    """
    missing = [arm.name for arm in report.comparison.arms if arm.name in ("dnn", "fusion") and not arm.whole]
    if missing:
        raise DataError(
            f"{missing[0]} has no result: {'; '.join(report.failed.values())}",
            hint="fix the failure, then rerun the same command",
        )
