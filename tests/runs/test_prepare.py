"""What to type to name or make data again: words that mean the same settings, whatever is in them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.config.as_words import data_words
from adasparse_cli.config.compose import compose
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.errors import UsageError
from adasparse_cli.files import read_sealed, write_sealed
from adasparse_cli.prepared.earlier_data import ADDED_LATER
from adasparse_cli.runs.data_words import words_for
from adasparse_cli.runs.prepare import (
    PrepJob,
    ensure_prepared,
    plan_data,
    plan_prep,
    run_prep,
    with_prepared,
    words_to_prepare,
)
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import to_yaml

MANIFEST = Manifest(
    format_version=1, name="", recipe="", settings={}, sources=(), label="y", domain=("d",), fields=(), num_domains=1,
    num_all_domains=1, splits={}, rejected={}, duplicates=0, unseen={}, has_user=False, has_timestamp=False, files={},
    fingerprint="",
)  # fmt: skip

STRANGE = (
    "plain", "two words", "a,b", "it's", 'say "no"', "back\\slash", "ends\\", '\\"', "\\\\'", "größe", "", " ", "null",
    "True", "nan", "007", "1e5", "-", "[x]", "{y: z}", "k=v", "$(rm)", "`x`", "a\tb", "#", "*?~!",
)  # fmt: skip


@pytest.mark.parametrize("text", STRANGE)
def test_any_text_comes_back_from_the_words_and_from_a_file(tmp_path: Path, text: str) -> None:
    """Truth: the values that are composed from what was typed, after the shell has taken its quotes away."""
    values = compose("prep", ["data=tabular"])["data"] | {
        "name": "mine", "label": text, "domain": ["d", text], "user": text, "kinds": {"a b": "numeric"}
    }  # fmt: skip
    words = words_to_prepare(values, [text, "b.csv"], text)
    assert words is not None
    tree = compose("prep", shlex.split(words))
    assert (tree["data"], tree["raw"], tree["paths"]["data"]) == (values, [text, "b.csv"], text)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml({"data": values, "raw": [text]}), encoding="utf-8")
    assert compose("prep", [], config_file=path)["data"] == values


def test_what_is_packaged_is_not_repeated() -> None:
    for name in offered("data"):
        values = compose("prep", [f"data={name}"])["data"]
        assert data_words(values) == [f"data={name}"]
    values = compose("prep", ["data.rows=20000", "data.heterogeneity=0.0", "data.name=tiny", "data.seed=3"])["data"]
    words = ["data=twin", "data.name=tiny", "data.rows=20000", "data.seed=3", "data.heterogeneity=0.0"]
    assert sorted(data_words(values) or ()) == sorted(words)
    assert (
        words_to_prepare(compose("prep", ["data=iaac"])["data"], ["/a b/x.zip"], "data")
        == "data=iaac 'raw=\"/a b/x.zip\"'"
    )


def test_only_prep_replaces_prepared_data(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("y,d,e\n" + "".join(f"{k % 2},d{k % 3},e{k % 5}\n" for k in range(60)))
    words = [
        "data=tabular",
        f"raw={table}",
        "data.label=y",
        "data.split=random",
        "data.name=mine",
        f"paths.data={tmp_path}",
    ]

    def asked(domain: str) -> PrepJob:
        own = [*words, f"data.domain=[{domain}]"]
        return plan_data(compose("prep", own), own)

    first = ensure_prepared(asked("d"))
    assert first.fresh
    assert not ensure_prepared(asked("d")).fresh
    with pytest.raises(
        UsageError, match=r"was prepared with data.domain=\[d\], but this command asks for data.domain=\[e\]"
    ):
        ensure_prepared(asked("e"))
    assert run_prep(plan_prep([*words, "data.domain=[e]"])).fresh


def test_raw_files_that_changed_are_not_prepared_in_passing(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("y,d\n" + "".join(f"{k % 2},d{k % 3}\n" for k in range(60)))
    words = ["data=tabular", "data.label=y", "data.domain=[d]", "data.name=mine", f"paths.data={tmp_path}"]
    first = run_prep(plan_prep([*words, f"raw={table}"])).manifest
    table.write_text("y,d\n" + "".join(f"{k % 2},d{k % 3}\n" for k in range(40)))
    found = ensure_prepared(plan_data(compose("train", words), words))
    assert (found.fresh, found.manifest.fingerprint) == (False, first.fingerprint)
    named = [*words, f"raw={table}"]
    with pytest.raises(UsageError, match=r"a.csv has changed since .*mine was prepared from it"):
        ensure_prepared(plan_data(compose("train", named), named))
    other = [*words, f"raw={tmp_path / 'b.csv'}"]
    with pytest.raises(UsageError, match=r"mine was not prepared from .*b.csv"):
        ensure_prepared(plan_data(compose("train", other), other))


def test_settings_that_a_recipe_got_later_do_not_make_data_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data.rows=1000", f"paths.data={tmp_path}"]
    made = run_prep(plan_prep(words))
    values = read_sealed(made.folder / "manifest.json", "format_version", unsealed=None)
    del values["settings"]["max_rejected"]
    write_sealed(made.folder / "manifest.json", values)
    monkeypatch.setitem(ADDED_LATER, "twin", {"max_rejected": 0.001})
    assert not run_prep(plan_prep(words)).fresh
    assert not ensure_prepared(plan_data(compose("train", words), words)).fresh


def test_settings_that_words_cannot_say_give_none() -> None:
    values = compose("prep", ["data=tabular", "data.label=y", "data.domain=[d]"])["data"]
    assert words_to_prepare({**values, "name": "x", "roles": {"größe": "ignored"}}, [], "data") is None
    assert words_to_prepare({**values, "name": "x", "recipe": "my.reader", "extra": 5}, [], "data") is None


@pytest.mark.parametrize(
    ("name", "recipe", "words"),
    [
        ("twin", "twin", "data=twin"),
        ("tiny", "twin", "data=tiny"),
        ("iaac-sample", "tabular", "data=iaac-sample"),
        ("mine", "tabular", "data=mine"),
        # a packaged name over another recipe would prepare that one's data in place of these
        ("twin", "tabular", "data=tabular data.name=twin"),
        ("mine", "my.reader", "data=mine"),
        ("007", "tabular", "'data=\"007\"'"),
        ("null", "tabular", "'data=\"null\"'"),
        ("1.5", "tabular", "'data=\"1.5\"'"),
    ],
)
def test_prepared_data_are_named_by_as_few_words_as_choose_them(
    name: str, recipe: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = replace(MANIFEST, name=name, recipe=recipe)
    assert words_for(manifest) == words
    (tmp_path / "data" / name).mkdir(parents=True)
    write_sealed(Path("data") / name / "manifest.json", manifest.to_json())
    tree = compose("train", with_prepared(shlex.split(words)))["data"]
    assert (tree["name"], tree["recipe"]) == (name, recipe)


@pytest.mark.parametrize(
    ("section", "start"),
    [
        ({"name": "mine", "recipe": "tabular", "label": "y", "domain": ["d"]}, "tabular"),
        ({"recipe": "tabular", "label": "y", "domain": ["d"]}, "tabular"),
        ({"name": "tiny", "recipe": "twin", "rows": 5000}, "twin"),
        ({"name": "twin-3m"}, "twin-3m"),
        ({"rows": 5000}, "twin"),
    ],
)
def test_a_file_starts_from_the_data_of_its_recipe(tmp_path: Path, section: dict[str, Any], start: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml({"data": section}), encoding="utf-8")
    assert compose("prep", [], config_file=path)["data"] == compose("prep", [f"data={start}"])["data"] | section
    assert plan_prep([], config_file=path).settings.recipe == section.get("recipe", "twin")


def test_a_file_for_a_recipe_of_someones_own_brings_nothing_of_another(tmp_path: Path) -> None:
    common = compose("prep", ["data=common"])["data"]
    section = common | {"name": "mine", "recipe": "my.reader", "domain": ["d"], "extra": 5}
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml({"data": section}), encoding="utf-8")
    assert compose("train", [], config_file=path)["data"] == section
