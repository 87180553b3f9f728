"""Tab completion: names of models, data, runs and studies, settings and their values.

The shell waits for each answer, so nothing here loads torch, polars or Hydra, and nothing is written. After an error nothing
is offered, and the shell offers files.

Shells add a space after a unique completion. A key that still needs a value is therefore offered twice, alone
and with its default, so that the shell stops after `=`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

# zsh can list thousands of words, but a user cannot read them
MOST_RUNS = 200
# `model=NAME` and `loop=NAME` set these
CHOSEN_BY_GROUP = ("model.name", "loop.name")


def overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """Settings, `KEY=VALUE`: `loop.` offers keys, `loop.select=` values, `model=` names."""
    head, word = _whole_word(incomplete)
    if word.startswith("-"):
        return _of_option(ctx, word)
    found = [one for one in _settings_for(word, ctx) if one.startswith(word)]
    return _for_shell([one.removeprefix(head) for one in found])


def setting_keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Keys and common prefixes of keys, for `config explain`."""
    from adasparse_cli.config.packaged_sections import offered
    from adasparse_cli.config.settable import GROUPS, group_settings, root_settings

    keys = [one.key for one in root_settings()]
    keys += [one.key for group in GROUPS for name in offered(group) for one in group_settings(group, name)]
    prefixes = {key.rpartition(".")[0] for key in keys}
    return _starting(sorted({*keys, *prefixes} - {""}), incomplete)


def group_choices(ctx: typer.Context, incomplete: str) -> list[str]:
    """`GROUP=NAME`, for `config explain`."""
    from adasparse_cli.config.packaged_sections import offered
    from adasparse_cli.config.settable import GROUPS

    head, word = _whole_word(incomplete)
    found = [f"{group}={name}" for group in GROUPS for name in offered(group)]
    return [one.removeprefix(head) for one in found if one.startswith(word)]


def public_data(ctx: typer.Context, incomplete: str) -> list[str]:
    """Public data sets, for `data about`."""
    from adasparse_cli.catalogue.public_data import known_data

    return _starting(known_data(), incomplete)


def models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Models, and the loops that can be named in place of a model."""
    from adasparse_cli.config.packaged_sections import offered

    return _starting([*offered("model"), *(loop for loop in offered("loop") if loop != "standard")], incomplete)


def several_models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Models separated by commas; models that are already named are not offered again."""
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    return [before + comma + one for one in models(ctx, last) if one not in named]


def experiments(ctx: typer.Context, incomplete: str) -> list[str]:
    """The named studies of conf/experiment."""
    from adasparse_cli.config.packaged_sections import offered

    return _starting(offered("experiment"), incomplete)


def prepared_data(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of prepared data."""
    return _starting(_prepared(_folder(ctx, "data")), incomplete)


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """`latest`, runs by path or timestamp, and arms of studies; the shell completes file system paths."""
    from adasparse_cli.runs.chosen import LATEST, all_runs, study_arms

    if incomplete.startswith((".", "/", "~")):
        return []
    root = _folder(ctx, "runs")
    newest = all_runs(root)[-MOST_RUNS:][::-1]
    if incomplete[:1].isdigit():
        names = [run.name for run in newest]
    else:
        arms = (f"{arm.study}/{arm.arm}" for arm in study_arms(_folder(ctx, "studies")) if arm.runs)
        names = [LATEST, *(run.relative_to(root).as_posix() for run in newest), *arms]
    return _for_shell(_starting(names, incomplete))


def studies_or_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Studies, and everything that `runs` offers."""
    from adasparse_cli.runs.chosen import STUDY

    own = sorted(path.parent.name for path in _folder(ctx, "studies").glob(f"[!.]*/{STUDY}"))
    return [*_for_shell(_starting(own, incomplete)), *runs(ctx, incomplete)]


def studies(ctx: typer.Context, incomplete: str) -> list[str]:
    """Studies."""
    from adasparse_cli.runs.chosen import STUDY

    own = sorted(path.parent.name for path in _folder(ctx, "studies").glob(f"[!.]*/{STUDY}"))
    return _for_shell(_starting(own, incomplete))


def commands_with_settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """`train` or `prep`, or the first setting, for `config show`."""
    from adasparse_cli.config.settable import COMMANDS

    return [*_starting(COMMANDS, incomplete), *overrides(ctx, incomplete)]


def _settings_for(word: str, ctx: typer.Context) -> list[str]:
    """All completions of a setting that begins with `word`."""
    from adasparse_cli.config.packaged_sections import offered
    from adasparse_cli.config.settable import GROUPS, chosen_groups, default_choices, group_settings, root_settings

    key, is_complete, value = word.partition("=")
    if is_complete:
        before, comma, _ = ("", "", "") if "[" in value else value.rpartition(",")  # several values of a sweep
        return [f"{key}={before}{comma}{one}" for one in _values(key, ctx)]
    chosen: dict[str, str] = {}
    for other in _typed_before(ctx):
        group, _, name = other.partition("=")
        if group in GROUPS and name in offered(group):
            chosen |= chosen_groups([other])
    group, dot, _ = key.partition(".")
    commands = {name for one in root_settings() for name in one.commands}
    outside = [one for one in root_settings() if ctx.info_name not in commands or ctx.info_name in one.commands]
    if not dot:
        sections = [f"{one}{sign}" for one in default_choices() for sign in ("=", ".")]
        sections += dict.fromkeys(f"{one.key.partition('.')[0]}." for one in outside if "." in one.key)
        found = [*sections, *(f"{one.key}=" for one in outside if "." not in one.key)]
    else:
        names = {**default_choices(), **chosen}
        own = group_settings(group, names[group]) if group in names else outside
        found = [f"{one.key}=" for one in own if one.key not in CHOSEN_BY_GROUP]
    likely = [one for one in found if one.startswith(word)]
    if len(likely) == 1 and likely[0].endswith("="):
        key = likely[0].removesuffix("=")
        return [likely[0], *(f"{key}={one}" for one in _values(key, ctx))]
    if len(likely) == 1:  # `paths.`
        return _settings_for(likely[0], ctx)
    return likely


def _values(key: str, ctx: typer.Context) -> list[str]:
    """The values that are offered for a key: its closed set, or its default."""
    from adasparse_cli.config.packaged_sections import offered
    from adasparse_cli.config.settable import GROUPS, NO_DEFAULT, matching
    from adasparse_cli.config.spelling import spelled
    from adasparse_cli.errors import UsageError

    if key in GROUPS:
        return [*offered(key), *(_prepared(_folder(ctx, "data")) if key == "data" else ())]
    if key == "data.name":
        return _prepared(_folder(ctx, "data"))
    try:
        setting = next(one for one in matching(key, {}) if one.key == key)
    except (UsageError, StopIteration):
        return []
    default = [] if setting.default == NO_DEFAULT else [spelled(setting.default)]
    return list(dict.fromkeys([*setting.kind.values, *default]))


def _prepared(root: Path) -> list[str]:
    from adasparse_cli.prepared.place import MANIFEST

    # `prepared_folders` may write: it cleans up after a killed preparation
    return sorted(path.parent.name for path in root.glob(f"[!.]*/{MANIFEST}"))


def _folder(ctx: typer.Context, name: str) -> Path:
    """The folder that an option on the command line names, or the default."""
    given = ctx.params.get(name)
    paths = (word.partition("=") for word in _typed_before(ctx))
    setting = next((value for key, _, value in paths if key == f"paths.{name}"), None)
    return Path(given if isinstance(given, (str, Path)) else setting or name)


def _typed_before(ctx: typer.Context) -> list[str]:
    """The settings that are already on the command line; bash splits them at `=`."""
    return " ".join(map(str, ctx.params.get("overrides") or ())).replace(" = ", "=").split()


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _whole_word(incomplete: str) -> tuple[str, str]:
    """The part of the word before the replaced text, and the word as it was typed.

    bash treats `key=val` as three words and replaces the last one; other shells replace the word.
    """
    words = os.environ.get("COMP_WORDS", "").split()
    place = int(os.environ.get("COMP_CWORD") or 0)
    current = words[place] if 0 < place < len(words) else ""
    if current == "=" and place > 1:
        head = f"{words[place - 1]}="
        return head, head
    if place > 2 and words[place - 1 : place] == ["="]:
        head = f"{words[place - 2]}="
        return head, head + current
    return "", incomplete


def _of_option(ctx: typer.Context, word: str) -> list[str]:
    """bash's form of `--model=st`, for which the typing library receives only `st`."""
    name, _, value = word.partition("=")
    option = next((one for one in ctx.command.params if name in one.opts), None)
    return [] if option is None else [item.value for item in option.shell_complete(ctx, value)]


def _for_shell(names: Sequence[str]) -> list[str]:
    """Words quoted for bash, which inserts them unchanged; other shells add quotes themselves."""
    if "COMP_WORDS" not in os.environ:
        return list(names)
    return [re.sub(r"([\s\"'\\$`&|;<>(){}*?!#])", r"\\\1", name) for name in names]
