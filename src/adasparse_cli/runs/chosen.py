"""Find the run that the user names, with the remarks that belong to its results.

`latest` and the defaults of commands choose a finished run of `adasparse train`. Control arms (`loop.placebo=true`), runs
of studies and unfinished runs are used only if they are named.
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
from adasparse_cli.runs.saved_run import CONFIG, DONE, FAILED, failure_of, read_config, read_environment, run_folders

LATEST = "latest"
STUDY = "study.json"
# The version of study.json before checksums.
UNSEALED_STUDY_VERSION = 2
# Commands that train runs for a study. `latest` may choose a run as soon as `train` has worked on it.
STUDY_COMMANDS = ("ablate", "analyze", "compare", "hpo", "reproduce", "sweep", "tune")


@dataclass(frozen=True, kw_only=True)
class ChosenRun:
    """A run with remarks for readers of its results.

    Args:
        settings: the settings that differ from the packaged ones; None if config.yaml cannot be read.
        remarks: whether it is a control arm or unfinished, and which newer runs were skipped.
    """

    folder: Path
    settings: tuple[str, ...] | None
    remarks: tuple[str, ...]

    @property
    def line(self) -> str:
        """Folder, settings and remarks on one line."""
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
    name: str | None, root: Path, studies: Path, *, model: str | None = None, unfinished: bool = False
) -> ChosenRun:
    """The run whose results are used.

    Args:
        name: a folder, a part of a path below `root`, `latest` or `STUDY/ARM`; None means `latest`.
        model: restricts `latest` to runs of this model.
        unfinished: whether an unfinished run may be used.

    Raises:
        UsageError: there is no such run, there are several, or it is not finished.
    """
    remarks: list[str] = []
    if name is None or name == LATEST:
        folder, skipped = _latest(root, studies, model)
        remarks += [f"skipped newer runs: {skipped}"] if skipped else []
    else:
        folder = find_run(name, root, studies)
    state = state_of(folder)
    if state != "done":
        _require_allowed(folder, state, unfinished)
        remarks.append(f"this run is {state}: the best checkpoint so far is used")
    if is_control(folder):
        remarks.append("this is a control arm: its model receives the domain of another row (loop.placebo=true)")
    return ChosenRun(folder=folder, settings=settings_of(folder), remarks=tuple(remarks))


def find_run(name: str, root: Path, studies: Path) -> Path:
    """A run in any state, by its folder, `latest`, `STUDY/ARM`, or an unambiguous part of its path.

    Raises:
        UsageError: no run matches, or several.
    """
    folder = Path(name)
    if (folder / CONFIG).exists():
        return folder
    if name == LATEST:
        return _latest(root, studies, None)[0]
    of_study = _of_study(name, studies)
    if of_study is not None:
        return of_study
    runs = all_runs(root)
    if not runs:
        raise UsageError(f"no runs in {root}", hint="adasparse train creates one")
    # a complete path component counts first: `dnn` means the model dnn, not every name that contains it
    matches = [run for run in runs if f"/{name}/" in f"/{run.relative_to(root)}/"] or [
        run for run in runs if name in str(run.relative_to(root))
    ]
    if len(matches) == 1:
        return matches[0]
    several = f"{len(matches)} runs match {name!r}, such as {matches[0].relative_to(root)}" if matches else None
    raise UsageError(
        several or f"no run matches {name!r}",
        hint="adasparse runs ls lists the runs; `latest` is the newest finished run, STUDY/ARM a run of a study",
    )


def all_runs(root: Path) -> list[Path]:
    """All run folders below `root`, oldest first."""
    return sorted(run_folders(root), key=lambda folder: folder.name)


def state_of(folder: Path) -> str:
    """`done`, `failed` or `unfinished`."""
    return "done" if (folder / DONE).exists() else "failed" if (folder / FAILED).exists() else "unfinished"


def is_control(folder: Path) -> bool:
    """Whether the run is a control arm: its model receives the domain of another row."""
    try:
        loop = read_config(folder).get("loop")
    except IntegrityError:
        return False
    return isinstance(loop, dict) and bool(loop.get("placebo"))


def settings_of(folder: Path) -> tuple[str, ...] | None:
    """The settings of a run that differ from the packaged ones; None if they cannot be read."""
    try:
        return tuple(settings_words(read_config(folder)))
    except (IntegrityError, UsageError):
        return None


def study_arms(studies: Path) -> Iterator[StudyArm]:
    """The arms of all studies with their existing runs. A damaged study.json is skipped."""
    for path in sorted(studies.glob(f"[!.]*/{STUDY}")):
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
    """The study arms that use a run, as STUDY/ARM."""
    run = folder.resolve()
    return [f"{arm.study}/{arm.arm}" for arm in study_arms(studies) if run in arm.runs.values()]


def trained_by(folder: Path) -> list[str]:
    """The commands that have worked on a run, in order; empty if none is recorded."""
    try:
        sittings = read_environment(folder)["sittings"]
        return [[*shlex.split(sitting["command"]), "", ""][1] for sitting in sittings]
    except (IntegrityError, KeyError, TypeError, ValueError):
        return []


def _latest(root: Path, studies: Path, model: str | None) -> tuple[Path, str]:
    """The newest run that `latest` may choose, and a summary of the newer runs that it skips."""
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
        message = f"no finished run{of_model} in {root}" if model else f"no runs in {root}"
        raise UsageError(message, hint=f"adasparse train{f' --model {model}' if model else ''} creates one")
    arms = (
        f"{arm.study}/{arm.arm}"
        for arm in study_arms(studies)
        if any(run.resolve() in arm.runs.values() and not is_control(run) for run in runs)
    )
    arm = next(arms, "STUDY/ARM")
    raise UsageError(
        f"`latest` finds no run{of_model} in {root}; skipped: {_counted(skipped)}",
        hint=f"name a run: adasparse runs ls lists the runs, {shlex.quote(arm)} is an arm of a study",
    )


def _why_skipped(run: Path, named: set[Path]) -> str | None:
    if state_of(run) != "done":
        return state_of(run)
    if is_control(run):
        return "control arm"
    commands = trained_by(run)
    if "train" in commands:
        return None
    return "of a study" if any(name in STUDY_COMMANDS for name in commands) or run.resolve() in named else None


def _counted(skipped: Counter[str]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in skipped.items())


def _is_of(run: Path, model: str) -> bool:
    return run.parent.name == model or run.parent.name.startswith(f"{model}-")


def _of_study(name: str, studies: Path) -> Path | None:
    """The run of STUDY/ARM with the lowest world and seed; None if there is no study of that name.

    Raises:
        UsageError: the study has no such arm, or the arm has no run.
    """
    study, _, arm_name = name.partition("/")
    arms = {arm.arm: arm for arm in study_arms(studies) if arm.study == study}
    if not arms:
        return None
    if arm_name not in arms or not arms[arm_name].runs:
        no_run = f"the study {study} has no arm {arm_name!r} with a run"
        message = no_run if arm_name else f"{study} is a study, not a run"
        raise UsageError(message, hint=f"name an arm: {_listed([f'{study}/{arm}' for arm in arms])}")
    runs = arms[arm_name].runs
    return runs[min(runs)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shlex.quote, names[:8])) + (" …" if len(names) > 8 else "")


def _require_allowed(folder: Path, state: str, unfinished: bool) -> None:
    if unfinished:
        return
    failure = failure_of(folder)
    why = f": {' '.join(failure.message.split())}" if failure is not None and failure.message else ""
    raise UsageError(
        f"the run {folder} is {state}{why}",
        hint="adasparse train --resume with the same settings finishes it; --unfinished uses its best checkpoint so far",
    )
