"""A search along one setting at a time, as a sequence of questions: which settings to try next, given what the others were worth."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Settings to evaluate, in the order of their keys; the answer is the worth of each, None where it has none.
Questions = list[dict[str, Any]]
Answers = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a search ended.

    Args:
        start, best: settings. start_worth, best_worth: None where none of them has one.
        trials: settings that were evaluated.
        at_edge: keys of walked lists whose best value is the first or the last: a better one may lie beyond.
        complete: whether a whole pass found nothing better; else the budget was spent before.
    """

    start: Mapping[str, Any]
    best: Mapping[str, Any]
    start_worth: float | None
    best_worth: float | None
    trials: int
    at_edge: tuple[str, ...]
    complete: bool


def is_walked(values: Sequence[Any]) -> bool:
    """Whether a list is an axis: three or more numbers, tried from the current one outwards."""
    return len(values) > 2 and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)


def coordinate_search(
    space: Mapping[str, Sequence[Any]], start: Mapping[str, Any], *, budget: int, least_gain: float
) -> Generator[Questions, Answers, Found]:
    """Change one setting at a time, the first of `space` first, and keep what is better; pass after pass until none is.

    A walked list goes from the current value to both neighbours, then on in the better direction; any other list is tried in
    full. A value replaces the current one only if it is worth at least `least_gain` more, so that chance alone changes
    little. The same answers always lead to the same questions, so a search that was stopped is simply asked again.

    Args:
        start: a value for each key of `space`.
        budget: how many settings may be evaluated, `start` among them.
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
    """What is known in the course of a search."""

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
        """Have settings evaluated that are not known yet, as many as the budget allows."""
        new = [one for one in wanted if repr(one) not in self.worth]
        room = self.budget - len(self.worth)
        self.cut_short = self.cut_short or len(new) > room
        if new[:room]:
            answers = yield new[:room]
            self.worth |= {repr(one): answer for one, answer in zip(new[:room], answers, strict=True)}

    def take_best(self, key: str, values: Sequence[Any]) -> bool:
        """Go to the best known value of a key, if it gains enough."""
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
        """Go along an axis as long as it gains."""
        moved = True
        while moved:
            place = list(values).index(self.best[key])
            near = values[max(place - 1, 0) : place + 2]
            yield from self.ask([{**self.best, key: value} for value in near])
            moved = self.take_best(key, near)
