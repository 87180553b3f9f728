"""`adasparse config`: what the settings are, and whether a file of settings is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import ConfigFile, Overrides
from adasparse_cli.render import out, say

app = typer.Typer(help="Look at settings, and check them.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show", epilog="Example:\n\n  adasparse config show train model=dnn data=twin-3m")
def show_config(
    root: Annotated[str, typer.Argument(help="A command that has settings: prep or train.")] = "train",
    overrides: Overrides = None,
    config: ConfigFile = None,
) -> None:
    """Print every key of a command with the value it would have."""
    from adasparse_cli.config import compose, to_yaml

    out.file.write(to_yaml(compose(root, overrides or [], config_file=config)))


@app.command("validate", epilog="Example:\n\n  adasparse config validate my_experiment.yaml")
def validate(
    file: Annotated[Path, typer.Argument(help="A YAML file of settings for train.")], overrides: Overrides = None
) -> None:
    """Check a file of settings: all that is wrong with it is named at once."""
    from adasparse_cli.jobs.train import plan_train

    plan_train(overrides or [], config_file=file)
    say(f"{file} is right")
