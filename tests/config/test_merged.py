"""What is composed without Hydra is what Hydra composes, to the order of keys. Truth: Hydra itself."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import example, given
from hypothesis import strategies as st

from adasparse_cli.config.compose import compose
from adasparse_cli.config.grammar import opened
from adasparse_cli.config.merged import merged
from adasparse_cli.config.packaged_sections import offered, packaged_section
from adasparse_cli.config.plain_words import plain_word
from adasparse_cli.config.spelling import spelled
from adasparse_cli.config.with_hydra import composed
from adasparse_cli.errors import UsageError

GROUPS = ("data", "network", "model", "loop", "tracking")
ARMS = [
    (name, arm, tuple(words))
    for name in offered("experiment")
    for arm, words in (packaged_section("experiment", name) or {})["arms"].items()
]
COMMON = ("data=twin-3m", "threads=1", "network.hidden=[64,32]", "loop.learning_rate=0.0005", "paths.runs=other/runs")
CHANGES = [
    ("raw=logs/a.csv",), ("raw=[a.csv,b.csv]",), ("raw=[]", "seed=3"), ("threads=null", "device=cuda"), ("loop.eps=1e-07",),
    ("loop.placebo=True", "loop.epochs=2", "loop.epochs=auto"), ('data.name="my data"',), ("data=tabular", "data.label=clicked"),
    ("data=tabular", "data.roles={user: ignored, shop: domain_aware}", "data.kinds={price:numeric}"),
    ("data=movielens-1m", "data.sides={users:{key:{a:b}}}"), ("data=tabular", "data.roles={}", "data.domain=[a, b]"),
    ("++data.own.deep=1", "++data.own.list=[1,[2,3]]"), ("++model.pruner.rank=8",),
]  # fmt: skip


def text_of(tree: Any) -> str:
    return json.dumps(tree)


def both(root: str, words: tuple[str, ...]) -> tuple[Any, Any]:
    asked = [word if word.startswith("+") else opened(word) for word in words]
    return merged(root, asked, {}), composed(root, asked, {}, words)


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in offered(group)])
def test_every_packaged_choice_is_merged_as_hydra_composes_it(group: str, name: str) -> None:
    for root in ("train", "prep") if group == "data" else ("train",):
        own, hydra = both(root, (f"{group}={name}",))
        assert text_of(own) == text_of(hydra)
        assert packaged_section(group, name) == hydra[group]


@pytest.mark.parametrize(("experiment", "arm", "words"), ARMS, ids=[f"{name}: {arm}" for name, arm, _ in ARMS])
def test_every_arm_of_an_experiment_is_merged_as_hydra_composes_it(
    experiment: str, arm: str, words: tuple[str, ...]
) -> None:
    own, hydra = both("train", (*words, *COMMON))
    assert text_of(own) == text_of(hydra)


@pytest.mark.parametrize("name", offered("experiment"))
def test_every_experiment_is_read_as_hydra_reads_it(name: str) -> None:
    own, hydra = both(f"experiment/{name}", ())
    assert text_of(own) == text_of(hydra)


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_values_are_set_as_hydra_sets_them(words: tuple[str, ...]) -> None:
    own, hydra = both("train", words)
    assert text_of(own) == text_of(hydra)


@pytest.mark.parametrize(
    "words",
    [
        ("model=none-such",), ("model.none=1",), ("none.such=1",), ("model=dnn", "model=star"), ("model.pruner=3",), ("model=3",),
        ("raw={a: 1}",), ("seed=[1,${seed}]",), ("seed=1,2",), ("~seed",), ("hydra.run.dir=x",), ("data@x=twin",), ("data=common",), ("++model={mode: scaling}",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_may_be_wrong_is_left_to_hydra(words: tuple[str, ...]) -> None:
    assert merged("train", words, {}) is None


def test_a_composed_tree_is_the_callers_own() -> None:
    first = compose("train", ["network.hidden=[8,4]"])
    first["network"]["hidden"].append(1)
    first["model"]["pruner"]["inputs"].clear()
    again = compose("train", ["network.hidden=[8,4]"])
    assert again["network"]["hidden"] == [8, 4]
    assert again["model"]["pruner"]["inputs"] == ["domain"]


def test_errors_are_those_of_hydra() -> None:
    with pytest.raises(UsageError, match=r"unknown setting model\.ranks for model=apg") as found:
        compose("train", ["model=apg", "model.ranks=3"])
    assert found.value.hint == "did you mean model.rank?"


leaf = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12), st.sampled_from(["a/b.c", "x-1"])
)  # fmt: skip
values = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True), inner, max_size=3),
    ),
    max_leaves=8,
)


def same_as_hydra(text: str) -> bool:
    """Whether a value that is read without Hydra is read equally with it; True where it is not read."""
    found = plain_word(f"loop.key={text}")
    if found is None:
        return True
    read = OverridesParser.create().parse_override(f"loop.key={text}")
    assert not read.is_sweep_override()
    own, other = found.value, read.value()
    both_nan = isinstance(own, float) and math.isnan(own)
    return both_nan or (repr(own) == repr(other) and found.key == read.key_or_group)


@given(values)
def test_values_as_they_are_spelled_are_read_as_hydra_reads_them(value: Any) -> None:
    assert same_as_hydra(spelled(value))


@given(st.text(alphabet="ab1.0-+e_/:,[]{}\" 'nullTrue\\$", max_size=14))
@example("1_000")
@example("1.")
@example(".5")
@example("01")
@example("1e5")
@example("-0")
@example("nan")
@example("[ a , b ]")
@example("{a: b, c :[]}")
@example('"a, b"')
@example("a b")
def test_any_text_is_read_as_hydra_reads_it_or_left_to_it(text: str) -> None:
    try:
        assert same_as_hydra(text)
    except HydraException:
        raise AssertionError(f"{text!r} is read, and Hydra refuses it") from None


def test_what_is_typed_daily_needs_no_hydra() -> None:
    for word in ("seed=1", "model.mode=fusion", "network.hidden=[256,128]", "raw=logs/day.csv", "loop.eps=1e-8"):
        assert plain_word(word) is not None
    assert plain_word("model=my_package.my_model:MyModel") is not None
