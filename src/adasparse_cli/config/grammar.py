"""Overrides, `key=value` in Hydra's grammar: parsing, checks, spelling and expansion."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.plain_words import plain_word
from adasparse_cli.config.unknown import looks_like_file, raw_hint
from adasparse_cli.errors import UsageError
from adasparse_cli.typed import DEEPEST

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


def with_flags(overrides: Sequence[str], flags: Mapping[str, str | None]) -> list[str]:
    """Overrides, including the values of command line options: `--mode fusion` is `model.mode=fusion`.

    Choices of a group (`model=dnn`) come before keys of the group.

    Raises:
        UsageError: an option and an override give the same key different values.
    """
    words = list(overrides)
    named = {key: value for key, _, value in (word.partition("=") for word in words)}
    for key, value in flags.items():
        if value is None:
            continue
        if key in named and named[key] != value:
            raise UsageError(f"{key} is given twice: {named[key]} and {value}", hint="keep one of the two")
        if key not in named:
            words.append(f"{key}={value}")
    return sorted(words, key=lambda word: "." in word.partition("=")[0])


def expanded(words: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Split overrides in Hydra's sweep grammar (`key=a,b`, `key=range(1,4)`) into overrides with one value and all combinations of the others.

    Raises:
        UsageError: an override cannot be parsed.
    """
    common, several = [], []
    for word in words:
        override = _parsed(word, "a grid is written key=a,b,c or key=range(0,4)")
        if override.is_interval_sweep():
            raise UsageError(f"{word!r}: a grid has no intervals", hint="name the values, or use adasparse hpo")
        if override.is_sweep_override():
            several.append([f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()])
        else:
            common.append(word)
    return common, [list(chosen) for chosen in itertools.product(*several)]


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values, as text."""

    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`; on a logarithmic scale if their ratio is large."""

    low: float
    high: float
    whole: bool

    @property
    def logarithmic(self) -> bool:
        """Whether the interval is sampled on a logarithmic scale."""
        return self.low > 0 and self.high / self.low >= 10


def search_space(words: Sequence[str]) -> tuple[list[str], dict[str, Choice | Interval]]:
    """Overrides with one value, and the search range of the other keys: `key=a,b`, `key=interval(0.1,1)`, `key=range(1,9)`.

    Raises:
        UsageError: an override cannot be parsed, or an interval is empty.
    """
    from hydra.core.override_parser.types import IntervalSweep

    common: list[str] = []
    space: dict[str, Choice | Interval] = {}
    for word in words:
        override = _parsed(word, "a search is written key=a,b,c, key=interval(0.1,1) or key=range(1,9)")
        if not override.is_sweep_override():
            common.append(word)
            continue
        key, value = override.key_or_group, override.value()
        if isinstance(value, IntervalSweep):
            low, high = value.start, value.end
            if low is None or high is None or not low < high:
                raise UsageError(f"{word!r}: the interval is empty", hint=f"for example {key}=interval(0.1,1)")
            space[key] = Interval(float(low), float(high), isinstance(low, int) and isinstance(high, int))
        else:
            space[key] = Choice(tuple(override.sweep_string_iterator()))
    return common, space


def override_values(words: Iterable[str]) -> dict[str, Any]:
    """The value of each key in overrides; of overrides with the same key, the last one counts."""
    found = {}
    for word in words:
        plain = plain_word(word)
        if plain is None:
            override = _by_hydra(word)
            found[str(override.key_or_group)] = override.value()
        else:
            found[plain.key] = plain.value
    return found


def _by_hydra(word: str) -> Override:
    """An override, read with Hydra's grammar, which takes a tenth of a second to load."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed: Override = OverridesParser.create().parse_override(word)
    return parsed


def _parsed(word: str, hint: str) -> Override:
    from hydra.errors import HydraException

    try:
        if _depth(word) > DEEPEST:  # the parser would take seconds to fail
            raise RecursionError
        parsed = _by_hydra(word)
    except (HydraException, RecursionError):
        raise UsageError(f"{shown(word)} cannot be read", hint=hint) from None
    if not parsed.key_or_group:
        raise UsageError(f"{word!r} names no key", hint=hint)
    return parsed


def require_readable(words: Sequence[str]) -> None:
    for word in words:
        if "=" not in word:
            raise _no_setting(word)
        if plain_word(word) is not None and not word.startswith("+"):
            continue
        override = _parsed(
            word,
            "settings are key=value, for example loop.batch_size=2048; quote values with spaces, commas, = or brackets, for example "
            "'raw=\"day=1/a.csv\"'",
        )
        _require_plain(override, word)
        if override.is_sweep_override():
            hint = "a run takes one value per key; write a list as [a,b]"
            raise UsageError(f"{word!r} names several values", hint=hint)
        if override.is_delete() or override.is_add() or override.is_force_add():
            raise UsageError(f"{word!r}: keys can be set, but not added or removed", hint="write key=value")


def _no_setting(word: str) -> UsageError:
    """The error for a word that is not an override: a file name, the name of a model or a data set, or anything else."""
    if looks_like_file(word):
        return UsageError(f"{shown(word)} is a file, not a setting", hint=raw_hint(word))
    for group in ("model", "data", "loop"):
        if word in offered(group):
            return UsageError(f"{shown(word)} is a {group}, not a setting", hint=f"write {group}={word}")
    return UsageError(
        f"{shown(word)} cannot be read", hint="settings are key=value, for example loop.batch_size=2048 or data=twin"
    )


def _require_plain(override: Override, word: str) -> None:
    """Check that an override is a plain value: no references, and no settings of Hydra itself, which can import modules."""
    key = str(override.key_or_group)
    if key.split(".")[0].split("/")[0] == "hydra" or override.package is not None:
        raise UsageError(f"{shown(word)}: this is not a setting", hint="adasparse config show prints all keys")
    for text in _texts(override.value()):
        if "${" in text:
            raise UsageError(
                f"{shown(word)}: ${{…}} is not allowed: its value would be saved with the run, may be secret, "
                "and differs elsewhere",
                hint="write the value itself",
            )
        if "\0" in text:
            raise UsageError(f"{shown(word)} holds a NUL character", hint="write the value without it")


def _texts(value: Any) -> Iterator[str]:
    """Every text in the value of an override."""
    from hydra.core.override_parser.types import ChoiceSweep, QuotedString

    if isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for item in [*value, *value.values()] if isinstance(value, Mapping) else value:
            yield from _texts(item)
    elif isinstance(value, ChoiceSweep):
        yield from _texts(list(value.list))


def opened(word: str) -> str:
    """Allow new keys in a mapping, for example `data.roles={user: ignored}`; `typed` checks them."""
    (value,) = override_values([word]).values()
    return f"++{word}" if isinstance(value, dict) else word


def opened_section(word: str) -> str:
    """As `opened`, for the mappings of a file, which are split into keys that the packaged values may not have."""
    return f"++{word}" if re.match(r"(data|model|loop|network)\.", word) else word


def _depth(word: str) -> int:
    """The nesting depth of brackets in an override, including brackets in quotes."""
    return max(itertools.accumulate((sign in "[{(") - (sign in ")}]") for sign in word), default=0)


def shown(word: str) -> str:
    return repr(word if len(word) <= 200 else f"{word[:200]}…")
