"""Rejected rows: their record, examples for an error, and hints by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

OPEN_QUOTE = "has a quote that does not close on its line"
NOT_UTF8 = "is not UTF-8"
_ADVICE = {
    OPEN_QUOTE: "data.quoted_newlines=true reads line breaks in quotes",
    NOT_UTF8: "iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW converts a file in Windows-1252 or Latin-1",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """A rejected row. `line` counts from 1, including the header; `value` is truncated to 80 characters.

    `source` is the file's name by `source_names` among the files that are read together.
    """

    source: str
    line: int
    column: str
    value: str
    reason: str


def examples(rejects: Sequence[Reject], number: int = 3) -> str:
    """The first row of each of the most frequent reasons, then further rows: file, line, column, value, reason."""
    order = [reason for reason, _ in Counter(reject.reason for reject in rejects).most_common(number)]
    first = [next(reject for reject in rejects if reject.reason == reason) for reason in order]
    others = [reject for reject in rejects[: number + len(first)] if reject not in first]
    shown = (first + others)[:number]
    return "; ".join(
        f"{one.source}:{one.line}: {f'{one.column} ' if one.column else ''}{one.value[:40]!r} {one.reason}"
        for one in shown
    )


def advice(rejects: Sequence[Reject]) -> list[str]:
    """Hints for the reasons, if known."""
    reasons = {reject.reason for reject in rejects}
    return [said for reason, said in _ADVICE.items() if reason in reasons]
