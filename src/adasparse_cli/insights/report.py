"""Finished runs, or a study of them, as findings and as one page that can be handed to others."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path

from adasparse_cli.errors import IntegrityError, ResourceError, UsageError
from adasparse_cli.files import write_text
from adasparse_cli.findings.finding import Finding
from adasparse_cli.findings.kept import FINDINGS, kept_findings, read_finding
from adasparse_cli.insights.behaviour import (
    calibration_finding,
    context_finding,
    curves_finding,
    domains_finding,
    settings_finding,
    sparsity_finding,
    whole_domain_table,
)
from adasparse_cli.insights.differences import verdict
from adasparse_cli.insights.exposure import exposure_finding
from adasparse_cli.insights.rerun_commands import reproduction
from adasparse_cli.page.write import Page, page_text
from adasparse_cli.studies.subject import Subject

PAGE = "report.html"


def write_report(source: Subject, output: Path | None = None) -> Path:
    """Write the page; beside its source unless `output` says otherwise."""
    comparison = source.comparison
    data = comparison.data
    splits = {name: counts for name, counts in data["splits"].items() if counts["rows"]}
    facts = {
        "data": data["name"],
        "fingerprint": data["fingerprint"][:12],
        "label": str(data.get("label", "n/a")),
        "domain": " × ".join(data["domain"]),
        "domains in training": f"{data['num_domains']:,}",
        **{f"{name} rows": f"{counts['rows']:,}" for name, counts in splits.items()},
        "seeds": ", ".join(map(str, comparison.seeds)),
    }
    lead = source.question if len(comparison.arms) > 1 else "One arm: nothing is compared."
    # an analysis that was asked for by itself takes the place of the page's own
    findings = {finding.name: finding for finding in (*findings_of(source), *stored_findings(source))}
    page = Page(title=source.title, lead=lead, facts=facts, findings=list(findings.values()))
    return _put(page, output or source.folder / PAGE)


def write_findings(findings: Sequence[Finding], *, title: str, lead: str, facts: Mapping[str, str], path: Path) -> Path:
    """A page of findings that are no single comparison's."""
    return _put(Page(title=title, lead=lead, facts=facts, findings=findings), path)


def write_kept(folder: Path, output: Path | None = None) -> Path:
    """A page of what is kept below a folder that is neither a run nor a study: a ladder, a search."""
    findings = [read_finding(path) for path in kept_findings(folder)]
    if not findings:
        raise IntegrityError(f"{folder / FINDINGS} holds no findings", hint="run the analysis once more")
    path = output or folder / PAGE
    return write_findings(
        findings, title=findings[0].title, lead=findings[0].question, facts={"folder": folder.name}, path=path
    )


def _put(page: Page, path: Path) -> Path:
    """Write the page.

    Raises:
        UsageError: the place is a folder, or lies below a file. ResourceError: it may not be written to.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, and the page is a file", hint=f"give it a name: -o {path / PAGE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page_text(page))
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path.parent} is no folder", hint="name a file in a folder: -o FILE") from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ResourceError(
            f"{path.parent} may not be written to", hint="-o FILE writes the page to another place"
        ) from None
    return path


def stored_findings(source: Subject) -> list[Finding]:
    """What analyses left beside the source and its runs.

    Raises:
        IntegrityError: a file is damaged.
    """
    folders = [source.folder, *(run for arm in source.comparison.arms for run in arm.folders.values())]
    found: list[Finding] = []
    for path in dict.fromkeys(path for folder in folders for path in kept_findings(folder)):
        finding = read_finding(path)
        if finding.name not in [one.name for one in found]:
            found.append(finding)
    return found


def findings_of(source: Subject) -> list[Finding]:
    """Everything the page says of the comparison itself."""
    comparison = source.comparison
    domains = whole_domain_table(comparison)
    parts = [
        verdict(source),
        curves_finding(comparison),
        None if domains is None else exposure_finding(comparison, domains),
        calibration_finding(comparison),
        sparsity_finding(comparison, domains),
        context_finding(comparison),
        None if domains is None else domains_finding(comparison, domains),
        settings_finding(comparison),
        reproduction(source),
    ]
    return [part for part in parts if part is not None]
