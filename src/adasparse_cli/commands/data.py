"""`adasparse data`: list, show, verify and remove prepared data; list the public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adasparse_cli.terminal.arguments import AsCsv, AsJson, DataFolder, DataName, PublicName, RunsFolder, Verify
from adasparse_cli.terminal.render import MACHINE, Format, chosen_format, note, say, share, show, show_machine, visible

if TYPE_CHECKING:
    from adasparse_cli.schema import Manifest

SHOWN_RUNS = 10

app = typer.Typer(help="Show and remove prepared data.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls", epilog="Examples:\n\n  adasparse data ls\n\n  adasparse data ls --recipes --csv")
def ls(
    data: DataFolder = Path("data"),
    recipes: Annotated[
        bool, typer.Option("--recipes", help="List only the public data sets that can be prepared.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the prepared data sets, and the public data sets that can be prepared.

    --json and --csv print only the prepared data sets; with --recipes, only the public ones.
    """
    from adasparse_cli.catalogue.data_list import list_data
    from adasparse_cli.catalogue.public_data import recipe_rows

    form = chosen_format(as_json, as_csv)
    if not recipes:
        rows = list_data(data)
        if rows or form is not Format.text:
            show(rows, form=form, title="Prepared")
        else:
            say(f"no prepared data in {data}; adasparse prep prepares some")
        if form is not Format.text:
            return
    public = recipe_rows()
    title = "Public data sets that can be prepared from the files of their publishers"
    # addresses, which a table would break, are in `data about`
    columns = [name for name in public[0] if name != "page" or form is not Format.text]
    show(public, form=form, title=title, columns=columns)
    if form is Format.text:
        say(
            "adasparse data about NAME describes one, with its address; adasparse prep data=NAME raw=FOLDER prepares it"
        )


@app.command("about", epilog="Example:\n\n  adasparse data about kuairand-pure")
def about(name: PublicName, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Describe a public data set: its domain, the source of its files, its terms and its known pitfalls."""
    from dataclasses import asdict

    from adasparse_cli.catalogue.public_data import about_data

    known = about_data(name)
    form = chosen_format(as_json, as_csv)
    if form in MACHINE:
        values = {key: value if isinstance(value, str) else "; ".join(value) for key, value in asdict(known).items()}
        show_machine([{"data": name, **values}], form)
        return
    for key, value in asdict(known).items():
        lines = [value] if isinstance(value, str) else value
        for line in lines:
            say(f"{key:<11}{line}")
    say(f"{'prepare':<11}adasparse prep data={name} raw=PATH")


@app.command("show", epilog="Examples:\n\n  adasparse data show twin\n\n  adasparse data show twin --ceilings")
def show_data(
    name: DataName,
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    verify: Verify = False,
    with_ceilings: Annotated[
        bool,
        typer.Option(
            "--ceilings",
            help="Show the best possible metrics of synthetic data, by degree of knowledge about the domains' tastes.",
        ),
    ] = False,
) -> None:
    """Show the splits, fields and largest domains of a prepared data set."""
    from adasparse_cli.catalogue.data_list import data_set, field_rows, largest_domains

    form = chosen_format(as_json, as_csv)
    manifest = data_set(data, name)
    if verify:
        from adasparse_cli.catalogue.verify import verify_data

        verify_data(data / name)
    if with_ceilings:
        _show_ceilings(data / name, manifest, form)
        return
    if form in MACHINE:
        show_machine(field_rows(manifest), form, manifest.to_json())
        return
    from adasparse_cli.commands.prep import show_prepared

    domains = largest_domains(data / name, manifest, 10)  # a damaged file must fail before anything is printed
    fields = [{**row, "unseen": share(row["unseen"])} for row in field_rows(manifest)]
    show(fields, title="Fields (unseen: share of test values that are absent or too rare in training)")
    show(domains, title="Largest domains")
    show_prepared(data / name, manifest, Format.text)


@app.command("verify", epilog="Example:\n\n  adasparse data verify twin")
def verify_all(name: DataName, data: DataFolder = Path("data"), as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Verify the checksum of every file of a prepared data set."""
    from adasparse_cli.catalogue.data_list import data_set
    from adasparse_cli.catalogue.verify import verify_data

    form = chosen_format(as_json, as_csv)
    data_set(data, name)
    number = verify_data(data / name)
    if form in MACHINE:
        show_machine([{"folder": str(data / name), "files": number, "unchanged": True}], form)
    else:
        say(f"{data / name}: {number:,} files, all unchanged")


@app.command("rm", epilog="Example:\n\n  adasparse data rm twin-3m")
def rm(
    name: DataName,
    data: DataFolder = Path("data"),
    runs: RunsFolder = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove prepared data.

    Data that are being prepared and folders that contain other files are not removed. Raw files elsewhere are kept.
    """
    from adasparse_cli.catalogue.data_list import require_prepared
    from adasparse_cli.catalogue.data_removal import remove_data, require_removable_data, stale_after

    require_prepared(data, name)
    folder = data / name
    require_removable_data(folder)
    stale = stale_after(folder, runs)
    for run in stale[:SHOWN_RUNS]:
        note(f"warning: {run} was trained on these data: without them it can predict, but it cannot be evaluated")
    if len(stale) > SHOWN_RUNS:
        note(f"warning: {len(stale) - SHOWN_RUNS} more runs were trained on these data")
    if not yes:
        typer.confirm(f"remove {visible(str(folder))}?", abort=True)
    remove_data(folder)
    say(f"removed {folder}")


def _show_ceilings(folder: Path, manifest: Manifest, form: Format) -> None:
    from adasparse_cli.analysis.ceilings import ceilings

    rows = ceilings(folder, manifest)
    caption = "Metrics of the true logits of the test rows. Upper rows use less knowledge of user tastes; docs/twin.md defines them."
    show(rows, title=f"Ceilings of {manifest.name}, test split", caption=caption, form=form)
