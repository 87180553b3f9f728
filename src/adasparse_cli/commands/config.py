"""`adasparse config`: what the settings are, and whether a file of settings is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.commands.arguments import ConfigFile, Overrides
from adasparse_cli.errors import UsageError
from adasparse_cli.render import out, say

# The commands that have settings; each has a file in conf/.
ROOTS = ("train", "prep")

app = typer.Typer(help="Look at settings, and check them.", no_args_is_help=True, rich_markup_mode=None)


@app.command(
    "show",
    epilog="Examples:\n\n  adasparse config show model=dnn data=twin-3m\n\n  adasparse config show prep data=iaac",
)
def show_config(
    root: Annotated[str, typer.Argument(help="A command that has settings: train or prep.")] = "train",
    overrides: Overrides = None,
    config: ConfigFile = None,
) -> None:
    """Print every key of a command with the value it would have."""
    from adasparse_cli.choices import nearest
    from adasparse_cli.config.compose import compose
    from adasparse_cli.typed import to_yaml

    words = list(overrides or [])
    if "=" in root:
        root, words = ROOTS[0], [root, *words]
    if root not in ROOTS:
        close = nearest(root, ROOTS)
        hint = f"did you mean {close}? there are" if close else "there are"
        raise UsageError(
            f"no command {root!r} has settings",
            hint=f"{hint} {', '.join(ROOTS)}; a setting is a word with =, such as data=twin",
        )
    out.file.write(to_yaml(compose(root, words, config_file=config)))


@app.command("validate", epilog="Example:\n\n  adasparse config validate my_experiment.yaml")
def validate(
    file: Annotated[Path, typer.Argument(help="A YAML file of settings for train.")], overrides: Overrides = None
) -> None:
    """Check a file of settings: all that is wrong with it is named at once."""
    from adasparse_cli.runs.train import plan_train

    plan_train(overrides or [], config_file=file)
    say(f"{file} is right")
