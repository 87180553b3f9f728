"""The studies that the paper's claims need, planned: profiles say on which data and with how many seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adasparse_cli.errors import UsageError
from adasparse_cli.studies.plan import Experiment, StudyJob, plan_experiment, plan_of, plan_study

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
    """How large the studies are.

    Args:
        data: words that choose the data, unless a person names others. seeds: of every arm.
        minimum_rows: test rows that a domain must have to be compared with others by its neurons.
        note: what a reader must know of the profile.
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
        note="Profile quick: 200,000 rows of the twin with some 2,700 positives to learn from, too few for much of the planted "
        "structure. A verdict here is of so small a log; `adasparse reproduce --profile full` asks again of 3 million rows.",
    ),
    "full": Profile(
        data=("data=twin-3m",), seeds=5, minimum_rows=200, note="Profile full: 3 million rows, five seeds."
    ),
}


@dataclass(frozen=True, kw_only=True)
class ReproduceJob:
    """All studies, planned.

    Args:
        control: at heterogeneity 0; None where the data are not a synthetic twin.
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
        """What a reader must know: of the profile as it is, or of what was asked for in its place."""
        seeds = len(self.main.seeds)
        if self.words == self.profile.data and seeds == self.profile.seeds:
            return self.profile.note
        return f"Profile {self.name}, with {' '.join(self.words)} and {seeds} seed{'s' * (seeds != 1)}."


def plan_reproduce(profile: str, words: Sequence[str], *, seeds: int | None = None) -> ReproduceJob:
    """Plan the studies.

    Raises:
        UsageError: there is no such profile, or a word cannot be used.
    """
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}", hint=f"valid profiles: {', '.join(PROFILES)}")
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
    """Each study: its name, runs that are to be done, and seconds they will take (None without an estimate)."""
    rows = []
    for study in (job.main, job.sparsity, *([job.control] if job.control else [])):
        left = [run for run in plan_of(study) if run.state != "done"]
        seconds = [run.seconds for run in left if run.seconds is not None]
        rows.append((study.title, len(left), sum(seconds) if len(seconds) == len(left) else None))
    return rows
