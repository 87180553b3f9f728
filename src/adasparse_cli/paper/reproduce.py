"""Test the claims of the paper: train the studies that they need, and report a verdict for each.

A profile sets the data and the number of seeds. Studies share their runs, so no run is trained twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adasparse_cli.analysis.verdict import Verdict
from adasparse_cli.catalogue.verify import verify_planned
from adasparse_cli.errors import DataError, UsageError
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
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.studies.domain_definitions import plan_definitions, run_definitions
from adasparse_cli.studies.plan import Experiment, StudyJob, plan_experiment, plan_of, plan_study
from adasparse_cli.studies.study import StudyReport, run_study
from adasparse_cli.studies.subject import subject_of_study, verify_subject

FUSION = ("model=adasparse", "model.mode=fusion")
OPPONENTS = {
    "maml": ("model=dnn", "loop=maml"),
    "star": ("model=star",),
    "apg": ("model=apg",),
    "dcnv2": ("model=dcnv2",),
}
MODES = {
    "dnn": ("model=dnn",),
    "scaling": ("model=adasparse", "model.mode=scaling"),
    "binarization": ("model=adasparse", "model.mode=binarization"),
    "fusion": FUSION,
    "placebo": (*FUSION, "loop.placebo=true"),
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The size of the studies.

    Args:
        data: default settings of the data.
        seeds: default number of seeds per arm.
        minimum_rows: minimum number of test rows of a domain in the analysis of shared neurons.
        note: a note for readers of the results.
    """

    data: tuple[str, ...]
    seeds: int
    minimum_rows: int
    note: str


PROFILES = {
    "quick": Profile(
        data=("data=twin",),
        seeds=3,
        minimum_rows=50,
        note="Profile quick: 200,000 rows of the twin with about 2,700 positives for training, too few for much of the planted "
        "structure. `adasparse reproduce --profile full` uses 3 million rows.",
    ),
    "full": Profile(
        data=("data=twin-3m",), seeds=5, minimum_rows=200, note="Profile full: 3 million rows of the twin, five seeds."
    ),
}


@dataclass(frozen=True, kw_only=True)
class ReproduceJob:
    """The plan of all studies.

    Args:
        control: the study at heterogeneity 0; None if the data are not a synthetic twin.
    """

    profile: Profile
    name: str
    main: StudyJob
    sparsity: StudyJob
    control: StudyJob | None
    words: tuple[str, ...]
    folder: Path

    @property
    def note(self) -> str:
        """The note of the profile, or the settings that replace its defaults."""
        seeds = len(self.main.seeds)
        if self.words == self.profile.data and seeds == self.profile.seeds:
            return self.profile.note
        return f"Profile {self.name}, with {' '.join(self.words)} and {seeds} seed{'s' * (seeds != 1)}."


@dataclass(frozen=True, kw_only=True)
class ReproduceReport:
    """The claims, their findings and the page."""

    claims: Sequence[Claim]
    findings: Sequence[Finding]
    folder: Path
    page: Path


def plan_reproduce(profile: str, words: Sequence[str], *, seeds: int | None = None) -> ReproduceJob:
    """Plan the studies.

    Raises:
        UsageError: the profile is unknown, or a setting is invalid.
    """
    if profile not in PROFILES:
        raise UsageError(f"unknown profile {profile!r}", hint=f"valid profiles: {', '.join(PROFILES)}")
    chosen = PROFILES[profile]
    named = any(word.startswith(("data=", "data.name=")) for word in words)
    asked = tuple(words) if named else (*chosen.data, *words)
    number = seeds or chosen.seeds

    def study(kind: str, arms: Mapping[str, tuple[str, ...]], own: Sequence[str]) -> StudyJob:
        experiment = Experiment(title=kind, question="", baseline="dnn", seeds=number, arms=arms)
        return plan_study(kind, experiment, [*asked, *own], seeds=number)

    main = study("reproduce", {**MODES, **OPPONENTS}, ())
    settings = main.arms[0].jobs[0].data.settings
    control = None
    if settings.recipe == "twin" and getattr(settings, "heterogeneity", 0.0) > 0:
        own = (f"data.name={settings.name}-control", "data.heterogeneity=0")
        control = study("reproduce-control", {arm: MODES[arm] for arm in ("dnn", "fusion", "placebo")}, own)
    return ReproduceJob(
        profile=chosen,
        name=profile,
        main=main,
        sparsity=plan_experiment("sparsity", asked, seeds=number),
        control=control,
        words=asked,
        folder=main.folder,
    )


def planned_studies(job: ReproduceJob) -> list[tuple[str, int, float | None]]:
    """For each study: its title, the number of runs left, and their expected seconds (None without an estimate)."""
    rows = []
    for study in (job.main, job.sparsity, *([job.control] if job.control else [])):
        left = [run for run in plan_of(study) if run.state != "done"]
        seconds = [run.seconds for run in left if run.seconds is not None]
        rows.append((study.title, len(left), sum(seconds) if len(seconds) == len(left) else None))
    return rows


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
