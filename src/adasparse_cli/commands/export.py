"""`adasparse export`: a run as a folder that predicts anywhere, with the sub-network of each domain."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import AsCsv, AsJson, DataFolder, RunsFolder, StudiesFolder, Unfinished
from adasparse_cli.errors import UsageError
from adasparse_cli.render import MACHINE, Format, chosen_format, note, say, show, show_machine

EXAMPLES = """
Examples:

  adasparse export latest --output model

  adasparse predict model new_clicks.csv

  adasparse export --check model

  adasparse export latest --onnx

  adasparse export latest --domains top:20 --domains 'DE/mobile'
"""
# Domains in the table that is shown.
SHOWN = 10


def export(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's folder, a part of its path, `latest`, or STUDY/ARM.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The folder to write.")] = None,
    domains: Annotated[
        list[str] | None,
        typer.Option(
            "--domains", help="Whose sub-networks to write: all, top:N, or a key; may be given several times."
        ),
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also write model.onnx: raw values in, probability out (extra `export`).")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Check an exported folder: its files, and its golden rows by every engine."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported folder.")] = False,
    unfinished: Unfinished = False,
    runs: RunsFolder = Path("runs"),
    studies: StudiesFolder = Path("studies"),
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Write a self-contained folder: weights, vocabularies, sub-networks, and rows to check it with."""
    if (run is None) == (check is None):
        raise UsageError("export needs a run, or --check and a folder", hint="adasparse export latest --output model")
    form = chosen_format(as_json, as_csv)
    if check is not None:
        _check(check, form)
        return
    assert run is not None
    from adasparse_cli.runs.chosen import choose_run
    from adasparse_cli.runs.export import artefact_name, run_export
    from adasparse_cli.runs.score import open_run

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
                "fewer by": f"{one['ratio']:.2f}×",
            }
            for one in largest
        ]
        show(table, title=f"{len(report.domains):,} sub-networks; the largest domains:")
        say(f"largest difference from the model: {report.parity:.1e} in the logit")
        if report.dense_domains:
            note(
                f"warning: {len(report.dense_domains):,} of {len(report.domains):,} domains save less than half of the "
                f"multiply-adds, such as {', '.join(report.dense_domains[:3])}"
            )
    elif report.refused:
        note(f"no sub-networks: {report.refused}; the uncut model was exported")
    else:
        note("sub-networks are cut out when they are first needed: a domain has several combinations of values")
    say(f"exported: {report.folder} ({report.bytes / 2**20:.1f} MiB, {seconds:.1f} s)")
    note(f"next: adasparse predict {report.folder} FILE    to score new rows")


def _check(folder: Path, form: Format) -> None:
    from adasparse_cli.serving.check import run_check

    found = run_check(folder)
    table = [
        {
            "engine": one.engine,
            "golden rows": one.rows or None,
            "largest Δ logit": f"{one.logit:.1e}" if one.skipped is None else None,
            "largest Δ probability": f"{one.probability:.1e}" if one.skipped is None else None,
            "not asked because": one.skipped or "",
        }
        for one in found
    ]
    if form in MACHINE:
        rows = [
            {
                "engine": one.engine,
                "rows": one.rows,
                "logit": one.logit,
                "probability": one.probability,
                "skipped": one.skipped,
            }
            for one in found
        ]
        show_machine(rows, form, {"folder": str(folder)})
        return
    show(table, title=f"{folder} is valid: every file has its checksum")
