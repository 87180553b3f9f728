"""Errors of settings as rows for programs: key, value, message, hint."""

from __future__ import annotations

import re

# The forms of the messages of `typed` and `unknown_key`; the suggestion after the message is its hint.
_UNKNOWN = re.compile(r"unknown setting (?P<key>[^\s:]+)")
_VALUE = re.compile(r"(?P<key>[\w.]+(?:\[\d+\])*)=(?P<value>.*?) (?:must|is not|names|needs)\b")
_MISSING = re.compile(r"(?P<key>[\w.]+) is missing")
_CHOICE = re.compile(r"(?P<key>\w+)=(?P<value>[^:\s]+): unknown")
_SUGGESTION = re.compile(r"(?P<message>.*?): (?P<hint>did you mean [^?]+\?)$", re.DOTALL)


def error_row(message: str, hint: str) -> dict[str, str | None]:
    """An error of a setting as a row.

    Returns:
        `key` and `value` of the setting, None if the error has none; `message`, and `hint`, what to do.
    """
    match = next((found for form in (_UNKNOWN, _CHOICE, _VALUE, _MISSING) if (found := form.match(message))), None)
    setting = match.groupdict() if match else {}
    if suggestion := _SUGGESTION.match(message):
        message, hint = suggestion["message"], suggestion["hint"]
    return {"key": setting.get("key"), "value": setting.get("value"), "message": message, "hint": hint}
