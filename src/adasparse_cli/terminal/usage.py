"""Usage errors in the format of all other errors: what is wrong, then what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from adasparse_cli.errors import UsageError


def is_usage_fault(error: BaseException) -> bool:
    """Whether typer raised this error because the command line is invalid."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def is_call_for_help(error: BaseException) -> bool:
    """Whether a command that needs arguments was called without any, so that its help is printed."""
    return type(error).__name__ == "NoArgsIsHelpError"


def explained_usage(error: Any, words: Sequence[str]) -> UsageError:
    """A usage error as message and hint.

    Args:
        error: the exception of typer.
        words: the command line, without the program's name.
    """
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "adasparse"
    help_of = f"{path} --help lists its arguments and options"
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        name = str(option)
        hint = _setting_hint(name, words, path) if _takes_settings(context) else ""
        close = error.possibilities or ()
        near = f"did you mean {' or '.join(close)}?" if close else f"{path} --help lists the options"
        return UsageError(f"unknown option {name}", hint=hint or near)
    message = str(error.format_message()).strip().rstrip(".")
    message = re.sub(r"Value error, |, unable to parse string as an? \w+", "", message)
    message = message.replace("Input should be", "must be").replace("requires an argument", "needs a value")
    if match := re.match(r"No such command '(.*?)'\.? ?(Did you mean .*)?", message):
        near = (match[2] or "").replace("Did you mean", "did you mean").strip()
        hint = f"{near.removesuffix('?')}?" if near else f"{path} --help lists the commands"
        return UsageError(f"unknown command {match[1]!r}", hint=hint.replace("'", ""))
    if match := re.match(r"Missing argument '(.*?)'", message):
        return UsageError(f"missing argument {match[1]}", hint=_usage_line(context) or help_of)
    if match := re.match(r"Invalid value for '?(.*?)'?: '?(.*?)'? is not one of (.*)", message):
        return _no_choice(*match.groups())
    if match := re.match(r"Invalid value for '?(.*?)'?: (.*)", message):
        return UsageError(f"{match[1]}: {_small(match[2])}", hint=help_of)
    return UsageError(_small(message), hint=help_of)


def _setting_hint(option: str, words: Sequence[str], path: str) -> str:
    """How to give a setting that was typed as an option; empty if there is no such setting."""
    from adasparse_cli.config.settable import settings
    from adasparse_cli.config.unknown import key_meant

    key = key_meant(option.lstrip("-").replace("-", "_"), [one.key for one in settings()])
    if key is None:
        return ""
    return f"settings are given as key=value: {path} {key}={_value_after(option, words)}"


def _value_after(option: str, words: Sequence[str]) -> str:
    """The value that was typed with an option."""
    for k, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == option and equals:
            return shlex.quote(value)
        if word == option and k + 1 < len(words) and not words[k + 1].startswith("--"):
            return shlex.quote(words[k + 1])
    return "VALUE"


def _takes_settings(context: Any) -> bool:
    return context is not None and any(one.name == "overrides" for one in context.command.params)


def _no_choice(name: str, value: str, offered: str) -> UsageError:
    from adasparse_cli.choices import nearest

    names = re.findall(r"'(.*?)'", offered)
    close = nearest(value, names)
    lead = f"did you mean {close}? " if close else ""
    return UsageError(f"{name}: unknown value {value!r}", hint=f"{lead}valid values: {', '.join(names)}")


def _usage_line(context: Any) -> str:
    """The usage of a command, without its options."""
    if context is None:
        return ""
    text = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    return f"usage: {text.replace('[OPTIONS] ', '').translate(str.maketrans('', '', '{}'))}"


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]
