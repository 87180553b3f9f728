"""`adasparse models`: what can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import AsCsv, AsJson, DataFolder
from adasparse_cli.render import chosen_format, show

app = typer.Typer(help="What can be trained.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls", epilog="Examples:\n\n  adasparse models ls\n\n  adasparse models ls --on twin")
def ls(
    on: Annotated[str | None, typer.Option("--on", help="Weigh the models on this prepared data set.")] = None,
    data: DataFolder = Path("data"),
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the models: what each is, its settings, and what it weighs."""
    from adasparse_cli.runs.model_list import cache_folder, listed_models

    rows = listed_models(data, on, cache_folder())
    where = on or "21 fields (3 of them domain-aware) of 1.8 million ids and 300 domains; --on NAME for your data"
    caption = f"packaged settings, on {where}; embeddings are the same for all"
    show(rows, form=chosen_format(as_json, as_csv), caption=caption)
