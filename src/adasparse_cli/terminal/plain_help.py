"""Help texts without Python's type hints: arguments have no type, options a simple one."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand


class PlainCommand(TyperCommand):
    """A command whose help has `FILE...` and `--seeds <int>`, where typer prints `FILE... <list[Path]>` and `<int range>`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            shown = parameter.display_type_rich  # type: ignore[attr-defined]  # typer's parameters have it
            is_argument = parameter.param_type_name == "argument"
            parameter.display_type_rich = _nothing if is_argument else _Plain(shown)  # type: ignore[attr-defined]


class _Plain:
    """Formats the type of an option, for example `<str>` for a list of strings."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __call__(self, ctx: Any) -> str:
        type_name = str(self._shown(ctx) or "")
        return re.sub(r"^<(?:list\[)?(.*?)(?:\])?(?: range)?>$", r"<\1>", type_name)


def _nothing(ctx: Any) -> str:
    """No type for an argument."""
    return ""


def use_plain_help(app: typer.Typer) -> None:
    """Make every command of an app and of its groups a `PlainCommand`."""
    for command in app.registered_commands:
        command.cls = PlainCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            use_plain_help(group.typer_instance)
