"""`adasparse prep`: prepare a data set from raw files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adasparse_cli.findings.machine import machine_rows
from adasparse_cli.terminal.arguments import AsCsv, AsJson, ConfigFile, Overrides
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import MACHINE, Format, chosen_format, note, say, share, show, show_machine

if TYPE_CHECKING:
    from adasparse_cli.prep.inspect import Inspection
    from adasparse_cli.prep.recipe import Finding
    from adasparse_cli.schema import Manifest

EXAMPLES = """
Examples:

  adasparse prep                    (the synthetic twin, 200,000 rows)

  adasparse prep data=iaac raw=round1_ijcai_18_train_20180301.zip

  adasparse prep data=iaac 'raw=[train.txt,test_a.zip]'

  adasparse prep data=tabular raw=a.csv data.label=y 'data.domain=[d]'

  adasparse prep data=tabular raw=logs data.label=y 'data.domain=[day]'   (a folder, such as logs/day=1/part-0.parquet)

  adasparse prep data=kuairand-pure raw=KuaiRand-Pure   (adasparse data ls lists the public data sets)

  adasparse prep data=ali-ccp raw=FOLDER 'data.label=[click,conversion]'   (prepares ali-ccp-click and ali-ccp-conversion)

  adasparse prep --inspect data=iaac raw=train.txt
"""


def prep(
    overrides: Overrides = None,
    inspect: Annotated[
        bool, typer.Option("--inspect", help="Report the contents of the raw files and likely problems. Write nothing.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite prepared data even if runs were trained on them.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Prepare a data set: check, split and encode raw files."""
    from adasparse_cli.errors import DataError, UsageError
    from adasparse_cli.runs.prepare import plan_preps, run_inspect, run_prep

    jobs = plan_preps(overrides or [], config_file=config)
    form = chosen_format(as_json, as_csv)
    if len(jobs) > 1 and form in MACHINE:
        raise UsageError(
            f"--{form} accepts one label, but data.label names {len(jobs)}", hint="run the command once per label"
        )
    if inspect:
        with ProgressDisplay() as progress:
            inspections = [run_inspect(job, progress) for job in jobs]
        for inspection in inspections:
            _show_inspection(inspection, form)
        if any(finding.severity == "error" for inspection in inspections for finding in inspection.findings):
            raise typer.Exit(DataError.exit_code)
        return
    for job in jobs:
        with ProgressDisplay() as progress:
            report = run_prep(job, progress, replace=replace)
        if not report.fresh and form not in MACHINE:
            note(f"{report.folder} is up to date: same files, same settings")
        show_prepared(report.folder, report.manifest, form)


def show_prepared(folder: Path, manifest: Manifest, form: Format) -> None:
    """Print the splits, the findings and the next command of prepared data."""
    from adasparse_cli.errors import DataError
    from adasparse_cli.prep.noticed import read_findings, split_days, split_rule
    from adasparse_cli.prepared.files import require_learnable
    from adasparse_cli.runs.data_words import words_for

    findings = read_findings(folder, manifest)
    splits = [
        {
            "split": name,
            "rows": counts.rows,
            "positives": counts.positives,
            "rate": counts.positives / counts.rows if counts.positives is not None and counts.rows else None,
        }
        for name, counts in manifest.splits.items()
        if counts.rows
    ]
    if form in MACHINE:
        more = {**manifest.to_json(), "folder": str(folder), "findings": [asdict(finding) for finding in findings]}
        show_machine(splits, form, more)
        return
    shown = [_plain(row) for row in splits]
    say(split_rule(manifest.settings, split_days(folder, manifest)))
    show(shown, title=f"{manifest.name}: {manifest.num_domains:,} domains by {' × '.join(manifest.domain)}")
    unseen = sorted(manifest.unseen.items(), key=lambda item: -item[1])
    worst = [f"{name} {share(value)}" for name, value in unseen if value > 0.2]
    if worst:
        say(f"test values unseen in training: {', '.join(worst)}")
    say(f"exact duplicate rows: {manifest.duplicates:,} ({manifest.settings['duplicates']})")
    say(f"rejected rows: {sum(manifest.rejected.values()):,}")
    _show_findings(findings)
    say(f"prepared in {folder}")
    try:
        require_learnable(manifest)
    except DataError as error:
        say(f"nothing to train on: {error.message}; {error.hint}")
    else:
        say(f"next: adasparse train {words_for(manifest)}")


def _show_inspection(inspection: Inspection, form: Format) -> None:
    if form in MACHINE:
        more = inspection.to_json()
        tables = {name: machine_rows(more[name]) for name in ("splits", "fields", "domains", "days", "rejects")}
        show_machine(inspection.fields, form, {"num_rows": more.pop("rows"), **more, **tables})
        return
    for line in inspection.notes:
        note(line)
    say(inspection.split)
    show([_plain(row) for row in inspection.splits], title=f"{inspection.rows:,} rows by planned split")
    fields = [{**_plain(row), "kind": row["kind"].replace("_", "-")} for row in inspection.fields]
    columns = ("field", "kind", "distinct", "missing", "unseen", "top value share", "AUC alone")
    title = "Fields (unseen: share of test values not in training; AUC alone: AUC of the field by itself)"
    show(fields, title=title, columns=columns)
    show([_plain(row) for row in inspection.domains], title="Domains")
    if inspection.days:
        show([_plain(row) for row in inspection.days], title="Days")
    if inspection.rejects:
        show([_plain(row) for row in inspection.rejects], title="Rejected rows")
    say(f"exact duplicate rows: {inspection.duplicates:,}")
    if not inspection.findings:
        say("no problems found")
    _show_findings(inspection.findings)


def _show_findings(findings: Sequence[Finding]) -> None:
    """Print findings, the most severe first."""
    for finding in sorted(findings, key=lambda finding: ("error", "warning", "note").index(finding.severity)):
        say(f"{finding.severity}: {finding.text}")
        say(f"      → {finding.advice}")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: share(value) if name.endswith(("share", "rate", "missing", "unseen")) else value
        for name, value in row.items()
    }
