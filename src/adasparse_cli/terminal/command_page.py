"""All commands on one Markdown page: usage, arguments, options with their defaults, and examples, from the command line itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

HEAD = """# Commands

Settings are arguments of the form `KEY=VALUE`; [Settings](settings.md) lists them. `adasparse COMMAND --help` prints the same text in a
terminal. Every command has `--help`.

`adasparse config reference --commands > docs/commands.md` writes this page.
"""
# The start of a command in the examples of a help text, and the remark in parentheses behind it.
_EXAMPLE = re.compile(r"^(?P<command>\S.*?)(?:\s{2,}\((?P<remark>.*)\))?$")


def command_page(root: Any) -> str:
    """The page.

    Args:
        root: the click command of the application.
    """
    context = root.make_context("adasparse", [], resilient_parsing=True)
    parts = [HEAD, "## Options of every command\n", *_table(root, context)]
    for path, command in _commands(root, "adasparse"):
        parts += _section(path, command, root.context_class(command, info_name=path))
    return "\n".join(parts) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Commands with their paths; a group is followed by its commands."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _section(path: str, command: Any, context: Any) -> list[str]:
    usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
    parts = [f"\n## `{path}`\n", *(f"{_cell(text)}\n" for text in (command.help or "").split("\n\n"))]
    parts += ["```text", usage.translate(str.maketrans("", "", "{}")), "```\n"]
    parts += _table(command, context)
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  ") and line.strip()]
    if examples:
        parts += ["\n```bash", *map(_example, examples), "```"]
    return parts


def _example(line: str) -> str:
    match = _EXAMPLE.match(line)
    assert match is not None
    return match["command"] + (f"    # {match['remark']}" if match["remark"] else "")


def _table(command: Any, context: Any) -> list[str]:
    """Arguments first, then options; nothing for a command without parameters."""
    shown = [one for one in command.params if one.name != "help" and not getattr(one, "hidden", False)]
    ordered = sorted(shown, key=lambda one: one.param_type_name != "argument")
    rows = [f"| {_spelled(one, context)} | {_cell(one.help or '')} | {_default(one, context)} |" for one in ordered]
    return ["| Argument or option | Meaning | Default |", "| --- | --- | --- |", *rows] if rows else []


def _spelled(parameter: Any, context: Any) -> str:
    """A parameter as it is typed, with the type of its value."""
    if parameter.param_type_name == "argument":
        return _code(parameter.metavar or parameter.name.upper())
    names = ", ".join(map(_code, (*parameter.opts, *parameter.secondary_opts)))
    if parameter.is_flag:
        return names
    kind = parameter.metavar or str(parameter.display_type_rich(context) or "")
    return f"{names} {_code(kind)}" if kind else names


def _default(parameter: Any, context: Any) -> str:
    """The default as it is typed; empty if there is none, or if the meaning has it."""
    value = parameter.get_default(context, call=False)
    if (
        value is None
        or value in ("", [], ())
        or (getattr(parameter, "is_flag", False) and not value)
        or callable(value)
    ):
        return "(required)" if parameter.required else ""
    text = value.as_posix() if isinstance(value, PurePath) else str(getattr(value, "value", value))
    return _code(text)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return re.sub(r"<([^<>]*)>", r"\\<\1\\>", " ".join(text.split())).replace("|", "\\|")
