"""Finished runs, or a study of them, as findings and as one page to share."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path

from adasparse_cli.errors import IntegrityError, ResourceError, UsageError
from adasparse_cli.files import write_text
from adasparse_cli.findings.finding import Finding
from adasparse_cli.findings.kept import FINDINGS, kept_findings, read_finding
from adasparse_cli.insights.behaviour import context_finding, curves_finding, settings_finding
from adasparse_cli.insights.calibration import calibration_finding
from adasparse_cli.insights.card import card_of
from adasparse_cli.insights.cost import cost_finding
from adasparse_cli.insights.differences import verdict
from adasparse_cli.insights.domains import domains_finding, whole_domain_table
from adasparse_cli.insights.exposure import exposure_finding
from adasparse_cli.insights.metrics_table import metrics_finding
from adasparse_cli.insights.pruning import sparsity_finding
from adasparse_cli.insights.rerun_commands import reproduction, trained_with
from adasparse_cli.page.write import Page, page_text
from adasparse_cli.studies.comparison import Comparison
from adasparse_cli.studies.subject import Subject

PAGE = "report.html"
LAST = ("settings", "reproduction")  # sections after those of analyses


def write_report(source: Subject, output: Path | None = None) -> Path:
    """Write the page; without `output`, to the folder of its source."""
    # a stored finding of an analysis replaces the page's finding
    findings = {finding.name: finding for finding in (*findings_of(source), *stored_findings(source))}
    page = Page(
        title=_title(source),
        lead=source.question if len(source.comparison.arms) > 1 else "",
        facts=_facts(source.comparison),
        findings=sorted(findings.values(), key=lambda finding: finding.name in LAST),
        card=card_of(source),
        footer=_footer(source.comparison),
    )
    return _put(page, output or source.folder / PAGE)


def _title(source: Subject) -> str:
    """The title of the study or of the runs, with the name of the data."""
    name = str(source.comparison.data["name"])
    return source.title if source.title.endswith(f" on {name}") else f"{source.title} on {name}"


def _facts(comparison: Comparison) -> dict[str, str]:
    """The main facts about the data; the footer has the rest."""
    data = comparison.data
    splits = {name: counts for name, counts in data["splits"].items() if counts["rows"]}
    seeds = "seed" if len(comparison.seeds) == 1 else "seeds"
    return {
        "rows": ", ".join(f"{counts['rows']:,} {name}" for name, counts in splits.items()),
        "label": str(data.get("label", "n/a")),
        "domain": f"{' × '.join(data['domain'])}, {data['num_domains']:,} in training",
        **({"worlds": ", ".join(map(str, comparison.worlds))} if comparison.worlds else {}),
        seeds: ", ".join(map(str, comparison.seeds)),
    }


def _footer(comparison: Comparison) -> dict[str, str]:
    """Fingerprints and versions."""
    worlds = comparison.worlds
    prints = {f"data of world {world}": own.data["fingerprint"][:12] for world, own in worlds.items()}
    return {**(prints or {"data": comparison.data["fingerprint"][:12]}), **trained_with(comparison)}


def write_findings(findings: Sequence[Finding], *, title: str, lead: str, facts: Mapping[str, str], path: Path) -> Path:
    """A page of findings that do not belong to a single comparison."""
    return _put(Page(title=title, lead=lead, facts=facts, findings=findings), path)


def write_kept(folder: Path, output: Path | None = None) -> Path:
    """A page of the findings stored in a folder that is neither a run nor a study, for example of `analyze domains` or `hpo`."""
    findings = [read_finding(path) for path in kept_findings(folder)]
    if not findings:
        raise IntegrityError(f"{folder / FINDINGS} contains no findings", hint="rerun the analysis")
    path = output or folder / PAGE
    return write_findings(
        findings, title=findings[0].title, lead=findings[0].question, facts={"folder": folder.name}, path=path
    )


def _put(page: Page, path: Path) -> Path:
    """Write the page.

    Raises:
        UsageError: the path is a folder, or is below a file. ResourceError: the path is not writable.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, but the page is a file", hint=f"name a file: -o {path / PAGE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page_text(page))
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path.parent} is not a folder", hint="name a file in a folder: -o FILE") from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ResourceError(f"{path.parent} is not writable", hint="-o FILE writes the page elsewhere") from None
    return path


def stored_findings(source: Subject) -> list[Finding]:
    """Findings that analyses have stored in the folders of the source and its runs.

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
    """The sections of the page that come from the comparison itself."""
    comparison = source.comparison
    domains = whole_domain_table(comparison)
    parts = [
        verdict(source) if len(comparison.arms) > 1 else metrics_finding(comparison),
        cost_finding(comparison),
        None if domains is None else exposure_finding(comparison, domains),
        None if domains is None else domains_finding(comparison, domains),
        calibration_finding(comparison),
        sparsity_finding(comparison, domains),
        context_finding(comparison),
        curves_finding(comparison),
        settings_finding(comparison),
        reproduction(source),
    ]
    return [part for part in parts if part is not None]
