"""`adasparse data`: what has been prepared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adasparse_cli.commands.arguments import AsCsv, AsJson, DataFolder, Verify
from adasparse_cli.render import chosen_format, say, show, show_json

if TYPE_CHECKING:
    from adasparse_cli.schema import Manifest

app = typer.Typer(help="Look at prepared data.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls", epilog="Example:\n\n  adasparse data ls")
def ls(data: DataFolder = Path("data"), as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the prepared data sets."""
    from adasparse_cli.runs.data_list import list_data

    rows = list_data(data)
    if rows or as_json or as_csv:
        show(rows, form=chosen_format(as_json, as_csv))
    else:
        say(f"nothing is prepared in {data}; adasparse prep does it")


@app.command("show", epilog="Examples:\n\n  adasparse data show twin\n\n  adasparse data show twin --ceilings")
def show_data(
    name: Annotated[str, typer.Argument(help="Name of a prepared data set.")],
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    verify: Verify = False,
    with_ceilings: Annotated[
        bool,
        typer.Option(
            "--ceilings", help="Show the best possible metrics of synthetic data, by what is known of tastes."
        ),
    ] = False,
) -> None:
    """Show the splits, fields and largest domains of a prepared data set."""
    from adasparse_cli.runs.data_list import data_set, field_rows, largest_domains
    from adasparse_cli.runs.prepare import PrepReport

    manifest = data_set(data, name)
    if verify:
        from adasparse_cli.studies.verify import verify_data

        verify_data(data / name)
    if with_ceilings:
        _show_ceilings(data / name, manifest, as_json=as_json)
        return
    if as_json:
        show_json(manifest.to_json())
        return
    from adasparse_cli.commands.prep import show_prepared
    from adasparse_cli.render import Format

    domains = largest_domains(data / name, manifest, 10)  # checked before anything is shown
    show(field_rows(manifest), title="Fields (unseen: share of test values that training did not see often enough)")
    show(domains, title="Largest domains")
    show_prepared(PrepReport(folder=data / name, manifest=manifest, fresh=True, elapsed_seconds=0.0), Format.text)


@app.command("verify", epilog="Example:\n\n  adasparse data verify twin")
def verify_all(
    name: Annotated[str, typer.Argument(help="Name of a prepared data set.")], data: DataFolder = Path("data")
) -> None:
    """Read every file of a prepared data set and compare its checksum."""
    from adasparse_cli.runs.data_list import data_set
    from adasparse_cli.studies.verify import verify_data

    data_set(data, name)
    say(f"{data / name}: {verify_data(data / name):,} files, all unchanged")


def _show_ceilings(folder: Path, manifest: Manifest, *, as_json: bool) -> None:
    from adasparse_cli.analysis.ceilings import ceilings

    rows = ceilings(folder, manifest)
    if as_json:
        show_json(rows)
        return
    caption = (
        "The true logits of the test rows. Less is known of tastes in the upper rows; docs/twin.md has the definitions."
    )
    show(rows, title=f"Ceilings of {manifest.name}, test split", caption=caption)
