"""All settings on one Markdown page, with a table for each section, model, loop and recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.settable import GROUPS, NO_DEFAULT, Setting, group_settings, root_settings
from adasparse_cli.config.spelling import spelled

HEAD = """# Settings

On the command line, write settings as `KEY=VALUE`, for example `loop.batch_size=2048`. In a file for `--config`, write sections
as YAML mappings. `adasparse config explain KEY` explains a setting, and `adasparse config show` prints all values of a command.
`null` means "none". If a default is followed by a name in parentheses, it is the default of the data set, model or loop with this name.
`adasparse config explain KEY data=NAME` prints a default that is shortened to `{…}` here.

`adasparse config reference > docs/settings.md` writes this page.
"""
# Largest number of characters of a list or mapping that is shown together with other defaults.
LONGEST_DEFAULT = 80
# Largest number of names in a heading.
MOST_NAMES = 5
TITLES = {
    "data": "Data: `data=NAME`",
    "network": "Settings of all models: `network`",
    "model": "Models: `model=NAME`",
    "loop": "Training: `loop=NAME`",
    "tracking": "Metrics in other tools: `tracking=NAME`",
    "launcher": "Where a study trains its runs: `launcher=NAME`",
}
KINDS = {
    "data": "data sets",
    "network": "networks",
    "model": "models",
    "loop": "loops",
    "tracking": "trackers",
    "launcher": "launchers",
}


def reference_page() -> str:
    """The page."""
    parts = [HEAD, "## Settings outside the sections\n", *_table(root_settings())]
    for group in GROUPS:
        parts.append(f"\n## {TITLES[group]}\n")
        for names, found in _tables(group):
            if len(offered(group)) > 1:
                parts += _heading(group, names)
            parts += _table(found)
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


def default_words(setting: Setting, choices: Mapping[str, str] | None = None) -> str:
    """The default as a user types it.

    If names of the group have different defaults and none is chosen, each default is followed by its names. Long lists and
    mappings are then `[…]` or `{…}`.
    """
    group = setting.key.partition(".")[0]
    by_value: dict[str, list[str]] = {}
    for name in setting.of if group not in (choices or {}) else ():
        value = next(one.default for one in group_settings(group, name) if one.key == setting.key)
        by_value.setdefault(_short(value), []).append(name)
    if len(by_value) < 2:
        return _typed(setting.default)
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in by_value.items())


def _heading(group: str, names: Sequence[str]) -> list[str]:
    """The heading of a table. Many names follow the heading as a sentence; all names of a group are not listed."""
    every = len(offered(group))
    listed = ", ".join(f"`{group}={name}`" for name in names)
    if len(names) == every:
        return [f"\n### All {KINDS[group]}\n"]
    if len(names) > MOST_NAMES:
        return [f"\n### {len(names)} of {every} {KINDS[group]}\n", f"{listed}.\n"]
    return [f"\n### {listed}\n"]


def _short(value: object) -> str:
    text = _typed(value)
    return text if len(text) <= LONGEST_DEFAULT or not isinstance(value, (Mapping, list)) else f"{text[0]}…{text[-1]}"


def _typed(value: object) -> str:
    return "(required)" if value == NO_DEFAULT else spelled(value)


def _tables(group: str) -> Iterator[tuple[Sequence[str], Sequence[Setting]]]:
    """Names of a group, and the settings that exactly these names share."""
    if group == "model":  # one table per model, even if two models share a part
        by_model: dict[str, list[str]] = {}
        for name in offered(group):
            model = next(one.default for one in group_settings(group, name) if one.key == "model.name")
            by_model.setdefault(model, []).append(name)
        for names in by_model.values():
            yield names, group_settings(group, names[0])
        return
    found: dict[tuple[str, ...], dict[str, Setting]] = {}
    for name in offered(group):
        for setting in group_settings(group, name):
            found.setdefault(setting.of, {}).setdefault(setting.key, setting)
    for shared, own in sorted(found.items(), key=lambda item: -len(item[0])):
        yield shared, list(own.values())


def _table(found: Sequence[Setting]) -> list[str]:
    rows = [
        f"| `{one.key}` | {_cell(one.meaning)} | {_cell(one.kind.words)} | {_cell(default_words(one))} |"
        for one in found
    ]
    return ["| Key | Meaning | Type and valid values | Default |", "| --- | --- | --- | --- |", *rows]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
