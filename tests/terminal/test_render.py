"""What a person reads: data as they stand, no column lost at any width, lines of files not wrapped."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from adasparse_cli.choices import Metric
from adasparse_cli.errors import UsageError
from adasparse_cli.execution.best_so_far import BestSoFar
from adasparse_cli.findings.finding import Best, cell
from adasparse_cli.terminal import render
from adasparse_cli.terminal.progress import ProgressDisplay
from adasparse_cli.terminal.render import (
    Format,
    chosen_format,
    complain,
    note,
    remark,
    say,
    show,
    show_machine,
)

MARKED = ("[/nope] :smile:", "[bold]red[/bold]", ":smile:", "[link=x]a[/link]", r"\[red]", "1 [2] 'x' 3.5")


def screen(monkeypatch: pytest.MonkeyPatch, width: int = 200, *, terminal: bool = False) -> io.StringIO:
    """Where both consoles write to from now on."""
    text = io.StringIO()
    for name, own in (("out", render.out), ("err", render.err)):
        # as they are, but for their file and width
        made = Console(file=text, width=width, force_terminal=terminal, emoji=own._emoji, markup=own._markup)
        monkeypatch.setattr(render, name, made)
    return text


def shown(rows: list[dict[str, Any]], width: int, **how: Any) -> str:
    with pytest.MonkeyPatch.context() as patch:
        text = screen(patch, width)
        show(rows, **how)
    return text.getvalue()


def tables(text: str) -> list[dict[str, str]]:
    """Of each table of one row its cells by their column, without blanks; folded cells are put together again."""
    found: list[list[list[str]]] = []
    for line in text.splitlines():
        if line.startswith("┏"):
            found.append([[], []])
        elif line.startswith(("┃", "│")):
            found[-1][line.startswith("│")].append(["".join(part.split()) for part in re.split("[┃│]", line)[1:-1]])
    return [dict(zip(*([*map("".join, zip(*lines, strict=True))] for lines in both), strict=True)) for both in found]


@pytest.mark.parametrize("text", MARKED)
@pytest.mark.parametrize("terminal", [False, True])
def test_what_looks_like_markup_is_shown_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, text: str, terminal: bool
) -> None:
    written = screen(monkeypatch, terminal=terminal)
    places: list[Callable[[], None]] = [
        lambda: show([{"domain": text, "rows": 3}]),
        lambda: show([{text: "a", "rows": 3}]),
        lambda: show([{"domain": "a"}], title=text),
        lambda: show([{"domain": "a"}], caption=text),
        lambda: say(text),
        lambda: note(text),
        lambda: complain(text, "see the manual"),
        lambda: complain("no", text),
    ]
    for place in places:
        written.seek(0)
        written.truncate()
        place()
        assert text in re.sub("\x1b\\[[0-9;]*m", "", written.getvalue())


@pytest.mark.parametrize("text", MARKED)
def test_a_bar_shows_what_looks_like_markup_as_it_stands(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    written = screen(monkeypatch, terminal=True)
    with ProgressDisplay() as progress:
        progress.start(text, 10, "rows")
        progress.advance(1, {text: 0.5})
        assert progress._bar is not None
        progress._bar.refresh()
    seen = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", written.getvalue())
    assert f"{text} ━" in seen
    assert f"{text} 0.5000" in seen


def test_a_terminal_obeys_nothing_that_stands_in_data() -> None:
    text = shown([{"domain": "a\x1b[2Jb\x07"}], 80, title="\x1b[31m", caption="\x9b2J")
    assert r"a\x1b[2Jb\x07" in text
    assert "\x1b" not in text
    assert "\x9b" not in text


ROW = {
    "arm": "adasparse-fusion",
    "seeds": 3,
    "GAUC by domain": "0.6123 ± 0.0012",
    "95 % interval": "[-0.0012, +0.0034]",
    "AUC": "0.6543 ± 0.0031",
    "multiply-adds per row": 123456,
    "what it is made of": "some words, and then more words than one line of a narrow terminal holds",
}


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120, 160, 200])
@pytest.mark.parametrize("arm", ["adasparse-fusion", "x" * 300, "loop.learning_rate=0.0005 network.embedding_std=0.01"])
def test_no_column_is_lost_at_any_width(width: int, arm: str) -> None:
    row = {**ROW, "arm": arm}
    text = shown([row], width)
    assert max(map(cell_len, text.splitlines())) <= width
    expected = {"".join(name.split()): "".join(cell(value).split()) for name, value in row.items()}
    found = tables(text)
    assert all(table["arm"] == expected["arm"] for table in found)
    assert {name: value for table in found for name, value in table.items()} == expected
    assert sum(map(len, found)) == len(expected) + len(found) - 1


def test_what_fits_is_one_table_and_nothing_of_it_is_folded() -> None:
    text = shown([ROW, {**ROW, "arm": "dnn"}], 240)
    assert len(text.splitlines()) == 6
    assert all(cell(value) in text for value in ROW.values())


@pytest.mark.parametrize(("width", "expected"), [(120, 1), (80, 2), (60, 3)])
def test_a_table_that_is_split_keeps_figures_and_intervals_whole(width: int, expected: int) -> None:
    text = shown([ROW], width)
    assert len(tables(text)) == expected
    if expected > 1:
        assert all(str(value) in text for value in (ROW["95 % interval"], ROW["AUC"], "123,456", ROW["arm"]))


def test_lines_stand_between_rows_where_the_first_column_is_folded() -> None:
    arms = [{"arm": f"loop.learning_rate={k} network.embedding_std=0.01", "AUC": 0.5} for k in range(3)]
    assert shown(arms, 40).count("├") == 2
    assert "├" not in shown(arms, 80)


@settings(max_examples=40)
@given(
    st.dictionaries(st.text("abc de", min_size=1, max_size=30), st.text("xyz 猫", max_size=60), min_size=1, max_size=7),
    st.integers(12, 100),
)
def test_every_letter_of_a_table_is_on_the_screen(row: dict[str, str], width: int) -> None:
    text = shown([row], width)
    assert max(map(cell_len, text.splitlines())) <= width
    for sign in "xyz猫":
        first, *others = (value.count(sign) for value in row.values())
        number = len(tables(text))
        assert text.count(sign) == number * first + sum(others)


def test_a_table_without_rows_has_its_header() -> None:
    assert "rows" in shown([], 80, columns=("split", "rows"))
    assert shown([], 80) == ""


@pytest.mark.parametrize(("form", "begin"), [(Format.latex, "% "), (Format.markdown, "- ")])
def test_a_remark_in_a_file_is_one_line_however_long(monkeypatch: pytest.MonkeyPatch, form: Format, begin: str) -> None:
    written = screen(monkeypatch, 40)
    remark("many words\n" * 60, form)
    (line,) = written.getvalue().splitlines()
    assert line == begin + " ".join(["many words"] * 60)


@pytest.mark.parametrize("form", [Format.json, Format.csv])
def test_a_remark_does_not_spoil_what_programs_read(monkeypatch: pytest.MonkeyPatch, form: Format) -> None:
    written = screen(monkeypatch)
    remark("a sentence", form)
    assert written.getvalue() == ""


def test_rows_of_files_are_one_line_each_whatever_is_in_them() -> None:
    rows = [{"domain": "[a]\nb|c", "rows": 3}]
    assert "| [a] b\\|c | 3 |\n" in shown(rows, 40, form=Format.markdown)
    # LaTeX would take a [ at the begin of a row for the argument of the \\ before it
    assert "\n{}[a] b|c & 3 \\\\\n" in shown(rows, 40, form=Format.latex)


def test_two_formats_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="--json and --csv"):
        chosen_format(True, True)
    with pytest.raises(UsageError, match="--csv and --format"):
        chosen_format(False, True, Format.text)
    assert [chosen_format(*flags) for flags in ((True, False), (False, True), (False, False))] == [
        Format.json, Format.csv, Format.text,
    ]  # fmt: skip
    assert chosen_format(False, False, Format.latex) is Format.latex


@pytest.mark.parametrize(("amount", "words"), [(1, "1 auction in"), (2, "2 auctions in")])
def test_one_of_a_thing_is_called_so(monkeypatch: pytest.MonkeyPatch, amount: int, words: str) -> None:
    written = screen(monkeypatch)
    with ProgressDisplay() as progress:
        progress.start("holding", amount, "auctions")
        progress.advance(amount)
    assert f"holding: {words}" in written.getvalue()


@pytest.mark.parametrize(
    "name", ["a\nerror: no", "a\r\tb", "\u202egpj.exe", "\u2066a\u2069", "a\u200bb", "\ufeffa", "\x85"]
)
def test_names_change_neither_lines_nor_directions(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        text = screen(patch, 120)
        for place in (
            lambda: show([{"domain": name, name: 1}], title=name),
            lambda: say(name),
            lambda: complain(name, "x"),
        ):
            text.seek(0)
            text.truncate()
            place()
            written = text.getvalue()
            assert not set(written) & set("\r\t\u202e\u2066\u2069\u200b\ufeff\x85")
            assert not any(line.startswith("error: no") for line in written.splitlines())


def test_json_for_a_terminal_escapes_what_a_terminal_obeys(monkeypatch: pytest.MonkeyPatch) -> None:
    written = screen(monkeypatch)
    show_machine([{"name": "\x9b2J \u202e ü", "other": "\x1b[2J"}], Format.json)
    assert not set(written.getvalue()) & set("\x1b\x9b\u202e")
    assert json.loads(written.getvalue())["rows"][0] == {"name": "\x9b2J \u202e ü", "other": "\x1b[2J"}


def test_a_name_of_2000_characters_is_cut_in_a_table_and_whole_in_files() -> None:
    name = "begin" + "x" * 1990 + "end"
    text = shown([{"domain": name, "rows": 3}], 100)
    assert len(text.splitlines()) < 20
    assert all(part in text for part in ("begin", "end", "1,998"))
    with pytest.MonkeyPatch.context() as patch:
        written = screen(patch, 100)
        complain(name * 50, name * 50)
        assert len(written.getvalue()) < 5000
    assert name in shown([{"domain": name}], 100, form=Format.csv)
    assert name in shown([{"domain": name}], 100, form=Format.json)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (247.0, "247"),
        (247.25, "247.2"),
        (12.5, "12.50"),
        (0.7123456, "0.7123"),
        (1.0, "1.0000"),
        (1234.5, "1,234"),
        (None, "n/a"),
    ],
)
def test_numbers_have_the_digits_they_deserve(value: float | None, text: str) -> None:
    assert cell(value, "rows: median") == text


def test_piped_lines_and_commands_are_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, a sentence is wrapped between words, and a command is left to the terminal."""
    command = "next: adasparse train --model dnn data=clicks loop.epochs=1 network.hidden=[8,8,8] seed=9    to compare"
    sentence = "a sentence that is longer than the forty columns of this terminal, by far"
    for terminal in (False, True):
        written = screen(monkeypatch, 40, terminal=terminal)
        say(command)
        say(sentence)
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in written.getvalue().splitlines()]
        assert lines[0] == command
        assert (lines[1] == sentence) is not terminal


def test_the_best_value_stands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"arm": "a", "AUC": Best("0.71 ± 0.01")}, {"arm": "b", "AUC": "0.65 ± 0.01"}]
    written = screen(monkeypatch, terminal=True)
    show(rows)
    bold = [line for line in written.getvalue().splitlines() if "0.71" in line or "0.65" in line]
    assert "\x1b[1m" in bold[0]
    assert "\x1b[1m" not in bold[1]
    assert "| a | **0.71 ± 0.01** |" in shown(rows, 80, form=Format.markdown)
    assert "**" not in shown(rows, 80) + shown(rows, 80, form=Format.csv)


def test_names_of_runs_are_whole_at_60_columns() -> None:
    rows = [
        {
            "time (UTC)": "2026-11-27 23:01:15",
            "data": "clicks",
            "model": "adasparse-fusion",
            "run": "20261127T230115Z-s10",
            "state": "done",
            "AUC": 0.5,
        }
    ]
    assert "20261127T230115Z-s10" in shown(rows, 60)


def finished_runs(progress: ProgressDisplay, number: int) -> None:
    """Runs whose valid metric rises up to the second-last one."""
    best = BestSoFar(Metric.gauc_domain)
    for k in range(number):
        value = 0.7 + 0.001 * (k if k < number - 1 else -1)
        best.report(progress, f"fusion, seed {k}", value, arm="fusion", seed=k, after=f"  {k + 1} of {number} runs")


@pytest.mark.parametrize("width", [60, 100, 160])
def test_finished_runs_are_a_live_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """While it runs: the newest rows that fit above the bar. At the end: all rows, once; the best one is bold."""
    written = screen(monkeypatch, width, terminal=True)
    with ProgressDisplay() as progress:
        assert progress._bar is not None
        progress.start("study", 100, "rows")
        finished_runs(progress, 40)
        written.seek(0)
        written.truncate()
        progress._bar.refresh()
        live = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", written.getvalue())
        assert "0.7380" in live
        assert "0.7000" not in live, "only the newest rows fit"
        assert live.rindex("0.7380") < live.rindex("study")
        assert all(len(line) <= width for line in live.splitlines())
        written.seek(0)
        written.truncate()
    end = written.getvalue()[written.getvalue().rindex("arm") :]
    assert "\x1b[1m0.7380" in end
    assert end.count("\x1b[1m0.7") == 1
    for k in range(39):
        assert f"{0.7 + 0.001 * k:.4f}" in end
    assert "best so far" in end


def test_the_best_run_of_each_model_of_a_search_is_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    written = screen(monkeypatch, 100, terminal=True)
    best = {model: BestSoFar(Metric.auc, among=model) for model in ("dnn", "star")}
    values = [
        ("dnn", "width=8", 0.61),
        ("star", "width=8", 0.55),
        ("dnn", "width=16", 0.63),
        ("star", "width=16", 0.54),
    ]
    with ProgressDisplay() as progress:
        for model, setting, value in values:
            best[model].report(progress, f"{model} {setting}", value, arm=model, seed=0, setting=setting)
    end = written.getvalue()[written.getvalue().rindex("arm") :]
    assert re.findall("\x1b\\[1m(0\\.[0-9]{4})", end) == ["0.5500", "0.6300"]
    plain = [line.split("│")[1:-1] for line in re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", end).splitlines() if "0." in line]
    assert [[cell.strip() for cell in line] for line in plain] == [
        ["dnn", "width=8", "0", "0.6100", "0.6100"],
        ["star", "width=8", "0", "0.5500", "0.5500"],
        ["dnn", "width=16", "0", "0.6300", "0.6300"],
        ["star", "width=16", "0", "0.5400", "0.5500"],
    ]


def test_progress_of_several_runs_is_counted_once_with_its_total(monkeypatch: pytest.MonkeyPatch) -> None:
    written = screen(monkeypatch)
    monkeypatch.setattr(ProgressDisplay, "_rate", lambda self, now: "10 rows/s")
    monkeypatch.setattr("adasparse_cli.terminal.progress.LINE_SECONDS", -1.0)
    with ProgressDisplay() as progress:
        progress.start("study", 214_284, "rows")
        progress.advance(0, {"runs done": (0, 4)})
        progress.advance(45_954, {"runs done": (1, 4), "loss": 0.25})
    assert written.getvalue().splitlines()[:2] == [
        "study: 0 of 214,284 rows, 10 rows/s, 0 of 4 runs done",
        "study: 45,954 of 214,284 rows, 10 rows/s, 1 of 4 runs done, loss 0.2500",
    ]


def test_finished_runs_are_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    written = screen(monkeypatch)
    with ProgressDisplay() as progress:
        finished_runs(progress, 3)
    assert written.getvalue().splitlines() == [
        "fusion, seed 0  valid gauc_domain 0.7000  best so far 0.7000  1 of 3 runs",
        "fusion, seed 1  valid gauc_domain 0.7010  best so far 0.7010  2 of 3 runs",
        "fusion, seed 2  valid gauc_domain 0.6990  best so far 0.7010 (fusion, seed 1)  3 of 3 runs",
    ]


def test_the_live_table_is_drawn_once_per_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of many runs must not cost a core: refreshes reuse its lines."""
    screen(monkeypatch, 100, terminal=True)
    drawn = []
    monkeypatch.setattr("adasparse_cli.terminal.render.tables", lambda *given: drawn.append(given) or [])
    with ProgressDisplay() as progress:
        assert progress._bar is not None
        finished_runs(progress, 2)
        progress._bar.refresh()
        before = len(drawn)
        progress._bar.refresh()
        progress._bar.refresh()
        assert len(drawn) == before
