"""The key of a domain as one text, without polars. `prepared.key` defines the format, and tests compare both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MISSING = "missing"
_LIKE_MISSING = re.compile(rf"\\*{MISSING}")


def joined_key(values: Sequence[Any]) -> str:
    """The text of a key; `None` is a missing value."""
    texts = [None if value is None else str(value) for value in values]
    return "/".join(MISSING if text is None else _escaped(text, alone=len(texts) == 1) for text in texts)


def _escaped(text: str, *, alone: bool) -> str:
    if (_LIKE_MISSING.fullmatch(text) is not None) if alone else (text == MISSING):
        return "\\" + text
    return text if alone else re.sub(r"[\\/]", r"\\\g<0>", text)
