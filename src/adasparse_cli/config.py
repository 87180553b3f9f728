"""Where Hydra meets the house: packaged YAML and words → a plain tree of values, and back to words. Floor 1.

The only module that imports Hydra and OmegaConf. What the values become is said in `typed.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException

from adasparse_cli.choices import nearest
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import read_small_text
from adasparse_cli.typed import DEEPEST, from_yaml

PACKAGE = "adasparse_cli.conf"
# Values in a file of settings; Hydra reads about 200 in a second.
MOST_KEYS = 2000


def compose(root: str, overrides: Sequence[str], *, config_file: Path | None = None) -> dict[str, Any]:
    """The values of a command, as plain dicts and lists.

    Precedence: packaged YAML < `config_file` < `overrides`.

    Args:
        root: name of a root file in conf/, such as `train`.
        overrides: words in Hydra's grammar, `key=value`.
        config_file: a YAML file of values in the shape of the root; `data: NAME` and its like choose from a group.

    Raises:
        UsageError: a word cannot be read, a key or a choice is unknown, a value refers to something else (`${…}`).
    """
    from_file = _file_overrides(config_file) if config_file else []
    words = [*from_file, *overrides]
    _require_readable(words)
    try:
        with _composing():
            opened = [*map(_opened_section, from_file), *map(_opened, overrides)]
            tree = hydra_compose(root, overrides=opened)
            return typing.cast("dict[str, Any]", OmegaConf.to_container(tree, resolve=False))
    except (HydraException, OmegaConfBaseException) as error:
        raise _explained(error, root, words) from None


@contextlib.contextmanager
def _composing() -> Iterator[None]:
    """Hydra with the packaged values and without any resolver: however `${name:…}` is spelled, there is nothing to call."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(PACKAGE, version_base="1.3"):
            resolvers = BaseContainer._resolvers  # no public function lists them
            held = dict(resolvers)
            resolvers.clear()
            try:
                yield
            finally:
                resolvers.update(held)
    finally:
        GlobalHydra.instance().clear()


def explicit_keys(overrides: Sequence[str], *, config_file: Path | None = None) -> set[str]:
    """The keys that a person named, such as `data.split`; choosing from a group (`data=twin`) names none below it."""
    words = [*(_file_overrides(config_file) if config_file else ()), *overrides]
    return {str(word.key_or_group) for word in OverridesParser.create().parse_overrides(words)}


@dataclasses.dataclass(frozen=True)
class DataChoice:
    """Which data overrides choose: the name after `data=`, the one after `data.name=`, and the folder of prepared data."""

    group: str | None
    name: str | None
    root: Path


def data_choice(overrides: Sequence[str], *, config_file: Path | None = None) -> DataChoice:
    """What a file and overrides say of the data to use, before anything is composed.

    Raises:
        UsageError: an override cannot be read.
    """
    words = [*(_file_overrides(config_file) if config_file else ()), *overrides]
    _require_readable(words)
    values = {own.key_or_group: own.value() for own in OverridesParser.create().parse_overrides(words)}
    group, name = (None if values.get(key) is None else str(values[key]) for key in ("data", "data.name"))
    return DataChoice(group, name, Path(str(values.get("paths.data") or _packaged(())["paths"]["data"])))


def with_flags(overrides: Sequence[str], flags: Mapping[str, str | None]) -> list[str]:
    """Overrides with typed flags spelled into them: `--mode fusion` is `model.mode=fusion`.

    Choices of a group (`model=dnn`) go before keys below them.

    Raises:
        UsageError: a flag and a word name the same key with different values.
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
    """Words in Hydra's sweep grammar (`key=a,b`, `key=range(1,4)`) as those of one value, and every combination of the others.

    Raises:
        UsageError: a word cannot be read.
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
    """One of some values, as words."""

    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A number from `low` to `high`; on a logarithmic scale where they are far apart."""

    low: float
    high: float
    whole: bool

    @property
    def logarithmic(self) -> bool:
        """Whether equal ratios are as likely as one another."""
        return self.low > 0 and self.high / self.low >= 10


def search_space(words: Sequence[str]) -> tuple[list[str], dict[str, Choice | Interval]]:
    """Words of one value, and what the keys of the others may be: `key=a,b`, `key=interval(0.1,1)`, `key=range(1,9)`.

    Raises:
        UsageError: a word cannot be read, or an interval is empty.
    """
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
                raise UsageError(f"{word!r}: the interval is empty", hint=f"such as {key}=interval(0.1,1)")
            space[key] = Interval(float(low), float(high), isinstance(low, int) and isinstance(high, int))
        else:
            space[key] = Choice(tuple(override.sweep_string_iterator()))
    return common, space


def _parsed(word: str, hint: str) -> Override:
    try:
        if _depth(word) > DEEPEST:  # the parser would take seconds to find that it cannot
            raise RecursionError
        parsed: Override = OverridesParser.create().parse_override(word)
    except (HydraException, RecursionError):
        raise UsageError(f"{_shown(word)} cannot be read", hint=hint) from None
    if not parsed.key_or_group:
        raise UsageError(f"{word!r} names no key", hint=hint)
    return parsed


def choices_in(group: str) -> list[str]:
    """The names that a group of conf/ offers, such as the data sets of `data`."""
    with _composing():
        loader = GlobalHydra.instance().config_loader()
        return sorted(name for name in loader.get_group_options(group) if name != "common")


def _file_overrides(path: Path) -> list[str]:
    """A YAML file's values as overrides, so that it composes like words do."""
    try:
        values = from_yaml(read_small_text(path))
    except FileNotFoundError:
        raise UsageError(f"--config {path}: there is no such file", hint="give a path to a YAML file") from None
    except IntegrityError as error:
        raise UsageError(f"--config {error.message}", hint="give a path to a YAML file of settings") from None
    except ValueError as error:
        raise UsageError(
            f"--config {path} cannot be used: {error}".replace("\n", " "), hint="its form is that of conf/train.yaml"
        ) from None
    groups, keys = [], []
    for name, value in values.items():
        if isinstance(value, dict):
            chosen = (
                _packaged_data(value) if name == "data" else value.get("name") if name in ("model", "loop") else None
            )
            if chosen is not None and (name == "data" or chosen in choices_in(name)):
                groups.append(f"{name}={chosen}")
            keys += [f"{name}.{key}={_spelled(item)}" for key, item in _leaves(value)]
        else:
            (groups if name in ("model", "loop", "data", "network") else keys).append(f"{name}={_spelled(value)}")
    if len(keys) > MOST_KEYS:
        raise UsageError(
            f"--config {path} has {len(keys):,} values, at most {MOST_KEYS:,} are read",
            hint="name only what differs from adasparse config show",
        )
    return [*groups, *keys]


def _packaged_data(section: Mapping[str, Any]) -> str | None:
    """Which of conf/data a file's section starts from; None where it does not say."""
    name, recipe = section.get("name"), section.get("recipe")
    if recipe is None:
        return name if name in choices_in("data") else None
    start = data_start(str(name), str(recipe))
    # a part of what someone else's recipe needs is laid over what is chosen already
    return None if start == "common" and not {"name", "domain"} <= section.keys() else start


def data_start(name: str, recipe: str) -> str:
    """The data set of conf/data that settings start from: of the same name and recipe, of the recipe alone, or `common`."""
    offered = choices_in("data")
    if name in offered and compose("prep", [f"data={name}"])["data"]["recipe"] == recipe:
        return name
    return recipe if recipe in offered else "common"


def data_words(values: Mapping[str, Any]) -> list[str] | None:
    """The words that choose a data set of conf/data and turn it into `values`; None where words cannot."""
    start = data_start(str(values["name"]), str(values["recipe"]))
    packaged = compose("prep", [f"data={start}"])["data"]
    differing = [f"data.{key}={_spelled(value)}" for key, value in values.items() if packaged.get(key, ...) != value]
    words = [f"data={start}", *differing]
    try:
        return words if compose("prep", words)["data"] == dict(values) else None
    except UsageError:
        return None


def settings_words(settings: Mapping[str, Any], sections: Sequence[str] = ("network", "model", "loop")) -> list[str]:
    """The words that turn the packaged settings of a run's model and loop into its own.

    Args:
        settings: the sections `network`, `model` and `loop`.
        sections: those to speak of.

    Raises:
        UsageError: the settings are none, or of a model or loop that is not known.
    """
    held = {name: section for name, section in settings.items() if isinstance(section, dict) and section}
    names = {name: held.get(name, {}).get("name") for name in ("model", "loop")}
    if not {*sections} <= held.keys() or not all(isinstance(name, str) for name in names.values()):
        raise UsageError("these are no settings of a run", hint="adasparse config show train prints such")
    packaged = dict(_leaves(_packaged(tuple(f"{group}={name}" for group, name in names.items()))))
    own = _leaves({name: held[name] for name in sections})
    return [word(key, value) for key, value in own if key in packaged and packaged[key] != value]


@functools.cache
def _packaged(words: tuple[str, ...]) -> dict[str, Any]:
    return compose("train", words)


def word(key: str, value: Any) -> str:
    """A setting as it is typed, before a shell's own quotes."""
    return f"{key}={_spelled(value)}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if (
            isinstance(value, dict)
            and value
            and all(re.fullmatch(r"[A-Za-z_]\w*", str(name), re.ASCII) for name in value)
        ):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _spelled(value: Any) -> str:
    """A value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(_spelled(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_spelled_key(key)}:{_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        bare = re.fullmatch(r"[A-Za-z_/][\w./-]*", value, re.ASCII)
        if bare and value.lower() not in ("null", "true", "false", "nan", "inf"):
            return value
        # backslashes count as such unless a quote follows them
        quoted = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + (found[2] and '\\"'), value)
        return f'"{quoted}"'
    return str(value)


def _spelled_key(key: str) -> str:
    """A key of a mapping; the grammar knows no quotes there."""
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", str(key))


def _require_readable(words: Sequence[str]) -> None:
    for word in words:
        override = _parsed(
            word,
            "words are key=value, such as loop.batch_size=2048; quote values with spaces, commas, = or brackets, such as "
            "'raw=\"day=1/a.csv\"'",
        )
        _require_plain(override, word)
        if override.is_sweep_override():
            hint = "one run takes one value; a list is written [a,b]"
            raise UsageError(f"{word!r} names several values", hint=hint)
        if override.is_delete() or override.is_add() or override.is_force_add():
            raise UsageError(f"{word!r}: keys can be set, not added or taken away", hint="write key=value")


def _opened(word: str) -> str:
    """A mapping such as `data.roles={user: ignored}` may bring new keys; `typed` checks them."""
    override = OverridesParser.create().parse_override(word)
    return f"++{word}" if isinstance(override.value(), dict) else word


def _opened_section(word: str) -> str:
    """A file's mappings were taken apart into keys, some of which the packaged values may lack; see `_opened`."""
    return f"++{word}" if re.match(r"(data|model|loop|network)\.", word) else word


def _require_plain(override: Override, word: str) -> None:
    """Settings are values: none refers to another place, and none speaks to Hydra itself, which can import modules."""
    key = str(override.key_or_group)
    if key.split(".")[0].split("/")[0] == "hydra" or override.package is not None:
        raise UsageError(f"{_shown(word)}: this is not a setting", hint="adasparse config show prints all keys")
    for text in _texts(override.value()):
        if "${" in text:
            raise UsageError(
                f"{_shown(word)}: ${{…}} is not resolved: what it reads would be saved with the run, may be secret, "
                "and differs elsewhere",
                hint="write the value itself",
            )
        if "\0" in text:
            raise UsageError(f"{_shown(word)} holds a NUL character", hint="write the value without it")


def _texts(value: Any) -> Iterator[str]:
    """Every text in the value of an override."""
    if isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for item in [*value, *value.values()] if isinstance(value, Mapping) else value:
            yield from _texts(item)
    elif isinstance(value, ChoiceSweep):
        yield from _texts(list(value.list))


def _depth(word: str) -> int:
    """How deep brackets are nested in a word, those in quotes included."""
    return max(itertools.accumulate((sign in "[{(") - (sign in ")}]") for sign in word), default=0)


def _shown(word: str) -> str:
    return repr(word if len(word) <= 200 else f"{word[:200]}…")


def _explained(error: Exception, root: str, words: Sequence[str]) -> UsageError:
    text = str(error)
    option = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if option:
        group, name = option.groups()
        offered = {one: one for one in choices_in(group)}
        if group == "model":
            offered |= {other: f"loop={other}" for other in choices_in("loop") if other != "standard"}
        close = nearest(name, offered)
        lead = f"did you mean {offered[close]}? " if close else ""
        return UsageError(
            f"{group}={name}: there is no {group} {name!r}", hint=f"{lead}there are {', '.join(offered.values())}"
        )
    key = re.search(r"[Cc]ould not override '([^']+)'", text)
    if key:
        known = _known_keys(root, words)
        parent, _, own = key.group(1).rpartition(".")
        beside = [name for name in known if name.rpartition(".")[0] == parent]
        # a section, such as `model`, is not what was meant by a key, such as `model.mode`
        leaves = [name for name in known if not any(other.startswith(f"{name}.") for other in known)]
        close = nearest(key.group(1), [name for name in leaves if nearest(own, [name.rpartition(".")[2]], alike=0.6)])
        others = (
            f"there are {', '.join(beside)}" if parent and beside else f"adasparse config show {root} prints all keys"
        )
        hint = f"did you mean {close}?" if close else others
        choice = next((one for one in reversed(words) if one.partition("=")[0] == parent), None)
        return UsageError(f"{key.group(1)} is no key" + (f" of {choice}" if choice else ""), hint=hint)
    return UsageError(text.splitlines()[0], hint=f"adasparse config show {root} prints all keys and values")


def _known_keys(root: str, words: Sequence[str]) -> list[str]:
    """Every key of the tree that the choices among `words` lead to."""
    choices = [word for word in words if re.fullmatch(r"(data|model|loop|network)=[\w-]+", word)]
    try:
        with _composing():
            tree = OmegaConf.to_container(hydra_compose(root, overrides=choices), resolve=False)
    except (HydraException, OmegaConfBaseException):
        return []
    keys: list[str] = []

    def walk(value: Any, prefix: str) -> None:
        for name, below in value.items():
            keys.append(prefix + name)
            if isinstance(below, dict):
                walk(below, f"{prefix}{name}.")

    walk(tree, "")
    return keys
