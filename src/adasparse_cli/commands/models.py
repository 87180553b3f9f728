"""`adasparse models`: what can be trained."""

from __future__ import annotations

import typer

from adasparse_cli.commands.arguments import AsCsv, AsJson
from adasparse_cli.render import chosen_format, show

app = typer.Typer(help="What can be trained.", no_args_is_help=True, rich_markup_mode=None)


@app.command("ls", epilog="Example:\n\n  adasparse models ls")
def ls(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the models and what each is."""
    from adasparse_cli.jobs.catalogue import list_models

    show(list_models(), form=chosen_format(as_json, as_csv))
