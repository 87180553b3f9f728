"""`adasparse export`: write a run as a self-contained folder for prediction, with the sub-network of each domain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.errors import UsageError
from adasparse_cli.terminal.arguments import AsCsv, AsJson, DataFolder, RunsFolder, StudiesFolder, Unfinished
from adasparse_cli.terminal.render import MACHINE, Format, chosen_format, note, say, show, show_machine

EXAMPLES = """
Examples:

  adasparse export latest --output model

  adasparse predict model new_clicks.csv

  adasparse export --check model

  adasparse export latest --onnx

  adasparse export latest --domains top:20 --domains 'DE/mobile'
"""
# Number of domains in the printed table.
SHOWN = 10


def export(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="Folder of a run, a part of its path, `latest`, or STUDY/ARM. Required without --check."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Output directory. Default: DATA-MODEL-RUN.artefact.")
    ] = None,
    domains: Annotated[
        list[str] | None,
        typer.Option(
            "--domains", help="Domains whose sub-networks are written: all, top:N, or a key. Can be repeated."
        ),
    ] = None,
    onnx: Annotated[
        bool,
        typer.Option("--onnx", help="Also write model.onnx: raw values in, probability out. Needs the extra `export`."),
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Check an exported folder: its files, and its golden rows with every engine."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing exported folder.")] = False,
    unfinished: Unfinished = False,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Write a self-contained folder: weights, vocabularies, sub-networks, and rows to check it with."""
    if (run is None) == (check is None):
        raise UsageError("export needs either a run or --check FOLDER", hint="adasparse export latest --output model")
    form = chosen_format(as_json, as_csv)
    if check is not None:
        _check(check, form)
        return
    assert run is not None
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.scoring.export import artefact_name, run_export
    from adasparse_cli.scoring.score import open_run

    chosen = choose_run(run, runs, studies, unfinished=unfinished)
    note(chosen.line)
    saved = open_run(chosen.folder, data_root=data)
    started = time.monotonic()
    report = run_export(saved, output or artefact_name(saved), domains=domains, graph=onnx, overwrite=overwrite)
    seconds = time.monotonic() - started
    if form in MACHINE:
        more = {
            "folder": str(report.folder),
            "bytes": report.bytes,
            "seconds": round(seconds, 3),
            "engines": report.engines,
            "refused": report.refused,
            "multiply_adds_uncut": report.multiply_adds,
            "parity": report.parity,
            "domains": report.domains,
        }
        show_machine(report.domains, form, more)
        return
    if report.domains:
        largest = sorted(report.domains, key=lambda one: -int(one["train_rows"]))[:SHOWN]
        table = [
            {
                "domain": one["domain"],
                "train rows": one["train_rows"],
                "kept neurons": "/".join(map(str, one["kept"])),
                "multiply-adds": one["multiply_adds"],
                "reduction": f"{one['ratio']:.2f}×",
            }
            for one in largest
        ]
        show(table, title=f"{len(report.domains):,} sub-networks, largest domains first")
        say(f"largest difference from the model: {report.parity:.1e} in the logit")
        if report.dense_domains:
            note(
                f"warning: the sub-networks of {len(report.dense_domains):,} of {len(report.domains):,} domains save less "
                f"than half of the multiply-adds, such as {', '.join(report.dense_domains[:3])}"
            )
    elif report.refused:
        note(f"no sub-networks: {report.refused}; the full model was exported")
    else:
        note("sub-networks are extracted on first use, because a domain has several combinations of values")
    say(f"exported: {report.folder} ({report.bytes / 2**20:.1f} MiB, {seconds:.1f} s)")
    note(f"next: adasparse predict {report.folder} FILE    to score new rows")


def _check(folder: Path, form: Format) -> None:
    from adasparse_cli.serving.check import run_check

    checks = run_check(folder)
    table = [
        {
            "engine": check.engine,
            "golden rows": check.rows or None,
            "largest Δ logit": f"{check.logit:.1e}" if check.skipped is None else None,
            "largest Δ probability": f"{check.probability:.1e}" if check.skipped is None else None,
            "skipped because": check.skipped or "",
        }
        for check in checks
    ]
    if form in MACHINE:
        rows = [
            {
                "engine": check.engine,
                "rows": check.rows,
                "logit": check.logit,
                "probability": check.probability,
                "skipped": check.skipped,
            }
            for check in checks
        ]
        show_machine(rows, form, {"folder": str(folder)})
        return
    show(table, title=f"{folder} is valid: all checksums match")
