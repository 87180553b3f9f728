"""Reads overrides whose values need no grammar: numbers, words, simple quotes, lists and mappings of these.

Hydra's parser takes a tenth of a second to load and milliseconds per override. A test compares both.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from adasparse_cli.typed import DEEPEST

_WORD = re.compile(r"(\+\+)?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)=(.+)", re.ASCII)
_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[+-]?(0|[1-9][0-9]*)(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)", re.ASCII)
_BARE = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_OWN_MODEL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)
_TOKEN = re.compile(r" *([\[\]{}:,]|\"[^\"'\\$\0\n]*\"|[\w./+-]+) *", re.ASCII)
_CONSTANTS = {"null": None, "true": True, "false": False}
_NUMBERS_IN_WORDS = ("nan", "inf")


@dataclass(frozen=True)
class PlainWord:
    """An override.

    Args:
        forced: whether the key may be new (`++key=value`).
    """

    key: str
    value: Any
    forced: bool


class _NotPlainError(Exception):
    pass


@functools.lru_cache(maxsize=4096)
def plain_word(word: str) -> PlainWord | None:
    """An override as key and value; None if only Hydra's grammar can read it. The value must not be changed."""
    found = _WORD.fullmatch(word)
    if found is None or found[2].split(".")[0] == "hydra":
        return None
    if found[2] == "model" and _OWN_MODEL.fullmatch(found[3]):
        return PlainWord(found[2], found[3], forced=bool(found[1]))
    try:
        tokens = _tokens(found[3])
        value = _value(tokens, 0)
    except _NotPlainError:
        return None
    return None if tokens else PlainWord(found[2], value, forced=bool(found[1]))


def _tokens(text: str) -> list[str]:
    """The tokens of a value, the last one first; spaces are only allowed inside brackets."""
    found, place = [], 0
    if text != text.strip():
        raise _NotPlainError
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise _NotPlainError
        found.append(token[1])
        place = token.end()
    return found[::-1]


def _value(tokens: list[str], depth: int) -> Any:
    """Remove the tokens of a value from the end, and return the value."""
    if depth > DEEPEST:
        raise _NotPlainError
    first = _next(tokens)
    if first == "[":
        return _list(tokens, depth)
    if first == "{":
        return _mapping(tokens, depth)
    return _primitive(first)


def _list(tokens: list[str], depth: int) -> list[Any]:
    found: list[Any] = []
    if tokens and tokens[-1] == "]":
        tokens.pop()
        return found
    while True:
        found.append(_value(tokens, depth + 1))
        end = _next(tokens)
        if end == "]":
            return found
        if end != ",":
            raise _NotPlainError


def _mapping(tokens: list[str], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if tokens and tokens[-1] == "}":
        tokens.pop()
        return found
    while True:
        key = _next(tokens)
        if not isinstance(_primitive(key), str) or key[0] == '"' or key in found or _next(tokens) != ":":
            raise _NotPlainError
        found[key] = _value(tokens, depth + 1)
        end = _next(tokens)
        if end == "}":
            return found
        if end != ",":
            raise _NotPlainError


def _primitive(text: str) -> Any:
    if text[0] == '"':
        return text[1:-1]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if not _BARE.fullmatch(text) or text.lower() in _NUMBERS_IN_WORDS:
        raise _NotPlainError
    return _CONSTANTS.get(text.lower(), text)


def _next(tokens: list[str]) -> str:
    if not tokens:
        raise _NotPlainError
    return tokens.pop()
