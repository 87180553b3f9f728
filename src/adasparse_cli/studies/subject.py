"""What a page or an analysis is made from: a study, or runs that a person names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adasparse_cli.catalogue.verify import verify_run
from adasparse_cli.errors import UsageError
from adasparse_cli.findings.kept import FINDINGS, kept_findings, verify_finding
from adasparse_cli.runs.chosen import STUDY, find_run
from adasparse_cli.runs.saved_run import CONFIG, DONE
from adasparse_cli.studies.arms import arms_of_runs
from adasparse_cli.studies.comparison import Comparison, compare_arms
from adasparse_cli.studies.study import StudyReport, find_study, open_study


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a page is made from: a comparison, its title and question, and where the page and other findings lie."""

    title: str
    question: str
    comparison: Comparison
    folder: Path
    failed: Mapping[str, str]

    @property
    def line(self) -> str:
        """What was chosen, in one line: a study with its arms, or runs."""
        arms = "; ".join(f"{arm.name}: {', '.join(map(str, arm.folders.values()))}" for arm in self.comparison.arms)
        return f"study: {self.folder}" if (self.folder / STUDY).exists() else f"runs: {arms}"


def find_kept(words: Sequence[str], studies: Path) -> Path | None:
    """A folder of findings alone, such as a ladder's or a search's, if that is what a person names."""
    if len(words) != 1:
        return None
    folders = [Path(words[0]), *(path for path in sorted(studies.glob("*")) if words[0] in path.name)]
    kept = [
        path
        for path in folders
        if (path / FINDINGS).is_dir() and not (path / STUDY).exists() and not (path / CONFIG).exists()
    ]
    return kept[0] if len(kept) == 1 else None


def find_subject(words: Sequence[str], *, runs: Path, studies: Path, baseline: str | None) -> Subject:
    """What a person names: a study, or runs; the newest study where nothing is named.

    Raises:
        UsageError: nothing, or too much, is of that name.
    """
    if len(words) <= 1:
        name = words[0] if words else "latest"
        try:
            study = find_study(name, studies)
        except UsageError as error:
            if not words and not studies.exists():
                raise UsageError(
                    "there is no study to report on", hint="adasparse ablate makes one; or name runs"
                ) from None
            # words that match several studies are of no run
            if not words or any(name in path.name for path in studies.glob("*")):
                raise error from None
        else:
            return subject_of_study(open_study(study, baseline=baseline))
    return subject_of_runs([find_run(name, runs, studies) for name in words], baseline=baseline)


def subject_of_study(study: StudyReport) -> Subject:
    """A study as the source of a page."""
    return Subject(
        title=study.title,
        question=study.question,
        comparison=study.comparison,
        folder=study.folder,
        failed=study.failed,
    )


def subject_of_runs(folders: Sequence[Path], *, baseline: str | None, cluster: str = "domain") -> Subject:
    """Runs as the source of a page; those that differ in their seed alone make one arm.

    Raises:
        UsageError: a run is not finished, or the baseline is none of the arms.
        DataError: the runs are of different data, or their seeds differ.
    """
    for folder in folders:
        if not (folder / DONE).exists():
            raise UsageError(f"{folder} is not finished", hint="adasparse train --resume goes on with it")
    arms = arms_of_runs(folders)
    names = [arm.name for arm in arms]
    base = baseline or ("dnn" if "dnn" in names else names[0])
    comparison = compare_arms(arms, baseline=base, cluster=cluster)
    title = names[0] if len(names) == 1 else f"{' against '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    question = "How well does it do, and where?" if len(names) == 1 else f"What is better than {base}?"
    return Subject(
        title=f"{title} on {comparison.data['name']}",
        question=question,
        comparison=comparison,
        folder=folders[-1],
        failed={},
    )


def verify_subject(subject: Subject) -> int:
    """Check what a page is made from: its runs, and the findings of a study. The study itself was checked as it was opened.

    Returns:
        The number of files that have a checksum.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    runs = list(dict.fromkeys(run for arm in subject.comparison.arms for run in arm.folders.values()))
    own = [] if subject.folder in runs else kept_findings(subject.folder)
    return sum(map(verify_run, runs)) + sum(map(verify_finding, own))
