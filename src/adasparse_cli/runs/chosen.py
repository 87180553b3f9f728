"""Which run a person means, and what must be known of it before its results are used.

`latest` and the defaults of commands mean a finished run that a person trained: control arms (`loop.placebo=true`), runs
that a study trained and unfinished runs are used only when they are named.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.config.settings_words import settings_words
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import read_sealed
from adasparse_cli.runs.saved_run import CONFIG, DONE, FAILED, failure_of, read_config, read_environment

LATEST = "latest"
STUDY = "study.json"
# The version of studies whose files have no checksums.
UNSEALED_STUDY_VERSION = 2
# The commands whose runs belong to a study. A run that `train` has worked on belongs to the person.
STUDY_COMMANDS = ("ablate", "analyze", "compare", "hpo", "reproduce", "sweep", "tune")


@dataclass(frozen=True, kw_only=True)
class ChosenRun:
    """A run, and what a reader of its results must know.

    Args:
        settings: the overrides that differ from the packaged settings; None where config.yaml cannot be read.
        remarks: that it is a control arm, or not finished; which newer runs were skipped.
    """

    folder: Path
    settings: tuple[str, ...] | None
    remarks: tuple[str, ...]

    @property
    def line(self) -> str:
        """The run in one line."""
        settings = "unknown settings" if self.settings is None else shlex.join(self.settings) or "packaged settings"
        return "; ".join([f"run: {self.folder} ({settings})", *self.remarks])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        settings = None if self.settings is None else list(self.settings)
        return {"run": str(self.folder), "settings": settings, "remarks": list(self.remarks)}


@dataclass(frozen=True, kw_only=True)
class StudyArm:
    """An arm of a study with its runs by seed, or by world and seed."""

    study: str
    arm: str
    runs: dict[tuple[int, ...], Path]


def choose_run(
    words: str | None, root: Path, studies: Path, *, model: str | None = None, unfinished: bool = False
) -> ChosenRun:
    """The run whose results are used.

    Args:
        words: a folder, a part of a path below `root`, `latest` or `STUDY/ARM`; None means `latest`.
        model: for `latest`, the model that the run must be of.
        unfinished: whether a run without a result may be used.

    Raises:
        UsageError: there is no such run, there are several, or it is not finished.
    """
    remarks: list[str] = []
    if words is None or words == LATEST:
        folder, skipped = _latest(root, studies, model)
        remarks += [f"skipped newer runs: {skipped}"] if skipped else []
    else:
        folder = find_run(words, root, studies)
    state = state_of(folder)
    if state != "done":
        _require_wanted(folder, state, unfinished)
        remarks.append(f"this run is {state}: the best checkpoint so far is used")
    if is_control(folder):
        remarks.append("this is a control arm: its model receives the domain of another row (loop.placebo=true)")
    return ChosenRun(folder=folder, settings=settings_of(folder), remarks=tuple(remarks))


def find_run(words: str, root: Path, studies: Path) -> Path:
    """A run in any state: by its folder, `latest`, `STUDY/ARM`, or a part of its path that only it has.

    Raises:
        UsageError: no run, or several.
    """
    given = Path(words)
    if (given / CONFIG).exists():
        return given
    if words == LATEST:
        return _latest(root, studies, None)[0]
    of_study = _of_study(words, studies)
    if of_study is not None:
        return of_study
    runs = all_runs(root)
    if not runs:
        raise UsageError(f"there are no runs in {root}", hint="adasparse train makes one")
    # `dnn` is the model of this name before it is a part of other names
    found = [run for run in runs if f"/{words}/" in f"/{run.relative_to(root)}/"] or [
        run for run in runs if words in str(run.relative_to(root))
    ]
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} runs match {words!r}, such as {found[0].relative_to(root)}" if found else None
    raise UsageError(
        several or f"no run matches {words!r}",
        hint="adasparse runs ls lists the runs; `latest` is the newest finished one, STUDY/ARM is one of a study",
    )


def all_runs(root: Path) -> list[Path]:
    """All run folders below `root`, the oldest first."""
    return sorted((path.parent for path in root.glob(f"*/*/*/{CONFIG}")), key=lambda folder: folder.name)


def state_of(folder: Path) -> str:
    """`done`, `failed` or `unfinished`."""
    return "done" if (folder / DONE).exists() else "failed" if (folder / FAILED).exists() else "unfinished"


def is_control(folder: Path) -> bool:
    """Whether the run is a control arm, whose model receives the domain of another row."""
    try:
        loop = read_config(folder).get("loop")
    except IntegrityError:
        return False
    return isinstance(loop, dict) and bool(loop.get("placebo"))


def settings_of(folder: Path) -> tuple[str, ...] | None:
    """The overrides that turn the packaged settings into those of the run; None where they cannot be read."""
    try:
        return tuple(settings_words(read_config(folder)))
    except (IntegrityError, UsageError):
        return None


def study_arms(studies: Path) -> Iterator[StudyArm]:
    """The arms of all studies, with the runs that are there; a damaged study.json is skipped."""
    for path in sorted(studies.glob(f"*/{STUDY}")):
        try:
            for arm in read_sealed(path, "study_version", unsealed=UNSEALED_STUDY_VERSION)["arms"]:
                runs = {
                    tuple(map(int, name.split("/"))): (path.parent / run).resolve()
                    for name, run in arm["runs"].items()
                    if run
                }
                yield StudyArm(study=path.parent.name, arm=str(arm["name"]), runs=runs)
        except (IntegrityError, KeyError, TypeError, ValueError, AttributeError):
            continue


def studies_of(folder: Path, studies: Path) -> list[str]:
    """The studies that use a run, as STUDY/ARM."""
    own = folder.resolve()
    return [f"{arm.study}/{arm.arm}" for arm in study_arms(studies) if own in arm.runs.values()]


def trained_by(folder: Path) -> list[str]:
    """The commands that have worked on a run, in their order; empty where nothing is recorded."""
    try:
        sittings = read_environment(folder)["sittings"]
        return [[*shlex.split(one["command"]), "", ""][1] for one in sittings]
    except (IntegrityError, KeyError, TypeError, ValueError):
        return []


def _latest(root: Path, studies: Path, model: str | None) -> tuple[Path, str]:
    """The newest run that `latest` means, and which newer runs are skipped, in words."""
    named = {run for arm in study_arms(studies) for run in arm.runs.values()}
    skipped: Counter[str] = Counter()
    runs = [run for run in all_runs(root) if model is None or _is_of(run, model)]
    for run in reversed(runs):
        reason = _why_skipped(run, named)
        if reason is None:
            return run, _counted(skipped)
        skipped[reason] += 1
    of_model = f" of {model}" if model else ""
    if not runs:
        what = f"there is no finished run{of_model} in {root}" if model else f"there are no runs in {root}"
        raise UsageError(what, hint=f"adasparse train{f' --model {model}' if model else ''} makes one")
    arms = (
        f"{arm.study}/{arm.arm}"
        for arm in study_arms(studies)
        if any(run.resolve() in arm.runs.values() and not is_control(run) for run in runs)
    )
    arm = next(arms, "STUDY/ARM")
    raise UsageError(
        f"`latest` finds no run{of_model} in {root}: {_counted(skipped)}",
        hint=f"name a run: adasparse runs ls lists them, or {shlex.quote(arm)} for an arm of a study",
    )


def _why_skipped(run: Path, named: set[Path]) -> str | None:
    if state_of(run) != "done":
        return state_of(run)
    if is_control(run):
        return "control arm"
    commands = trained_by(run)
    if "train" in commands:
        return None
    return "of a study" if any(one in STUDY_COMMANDS for one in commands) or run.resolve() in named else None


def _counted(skipped: Counter[str]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in skipped.items())


def _is_of(run: Path, model: str) -> bool:
    return run.parent.name == model or run.parent.name.startswith(f"{model}-")


def _of_study(words: str, studies: Path) -> Path | None:
    """The run of the lowest world and seed of STUDY/ARM; None where no study has that name.

    Raises:
        UsageError: the study has no such arm, or the arm has no run.
    """
    name, _, wanted = words.partition("/")
    arms = {arm.arm: arm for arm in study_arms(studies) if arm.study == name}
    if not arms:
        return None
    if wanted not in arms or not arms[wanted].runs:
        what = f"the study {name} has no arm {wanted!r} with a run" if wanted else f"{name} is a study, not a run"
        raise UsageError(what, hint=f"name an arm: {_listed([f'{name}/{arm}' for arm in arms])}")
    runs = arms[wanted].runs
    return runs[min(runs)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shlex.quote, names[:8])) + (" …" if len(names) > 8 else "")


def _require_wanted(folder: Path, state: str, unfinished: bool) -> None:
    if unfinished:
        return
    failure = failure_of(folder)
    why = f": {' '.join(failure.message.split())}" if failure is not None and failure.message else ""
    raise UsageError(
        f"the run {folder} is {state}{why}",
        hint="adasparse train --resume with its settings finishes it; --unfinished uses its best checkpoint so far",
    )
