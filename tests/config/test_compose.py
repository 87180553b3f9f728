"""Words and YAML to typed settings: what is right comes through, what is wrong is named."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from adasparse_cli.choices import Between
from adasparse_cli.config.compose import compose, explicit_keys
from adasparse_cli.config.grammar import with_flags
from adasparse_cli.config.packaged_sections import packaged_section
from adasparse_cli.errors import UsageError
from adasparse_cli.runs.train_job import plan_train
from adasparse_cli.typed import from_yaml, plain, to_yaml, typed, without_passwords


class Colour(StrEnum):
    red = "red"
    blue = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    share: Annotated[float, Between(0, 1)]
    pair: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: Annotated[int, Between(1)]
    name: str
    colour: Colour
    widths: tuple[int, ...]
    limit: Annotated[int, Between(1)] | None
    flag: bool
    roles: dict[str, Colour]
    inner: Inner


GOOD: dict[str, Any] = {
    "count": 3,
    "name": "x",
    "colour": "red",
    "widths": [4, 2],
    "limit": None,
    "flag": True,
    "roles": {"a": "blue"},
    "inner": {"share": 1, "pair": [1, 2]},
}


def test_a_right_section_becomes_its_dataclass_and_comes_back() -> None:
    value = typed(GOOD, Outer, "outer")
    assert value.colour is Colour.red
    assert value.widths == (4, 2)
    assert value.inner == Inner(share=1.0, pair=(1, 2))
    assert plain(value) == GOOD
    assert from_yaml(to_yaml(plain(value))) == GOOD


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"count": 0}, "outer.count=0 must be at least 1"),
        ({"count": 1.5}, "whole number"),
        ({"count": True}, "whole number"),
        ({"colour": "rde"}, "did you mean red"),
        ({"widths": 3}, "must be a list"),
        ({"flag": "yes"}, "true or false"),
        ({"inner": {"share": 2, "pair": [1, 2]}}, "outer.inner.share=2 must be at least 0 and at most 1"),
        ({"inner": {"share": 0.5, "pair": [1]}}, "must have 2 entries"),
        ({"roles": {"a": "green"}}, "outer.roles.a=green must be one of red, blue"),
        ({"colr": 1}, "unknown setting outer.colr: did you mean outer.colour?"),
        ({"name": "???"}, "outer.name has no value"),
        ({"limit": 0}, "at least 1"),
        ({"inner": {"share": float("nan"), "pair": [1, 2]}}, "must be"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        typed({**GOOD, **changes}, Outer, "outer")
    assert words in caught.value.message


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        typed({**GOOD, "count": 0, "colour": "x", "flag": 3}, Outer, "outer")
    assert all(name in caught.value.message for name in ("outer.count", "outer.colour", "outer.flag"))


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {
            "count": st.integers(1, 10**9),
            "name": st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20).filter(
                lambda text: text != "???"
            ),
            "colour": st.sampled_from(["red", "blue"]),
            "widths": st.lists(st.integers(), max_size=4),
            "limit": st.none() | st.integers(1, 9),
            "flag": st.booleans(),
            "roles": st.dictionaries(st.sampled_from("abc"), st.sampled_from(["red", "blue"])),
            "inner": st.fixed_dictionaries(
                {"share": st.floats(0, 1), "pair": st.lists(st.integers(), min_size=2, max_size=2)}
            ),
        }
    )
)
def test_settings_survive_yaml_and_back(values: dict[str, Any]) -> None:
    assert plain(typed(from_yaml(to_yaml(values)), Outer, "outer")) == values


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["data.splitt=day"], "unknown setting data.splitt", "did you mean data.split?"),
        (["modle=dnn"], "unknown setting modle", "did you mean model?"),
        (["lop=maml"], "unknown setting lop", "did you mean loop?"),
        (["thread=1"], "unknown setting thread", "did you mean threads?"),
        (["model=dnn", "model.mode=fusion"], "unknown setting model.mode for model=dnn", "settings here: model.name"),
        (["model.learning_rate=0.1"], "unknown setting model.learning_rate", "did you mean loop.learning_rate?"),
        (["model=mamml"], "model=mamml: unknown model", "did you mean loop=maml?"),
        (["model=adasparce"], "model=adasparce: unknown model", "did you mean adasparse?"),
        (["data.domain=[a"], "cannot be read", "key=value"),
        (["seed=1,2"], "several values", "[a,b]"),
        (["+new=1"], "keys can be set", "key=value"),
        (["data.name=${oc.env:HOME}"], "would be saved", "the value itself"),
        (["data.name=${ oc.env:HOME}"], "would be saved", "the value itself"),
        ([r"data.name=$\{oc.env:HOME\}"], "would be saved", "the value itself"),
        (["data.roles={a: '${oc.${seed}:HOME}'}"], "would be saved", "the value itself"),
        (["data=${oc.env:HOME}"], "would be saved", "the value itself"),
        (["hydra.searchpath=[pkg://antigravity]"], "not a setting", "config show"),
        (["data@model=twin"], "not a setting", "config show"),
        (["data.name=" + "[" * 10_000], "cannot be read", "key=value"),
        (["train"], "cannot be read", "key=value"),
    ],
)
def test_words_that_cannot_be_used_are_explained(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        compose("train", words)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_packaged_values_give_way_to_a_file_and_a_file_to_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: dnn\nseed: 5\nloop: {batch_size: 64, epochs: 3}\ndata: {name: 'a, b'}\n")
    tree = compose("train", ["loop.epochs=7"], config_file=path)
    assert (tree["model"]["name"], tree["seed"], tree["data"]["name"]) == ("dnn", 5, "a, b")
    assert (tree["loop"]["batch_size"], tree["loop"]["epochs"]) == (64, 7)
    assert explicit_keys(["data.split=day", "data=twin"], config_file=path) >= {"data.split", "loop.batch_size", "seed"}


def test_no_resolver_is_registered_while_settings_are_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a spelling that nobody has thought of can read anything: there is nothing to call."""
    seen: list[bool] = []

    def compose_and_look(*words: Any, **named: Any) -> Any:
        seen.extend(OmegaConf.has_resolver(name) for name in ("oc.env", "oc.decode", "oc.create", "hydra", "now"))
        return OmegaConf.create({"path": "${oc.env:HOME}"})

    monkeypatch.setattr("adasparse_cli.config.with_hydra.hydra_compose", compose_and_look)
    # words that no other test has, because composed values are kept, and that only Hydra can read
    assert compose("train", ["seed='31415926'"]) == {"path": "${oc.env:HOME}"}
    assert seen == [False] * 5
    assert OmegaConf.has_resolver("oc.env")


@pytest.mark.parametrize(
    "text", ["a: !!python/name:os.system x", "a: &a [1]\nb: *a\n", "a: " + "[" * 10_000, "a: " + "1" * 10_000, "- 1\n"]
)
def test_yaml_holds_plain_values_alone(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever the words
        from_yaml(text)


def test_passwords_in_addresses_are_not_kept() -> None:
    text = "uri: http://me:pass@host:5000/x\nother: https://host/a@b\n"
    assert without_passwords(text) == "uri: http://***@host:5000/x\nother: https://host/a@b\n"


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", ""])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError):
        compose("train", [], config_file=path)


def test_a_runs_own_config_file_gives_the_same_settings_again(tmp_path: Path) -> None:
    words = [f"paths.data={tmp_path}/d", "loop.batch_size=77", "model.mode=scaling", "data.heterogeneity=0.5"]
    job = plan_train(words)
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(job.config))
    assert plan_train([], config_file=path) == job


def test_flags_become_words_and_must_agree_with_them() -> None:
    assert with_flags(["seed=1"], {"model.mode": "fusion", "model": None}) == ["seed=1", "model.mode=fusion"]
    assert with_flags(["model.mode=fusion"], {"model.mode": "fusion"}) == ["model.mode=fusion"]
    with pytest.raises(UsageError, match="given twice"):
        with_flags(["model.mode=scaling"], {"model.mode": "fusion"})


@pytest.mark.parametrize("name", ["none-such", "", "../model/dnn", "a/b"])
def test_a_section_that_is_not_there_is_none(name: str) -> None:
    assert packaged_section("model", name) is None
