"""Help as a person reads it: arguments without types, options without the words of Python's type hints."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand


class PlainCommand(TyperCommand):
    """A command whose help says `FILE...` and `--seeds <int>`, where typer says `FILE... <list[Path]>` and `<int range>`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in self.params:
            shown = one.display_type_rich  # type: ignore[attr-defined]  # of typer's own parameters
            is_argument = one.param_type_name == "argument"
            one.display_type_rich = _nothing if is_argument else _Plain(shown)  # type: ignore[attr-defined]


class _Plain:
    """What shows the type of an option: `<str>` for a list of texts, which can be given several times."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __call__(self, ctx: Any) -> str:
        found = str(self._shown(ctx) or "")
        return re.sub(r"^<(?:list\[)?(.*?)(?:\])?(?: range)?>$", r"<\1>", found)


def _nothing(ctx: Any) -> str:
    """The type of an argument: its name says enough."""
    return ""


def use_plain_help(app: typer.Typer) -> None:
    """Give every command of an app, and of the groups below it, such a help."""
    for command in app.registered_commands:
        command.cls = PlainCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            use_plain_help(group.typer_instance)
