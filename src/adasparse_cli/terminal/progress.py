"""Progress on stderr: a bar and a table of finished runs on a terminal, lines elsewhere. Floor 5."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from adasparse_cli.findings.finding import Best
from adasparse_cli.terminal import render

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.progress import Progress, TaskID

# Seconds between two lines of progress without a terminal.
LINE_SECONDS = 10.0
# Lines of the terminal that the live table leaves for its frame, the bar and the last notes.
OTHER_LINES = 8


class FinishedRuns:
    """The finished runs as a table; in a live display, the newest runs that fit into the terminal."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self._best: int | None = None
        self._drawn: tuple[tuple[int, int, int], list[Any]] | None = None

    def add(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Add a run. `best` marks it as the best so far."""
        self._best = len(self.rows) if best else self._best
        self.rows.append(row)

    def tables(self, width: int, first: int = 0) -> Iterable[RenderableType]:
        """The rows from `first` on; the value of the best run is bold."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        shown = [
            {
                name: Best(row[name]) if index == self._best and name.startswith("valid") else row.get(name)
                for name in names
            }
            for index, row in enumerate(self.rows)
        ]
        return render.tables(names, shown[first:], width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The newest rows. The lines are kept until a row is added or the terminal changes its size."""
        key = len(self.rows), options.max_width, console.height
        if self._drawn is None or self._drawn[0] != key:
            first = max(len(self.rows) - max(console.height - OTHER_LINES, 1), 0)
            lines = [
                segment for table in self.tables(options.max_width, first) for segment in console.render(table, options)
            ]
            self._drawn = key, lines
        yield from self._drawn[1]


class ProgressDisplay:
    """Progress as a bar on a terminal, and as lines elsewhere."""

    def __init__(self) -> None:
        self._runs = FinishedRuns()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._unit, self._done = "", "", 0
        self._total: int | None = None
        self._started = self._spoke = 0.0

    def __enter__(self) -> Self:
        if render.err.is_terminal:
            from rich.progress import (  # imported late, because commands that only read need no bar
                BarColumn,
                Progress,
                TaskProgressColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            runs = self._runs

            class BarAndTable(Progress):
                def get_renderables(self) -> Iterable[RenderableType]:
                    if runs.rows:
                        yield runs
                    yield self.make_tasks_table(self.tasks)

            self._bar = BarAndTable(
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
            for table in self._runs.tables(render.err.width) if self._runs.rows else ():
                render.err.print(table)

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Start a piece of work of `total` units."""
        self._end()
        self._what, self._unit, self._total, self._done = what, unit, total, 0
        self._started = self._spoke = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(render.visible(what), total=total, rate="", detail="")

    def advance(self, amount: int, detail: Mapping[str, float] | None = None) -> None:
        """Advance the work by `amount`; `detail` has the latest metrics."""
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
        """Correct the expected total of the work."""
        self._total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def note(self, line: str) -> None:
        """Print a line."""
        render.note(line)

    def finished(self, row: Mapping[str, Any], line: str, *, best: bool) -> None:
        """Report a finished run: as a row of the live table on a terminal, as a line elsewhere."""
        if self._bar is None:
            render.note(line)
        else:
            self._runs.add(row, best=best)

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
