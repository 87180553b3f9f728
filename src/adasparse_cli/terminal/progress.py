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

    from adasparse_cli.prep.recipe import Details

# Seconds between two lines of progress without a terminal.
LINE_SECONDS = 10.0
# Lines of the terminal that the live table leaves for its frame, the bar and the last notes.
OTHER_LINES = 8


class FinishedRuns:
    """The finished runs as a table; in a live display, the newest runs that fit into the terminal."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self._best: dict[str, int] = {}
        self._drawn: tuple[tuple[int, int, int], list[Any]] | None = None

    def add(self, row: Mapping[str, Any], *, best: bool, among: str = "") -> None:
        """Add a run. `best` marks it as the best so far among the runs that `among` names."""
        if best:
            self._best[among] = len(self.rows)
        self.rows.append(row)

    def tables(self, width: int, first: int = 0) -> Iterable[RenderableType]:
        """The rows from `first` on; the values of the best runs are bold."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        shown = [
            {
                name: Best(row[name])
                if index in self._best.values() and name.startswith("valid")
                else row.get(name, "")
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

    def advance(self, amount: int, detail: Details | None = None) -> None:
        """Advance the work by `amount`; `detail` has the latest metrics."""
        self._done += amount
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=amount, rate=self._rate(now), detail="  ".join(_details(detail)))
        elif now - self._spoke > LINE_SECONDS:
            self._spoke = now
            parts = [_amount(self._done, self._unit, of=self._total), self._rate(now), *_details(detail)]
            render.note(f"{self._what}: {', '.join(parts)}")

    def expect(self, total: int) -> None:
        """Correct the expected total of the work."""
        self._total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def note(self, line: str) -> None:
        """Print a line."""
        render.note(line)

    def finished(self, row: Mapping[str, Any], line: str, *, best: bool, among: str = "") -> None:
        """Report a finished run: as a row of the live table on a terminal, as a line elsewhere."""
        if self._bar is None:
            render.note(line)
        else:
            self._runs.add(row, best=best, among=among)

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


def _amount(number: float, unit: str, *, of: float | None = None) -> str:
    """An amount with its unit, such as `1 row`, `3 of 8 rows`, or `1.0 MiB`."""
    divisor, digits, unit = (2**20, ",.1f", "MiB") if unit == "bytes" else (1, ",.0f", unit)
    shown = [format(part / divisor, digits) for part in ([number, of] if of else [number])]
    return f"{' of '.join(shown)} {unit.removesuffix('s') if shown[-1] == '1' else unit}"


def _details(detail: Details | None) -> list[str]:
    """Figures with their names, such as `loss 0.3` or `1 of 4 runs done`."""
    return [
        f"{value[0]:,} of {value[1]:,} {render.visible(name)}"
        if isinstance(value, tuple)
        else f"{render.visible(name)} {_figure(value)}"
        for name, value in (detail or {}).items()
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or value > 100 else f"{value:.4f}"
