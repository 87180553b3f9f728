"""The subject of a page or an analysis: a study, or runs that the user names."""

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
    """The subject of a page: a comparison with its title and question, and the folder of the page and of findings."""

    title: str
    question: str
    comparison: Comparison
    folder: Path
    failed: Mapping[str, str]

    @property
    def line(self) -> str:
        """The chosen study or runs on one line."""
        arms = "; ".join(f"{arm.name}: {', '.join(map(str, arm.folders.values()))}" for arm in self.comparison.arms)
        return f"study: {self.folder}" if (self.folder / STUDY).exists() else f"runs: {arms}"


def find_kept(names: Sequence[str], studies: Path) -> Path | None:
    """A folder with findings but no study, such as the folder of a search, if the user names one."""
    if len(names) != 1:
        return None
    folders = [Path(names[0]), *(path for path in sorted(studies.glob("[!.]*")) if names[0] in path.name)]
    kept = [
        path
        for path in folders
        if (path / FINDINGS).is_dir() and not (path / STUDY).exists() and not (path / CONFIG).exists()
    ]
    return kept[0] if len(kept) == 1 else None


def find_subject(names: Sequence[str], *, runs: Path, studies: Path, baseline: str | None) -> Subject:
    """The study or the runs that the user names; the newest study without names.

    Raises:
        UsageError: nothing matches, or several things.
    """
    if len(names) <= 1:
        name = names[0] if names else "latest"
        try:
            study = find_study(name, studies)
        except UsageError as error:
            if not names and not studies.exists():
                raise UsageError(
                    f"no studies in {studies}", hint="name runs, or create a study: adasparse ablate"
                ) from None
            # a name that matches several studies does not mean a run
            if not names or any(name in path.name for path in studies.glob("[!.]*")):
                raise error from None
        else:
            return subject_of_study(open_study(study, baseline=baseline))
    return subject_of_runs([find_run(name, runs, studies) for name in names], baseline=baseline)


def subject_of_study(study: StudyReport) -> Subject:
    """A study as the subject of a page."""
    return Subject(
        title=study.title,
        question=study.question,
        comparison=study.comparison,
        folder=study.folder,
        failed=study.failed,
    )


def subject_of_runs(folders: Sequence[Path], *, baseline: str | None, cluster: str = "domain") -> Subject:
    """Runs as the subject of a page. Runs that differ only in their seed are one arm.

    Raises:
        UsageError: a run is not finished, or the baseline is not an arm.
        DataError: the runs are of different data, or their seeds differ.
    """
    for folder in folders:
        if not (folder / DONE).exists():
            raise UsageError(f"{folder} is not finished", hint="adasparse train --resume finishes it")
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
    """Verify the checksums of the runs and findings of a subject. A study itself is checked when it is opened.

    Returns:
        The number of files with a checksum.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    runs = list(dict.fromkeys(run for arm in subject.comparison.arms for run in arm.folders.values()))
    findings = [] if subject.folder in runs else kept_findings(subject.folder)
    return sum(map(verify_run, runs)) + sum(map(verify_finding, findings))
