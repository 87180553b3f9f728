"""The search along one setting at a time: against every corner counted out, its budget, and what it asks of a person's files."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.config.compose import compose
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.private import with_private_folder
from adasparse_cli.errors import UsageError
from adasparse_cli.runs.train_job import model_flags
from adasparse_cli.search.coordinate import Found, coordinate_search, is_walked
from adasparse_cli.search.search_space import space_of
from adasparse_cli.studies.plan import named_models

Worth = Callable[[Mapping[str, Any]], float | None]
SPACE = {"rate": [1, 2, 3, 4, 5, 6, 7], "norm": [True, False], "width": [8, 16, 32, 64]}
START = {"rate": 4, "norm": True, "width": 16}


def searched(
    worth: Worth, *, budget: int = 1000, least_gain: float = 0.0, start: Mapping[str, Any] = START
) -> tuple[Found, list[dict[str, Any]]]:
    """Where a search ends, and all that it asked."""
    asked: list[dict[str, Any]] = []
    search = coordinate_search(SPACE, start, budget=budget, least_gain=least_gain)
    questions = next(search)
    while True:
        assert questions, "a search that asks nothing would never end"
        asked += questions
        try:
            questions = search.send([worth(one) for one in questions])
        except StopIteration as ended:
            found: Found = ended.value
            return found, asked


def separate(settings: Mapping[str, Any]) -> float:
    """Each setting has its own best value, whatever the others are."""
    return -abs(settings["rate"] - 6) + (0.5 if settings["norm"] is False else 0.0) - abs(settings["width"] - 32) / 64


def test_it_finds_the_best_of_all_where_settings_do_not_depend_on_one_another() -> None:
    everything = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    found, asked = searched(separate)
    assert dict(found.best) == max(everything, key=separate)
    assert found.best_worth == separate(found.best)
    assert found.start_worth == separate(START)
    assert found.complete
    assert found.trials == len(asked) < len(everything) / 2
    assert len({repr(one) for one in asked}) == len(asked)  # nothing twice


def test_a_second_pass_finds_what_the_first_change_made_possible() -> None:
    def worth(settings: Mapping[str, Any]) -> float:
        return 2.0 * (settings["norm"] is False) * (settings["rate"] == 5) + 0.1 * (settings["norm"] is False)

    found, _ = searched(worth)
    assert (found.best["rate"], found.best["norm"]) == (5, False)


def test_the_budget_bounds_what_is_asked_and_an_unfinished_pass_is_called_so() -> None:
    for budget in range(1, 12):
        found, asked = searched(separate, budget=budget)
        assert len(asked) == found.trials <= budget
        assert found.best_worth == max(separate(one) for one in asked)
        assert not found.complete


def test_a_small_gain_changes_nothing() -> None:
    found, _ = searched(lambda settings: 0.0009 * (settings["rate"] == 5), least_gain=0.001)
    assert dict(found.best) == START
    found, _ = searched(lambda settings: 0.0011 * (settings["rate"] == 5), least_gain=0.001)
    assert found.best["rate"] == 5


def test_a_failed_start_is_left_for_anything_that_works_and_failures_are_never_chosen() -> None:
    found, _ = searched(lambda settings: 1.0 if settings["rate"] == 3 else None)
    assert found.best["rate"] == 3
    assert found.start_worth is None
    found, _ = searched(lambda settings: None)
    assert found.best_worth is None
    assert dict(found.best) == START


def test_the_end_of_a_walked_list_is_named() -> None:
    found, _ = searched(lambda settings: float(settings["rate"]))
    assert found.best["rate"] == 7
    assert found.at_edge == ("rate",)
    assert searched(separate)[0].at_edge == ()


@pytest.mark.parametrize(
    ("values", "walked"), [([1, 2, 3], True), ([0.1, 0.2], False), ([None, 1, 2], False), ([True, False, True], False)]
)
def test_only_three_or_more_numbers_are_walked(values: list[Any], walked: bool) -> None:
    assert is_walked(values) is walked


@pytest.mark.parametrize("model", named_models([]))
def test_every_model_has_a_space_around_its_packaged_values(model: str) -> None:
    assert model in offered("search")
    tree = compose("train", [f"{key}={value}" for key, value in model_flags(model).items() if value is not None])
    space = space_of(model, tree)
    assert space["loop.learning_rate"][0] < tree["loop"]["learning_rate"] < space["loop.learning_rate"][-1]
    own = space.keys() - space_of("none of its own", tree).keys()
    assert len(own) == (0 if model in ("dnn", "deepfm") else 2)  # these have no settings of their own
    assert all(len(values) > 1 for values in space.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loop.lerning_rate: [0.1, 0.2]", "did you mean loop.learning_rate"),
        ("loop.learning_rate: 0.1", "not a list of two or more values"),
        ("loop.learning_rate: [0.4, 0.2, 0.3]", "in ascending order"),
    ],
)
def test_a_space_of_ones_own_with_a_fault_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine.yaml").write_text(text, encoding="utf-8")
    with with_private_folder(tmp_path), pytest.raises(UsageError) as caught:
        space_of("mine", compose("train", []))
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_a_start_outside_of_the_list_gets_its_place_in_it(tmp_path: Path) -> None:
    space = space_of("dnn", compose("train", ["loop.learning_rate=0.003", "network.dropout=0.1"]))
    assert space["loop.learning_rate"] == sorted([*space_of("dnn", compose("train", []))["loop.learning_rate"], 0.003])
    assert space["network.dropout"] == [0.0, 0.1, 0.2]
