"""Coordinate search: change one setting at a time. The search yields the settings to evaluate next, and receives their values."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Settings to evaluate; the answers are their values (larger is better), None if an evaluation failed.
Questions = list[dict[str, Any]]
Answers = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The result of a search.

    Args:
        start: settings at the start.
        best: settings at the end.
        start_worth: value of `start`; None if its evaluation failed.
        best_worth: value of `best`; None if its evaluation failed.
        trials: number of evaluated settings.
        at_edge: keys of ordered lists whose best value is the first or the last, so a value outside may be better.
        complete: whether a full pass found nothing better; False if the budget ended the search.
    """

    start: Mapping[str, Any]
    best: Mapping[str, Any]
    start_worth: float | None
    best_worth: float | None
    trials: int
    at_edge: tuple[str, ...]
    complete: bool


def is_walked(values: Sequence[Any]) -> bool:
    """Whether a list is ordered: three or more numbers, tried from the current value outwards."""
    return len(values) > 2 and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def coordinate_search(
    space: Mapping[str, Sequence[Any]], start: Mapping[str, Any], *, budget: int, least_gain: float
) -> Generator[Questions, Answers, Found]:
    """Change one setting at a time in the order of `space`, keep improvements, and repeat until a pass finds none.

    In an ordered list, the search tries both neighbours of the current value and continues in the better direction. Other
    lists are tried completely. A value replaces the current one only if it gains at least `least_gain`, so that noise
    changes little. The search is deterministic: the same answers lead to the same questions, so an interrupted search
    resumes by asking again.

    Args:
        start: a value for each key of `space`.
        budget: maximum number of evaluated settings, including `start`.
    """
    state = _State(dict(start), budget, least_gain)
    yield from state.ask([dict(start)])
    complete = False
    while not complete and not state.spent:
        before = dict(state.best)
        for key, values in space.items():
            if is_walked(values):
                yield from state.walk(key, values)
            else:
                yield from state.ask([{**state.best, key: value} for value in values])
                state.take_best(key, values)
        complete = state.best == before and not state.cut_short
    walked = [key for key, values in space.items() if is_walked(values) and state.best[key] in (values[0], values[-1])]
    return Found(
        start=start,
        best=state.best,
        start_worth=state.worth_of(dict(start)),
        best_worth=state.worth_of(state.best),
        trials=len(state.worth),
        at_edge=tuple(walked),
        complete=complete,
    )


@dataclass
class _State:
    """The state of a search."""

    best: dict[str, Any]
    budget: int
    least_gain: float
    worth: dict[str, float | None] = field(default_factory=dict)
    cut_short: bool = False

    @property
    def spent(self) -> bool:
        return len(self.worth) >= self.budget

    def worth_of(self, settings: Mapping[str, Any]) -> float | None:
        return self.worth.get(repr(settings))

    def ask(self, wanted: Questions) -> Generator[Questions, Answers, None]:
        """Evaluate settings that were not evaluated before, within the budget."""
        new = [settings for settings in wanted if repr(settings) not in self.worth]
        room = self.budget - len(self.worth)
        self.cut_short = self.cut_short or len(new) > room
        if new[:room]:
            answers = yield new[:room]
            self.worth |= {repr(settings): answer for settings, answer in zip(new[:room], answers, strict=True)}

    def take_best(self, key: str, values: Sequence[Any]) -> bool:
        """Set a key to its best known value, if the gain is large enough."""
        now = self.worth_of(self.best)
        known = [(worth, value) for value in values if (worth := self.worth_of({**self.best, key: value})) is not None]
        if not known:
            return False
        worth, value = max(known, key=lambda pair: pair[0])
        if value == self.best[key] or (now is not None and (worth <= now or worth < now + self.least_gain)):
            return False
        self.best = {**self.best, key: value}
        return True

    def walk(self, key: str, values: Sequence[Any]) -> Generator[Questions, Answers, None]:
        """Move along an ordered list while the value improves."""
        moved = True
        while moved:
            place = list(values).index(self.best[key])
            near = values[max(place - 1, 0) : place + 2]
            yield from self.ask([{**self.best, key: value} for value in near])
            moved = self.take_best(key, near)
