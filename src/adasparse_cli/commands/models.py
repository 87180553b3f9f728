"""`adasparse models`: list, show, check and start models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.findings.machine import machine_rows
from adasparse_cli.terminal.arguments import AsCsv, AsJson, DataFolder, Overrides
from adasparse_cli.terminal.render import MACHINE, chosen_format, say, show, show_machine

app = typer.Typer(help="List, show, check and start models.", no_args_is_help=True, rich_markup_mode=None)
# The data shape of costs if no data set is named, as in `model_list.example`.
EXAMPLE_SHAPE = "an example with 21 fields (3 domain-aware), 1.8 million ids and 300 domains; --on NAME uses your data"


@app.command("ls", epilog="Examples:\n\n  adasparse models ls\n\n  adasparse models ls --on twin")
def ls(
    on: Annotated[
        str | None,
        typer.Option(
            "--on", help="Count parameters for this prepared data set.", autocompletion=completion.prepared_data
        ),
    ] = None,
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the models: description, settings, parameters and multiply-adds."""
    from adasparse_cli.catalogue.costs import cache_folder
    from adasparse_cli.catalogue.model_list import listed_models

    rows = listed_models(data, on, cache_folder())
    caption = f"Packaged settings, for {on or EXAMPLE_SHAPE}. Embeddings, the same in all models, are not counted."
    show(rows, form=chosen_format(as_json, as_csv), caption=caption)


@app.command("show", epilog="Examples:\n\n  adasparse models show star\n\n  adasparse models show adasparse --on twin")
def show_model(
    name: Annotated[str, typer.Argument(help="A model, or a loop.", autocompletion=completion.models)],
    on: Annotated[
        str | None,
        typer.Option(
            "--on", help="Count parameters for this prepared data set.", autocompletion=completion.prepared_data
        ),
    ] = None,
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show what a model computes, its source, its settings and its cost."""
    from adasparse_cli.catalogue.costs import cache_folder
    from adasparse_cli.catalogue.model_list import described
    from adasparse_cli.config.reference import default_words

    form = chosen_format(as_json, as_csv)
    page = described(name, data, on, cache_folder())
    rows = [
        {"key": one.key, "meaning": one.meaning, "valid": one.kind.words, "default": default_words(one, page.choices)}
        for one in page.settings
    ]
    if form in MACHINE:
        (cost,) = machine_rows([page.cost])
        show_machine(rows, form, {"model": name, "description": page.description, "settings": rows, "cost": cost})
        return
    for line in page.description.splitlines():
        say(line)
    show(rows, title="Settings") if rows else say("No settings.")
    show([page.cost], title="Cost without embeddings", caption=f"Packaged settings, for {on or EXAMPLE_SHAPE}.")


@app.command(
    "check",
    epilog="Examples:\n\n  adasparse models check my_package.my_model:MyModel\n\n  adasparse models check apg model.version=v1",
)
def check(
    model: Annotated[str, typer.Argument(help="A model: its name, or my_package.my_model:MyModel.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Run the checks that every model must pass. Exit code 1 if a check fails."""
    from adasparse_cli.testing.check import check_model

    results = check_model([f"model={model}", *(overrides or [])])
    rows = [
        {"check": one.check, "passed": (one.broken is None) if one.applies else None, "failure": one.broken or ""}
        for one in results
    ]
    show(rows, form=chosen_format(as_json, as_csv), title=f"Checks of {model}")
    if any(one.broken for one in results):
        raise typer.Exit(1)


@app.command("new", epilog="Example:\n\n  adasparse models new my_model")
def new(
    name: Annotated[str, typer.Argument(help="Name of the module, such as my_model.")],
    folder: Annotated[Path, typer.Option("--folder", help="Output directory.")] = Path(),
) -> None:
    """Write a small working model to start from: module, settings and test."""
    from adasparse_cli.testing.start import class_name, start_model

    for path in start_model(name, folder):
        say(f"wrote {path}")
    model = f"{name}:{class_name(name)}"
    say("Modules in the current folder are not imported. Set PYTHONPATH, or install the files as a package.")
    say(f"next: PYTHONPATH={folder} adasparse models check {model}")
    say(f"      PYTHONPATH={folder} adasparse train --model {model}")
