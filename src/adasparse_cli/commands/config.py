"""`adasparse config`: show, explain and check settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adasparse_cli.catalogue import completion
from adasparse_cli.errors import UsageError
from adasparse_cli.terminal.arguments import AsCsv, AsJson, ConfigFile, Overrides
from adasparse_cli.terminal.render import MACHINE, Format, chosen_format, out, say, show, show_machine

if TYPE_CHECKING:
    from adasparse_cli.config.settable import Setting

SHOW_EXAMPLES = """
Examples:

  adasparse config show model=dnn data=twin-3m

  adasparse config show --comments > settings.yaml

  adasparse config show prep data=iaac
"""
EXPLAIN_EXAMPLES = """
Examples:

  adasparse config explain loop.select

  adasparse config explain model.regulariser

  adasparse config explain model=star
"""
# The commands that have settings; each has a file in conf/.
ROOTS = ("train", "prep")

app = typer.Typer(help="Show and check settings.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show", epilog=SHOW_EXAMPLES)
def show_config(
    root: Annotated[
        str,
        typer.Argument(
            help="Command whose settings are shown: train or prep.", autocompletion=completion.commands_with_settings
        ),
    ] = "train",
    overrides: Overrides = None,
    config: ConfigFile = None,
    comments: Annotated[
        bool | None,
        typer.Option(
            "--comments/--no-comments", help="Print the meaning of each key above it. Default: only on a terminal."
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print all settings of a command with their values."""
    from adasparse_cli.choices import nearest
    from adasparse_cli.config.commented import commented_yaml
    from adasparse_cli.config.compose import compose
    from adasparse_cli.config.settable import comments_for
    from adasparse_cli.typed import flat, to_yaml

    words = list(overrides or [])
    if "=" in root:
        root, words = ROOTS[0], [root, *words]
    if root not in ROOTS:
        close = nearest(root, ROOTS)
        suggestion = f"did you mean {close}? " if close else ""
        raise UsageError(
            f"{root!r} is not a command with settings",
            hint=f"{suggestion}valid commands: {', '.join(ROOTS)}; settings are given as key=value, such as data=twin",
        )
    tree = compose(root, words, config_file=config)
    form = chosen_format(as_json, as_csv)
    if form in MACHINE:
        show_machine([{"key": key, "value": value} for key, value in flat(tree).items()], form, {"settings": tree})
        return
    with_comments = out.is_terminal if comments is None else comments
    out.file.write(commented_yaml(tree, comments_for(tree)) if with_comments else to_yaml(tree))


@app.command("explain", epilog=EXPLAIN_EXAMPLES)
def explain(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="A key, or a prefix such as model.pruner. Default: all settings.",
            autocompletion=completion.setting_keys,
        ),
    ] = "",
    choices: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="GROUP=NAME",
            help="Model, loop or data set, such as model=star.",
            autocompletion=completion.group_choices,
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print the meaning, type, valid values and default of settings, and the commands that use them."""
    from adasparse_cli.config.reference import default_words
    from adasparse_cli.config.settable import chosen_groups, matching, settings

    words = list(choices or [])
    if "=" in key:  # `model=star` names a section, `loop.select=auc` a key
        words, key = ([key, *words] if "." not in key.partition("=")[0] else words), key.partition("=")[0]
    chosen = chosen_groups(words)
    found = matching(key, chosen) if key else settings(chosen)
    form = chosen_format(as_json, as_csv)
    rows = [
        {
            "key": one.key,
            "meaning": one.meaning,
            "valid": one.kind.words,
            "default": default_words(one, chosen),
            "used by": _users(one),
        }
        for one in found
    ]
    if form is not Format.text:
        show(rows, form=form)
    elif len(found) > 1:
        show([{name: text for name, text in row.items() if name != "used by"} for row in rows])
    else:
        for name, text in rows[0].items():
            say(f"{name:<8} {text}")


@app.command(
    "reference",
    epilog="Examples:\n\n  adasparse config reference > settings.md\n\n  adasparse config reference --commands > commands.md",
)
def reference(
    context: typer.Context,
    commands: Annotated[bool, typer.Option("--commands", help="Print the reference of all commands instead.")] = False,
) -> None:
    """Print the reference of all settings, or of all commands, as Markdown."""
    from adasparse_cli.config.reference import reference_page
    from adasparse_cli.terminal.command_page import command_page

    out.file.write(command_page(context.find_root().command) if commands else reference_page())


@app.command("validate", epilog="Example:\n\n  adasparse config validate my_experiment.yaml")
def validate(
    file: Annotated[Path, typer.Argument(help="A YAML file of settings for train.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Check a file of settings, and list all errors. With --json or --csv, one row per error: key, value, message, hint."""
    from adasparse_cli.config.error_rows import error_row
    from adasparse_cli.runs.train_job import plan_train

    form = chosen_format(as_json, as_csv)
    try:
        plan_train(overrides or [], config_file=file)
    except UsageError as error:
        if form not in MACHINE or not file.is_file():
            raise
        rows = [error_row(message, hint) for message, hint in error.parts]
        show_machine(rows, form, {"file": str(file), "valid": False})
        raise typer.Exit(error.exit_code) from None
    if form is Format.json:
        show_machine([], form, {"file": str(file), "valid": True})
    elif form is Format.csv:
        out.file.write(",".join(error_row("", "")) + "\n")
    else:
        say(f"{file} is valid")


def _users(setting: Setting) -> str:
    """The commands that accept a setting, and the models, loops or data sets that have it."""
    group = setting.key.partition(".")[0]
    names = f"{group}={','.join(setting.names)}; " if group in ("data", "model", "loop") and setting.names else ""
    return names + ", ".join(setting.commands)
