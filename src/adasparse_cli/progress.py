"""How work under way looks: a bar on a terminal, a line now and then elsewhere; on stderr. Floor 5."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from adasparse_cli import render

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# A line of progress this often, where there is no terminal to draw a bar on.
LINE_SECONDS = 10.0


class ProgressDisplay:
    """Progress as a bar on a terminal, as a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._unit, self._done = "", "", 0
        self._total: int | None = None
        self._started = self._spoke = 0.0

    def __enter__(self) -> Self:
        if render.err.is_terminal:
            from rich.progress import (  # commands that only read do without
                BarColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}", style="dim", markup=False),
                console=render.err,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if self._bar is not None:
            self._bar.stop()

    def start(self, what: str, total: int | None, unit: str) -> None:
        """A new piece of work of `total` units."""
        self._end()
        self._what, self._unit, self._total, self._done = what, unit, total, 0
        self._started = self._spoke = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(render.visible(what), total=total, rate="", detail="")

    def advance(self, amount: int, detail: Mapping[str, float] | None = None) -> None:
        """More of it is done; `detail` names the latest figures."""
        self._done += amount
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=amount, rate=self._rate(now), detail=_details(detail))
        elif now - self._spoke > LINE_SECONDS:
            self._spoke = now
            of = f" of {_amount(self._total, self._unit)}" if self._total else ""
            render.note(
                f"{self._what}: {_amount(self._done, self._unit)}{of}, {self._rate(now)} {_details(detail)}".rstrip()
            )

    def expect(self, total: int) -> None:
        """The work under way is more, or less, than was expected: `total` units in all."""
        self._total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def note(self, line: str) -> None:
        """A line that stays."""
        render.note(line)

    def _end(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        if self._what and self._done:
            seconds = time.monotonic() - self._started
            render.note(f"{self._what}: {_amount(self._done, self._unit)} in {seconds:.1f} s")
        self._what = ""

    def _rate(self, now: float) -> str:
        seconds = max(now - self._started, 1e-6)
        return f"{_amount(self._done / seconds, self._unit)}/s"


def _amount(number: float | None, unit: str) -> str:
    if number is None:
        return "?"
    if unit == "bytes":
        return f"{number / 2**20:,.1f} MiB"
    words = f"{number:,.0f}"
    return f"{words} {unit.removesuffix('s') if words == '1' else unit}"


def _details(detail: Mapping[str, float] | None) -> str:
    if not detail:
        return ""
    return "  ".join(f"{render.visible(name)} {_figure(value)}" for name, value in detail.items())


def _figure(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or value > 100 else f"{value:.4f}"
