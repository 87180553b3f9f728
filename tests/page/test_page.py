"""The page: complete, escaped, self-contained; and in a real browser it draws, sorts and filters without an error."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from typing import Any

import markupsafe
import pytest

from adasparse_cli.findings.card import ArmOutcome, Card, Measure, Outcome
from adasparse_cli.findings.finding import Figure, Finding, Interval, Style, Table, cell
from adasparse_cli.page.write import Page, embedded, page_text
from tests.page.browser import needs_a_browser, seen_in_a_browser

EVIL = "<script>alert('x')</script> & \"quotes\" </script>"
ROWS = [
    {"domain": "b/2", "rows": 5, "AUC": 0.7, "note": EVIL},
    {"domain": "a/10", "rows": 1200, "AUC": None, "note": "plain"},
    {"domain": "a/9", "rows": 30, "AUC": 0.55, "note": "other"},
]


def page() -> Page:
    table = Table(name="long", title="Every <domain>", rows=ROWS, long=True)
    figure = Figure(
        name="plot",
        title="A plot of <b>",
        summary="what it shows",
        traces=[{"type": "scatter", "x": [1, 2], "y": [3, 4], "name": name} for name in (html.escape(EVIL), "second")],
        layout={"xaxis": {"title": {"text": "x"}}},
    )
    finding = Finding(
        name="first",
        title="First",
        question=f"Is {EVIL} safe?",
        answers=["type `adasparse train`"],
        tables=[table, *(Table(name=name, title=name, rows=ROWS, choice=name) for name in ("one", "two"))],
        figures=[figure],
    )
    return Page(
        title=f"Title {EVIL}",
        lead="lead",
        facts={"data": EVIL},
        findings=[finding, Finding(name="b", title="Second", question="")],
    )


HOSTILE = (
    EVIL,
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "</style></title><!-- ",
    "{{ 7 * 7 }} {% raw %} ]]> javascript:alert(1)",
    "<a href='javascript:alert(1)'>a</a> \u2028 `<b>`",
)


class Structure(HTMLParser):
    """The tags of a page with the names of their attributes, in order, and the content of its script elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment",))


def texts_everywhere(text: str) -> Page:
    """A page with a text from data in every place that takes one."""
    rows = [{"domain": text, text: text, "AUC": 0.5}]
    tables = [
        Table(name="long", title=text, rows=rows, caption=text, long=True),
        Table(name="short", title=text, rows=rows),
        *(
            Table(name=name, title=text, rows=[{text: text, "command": text, "AUC": 0.5}], choice=text, shares=("AUC",))
            for name in ("one", "two")
        ),
    ]
    axis = {"title": {"text": text}, "ticktext": [text], "tickvals": [0]}
    trace = {
        "type": "bar",
        "name": text,
        "x": [text],
        "y": [1],
        "text": [text],
        "hovertext": [[text]],
        "hovertemplate": text,
    }
    layout = {"xaxis": axis, "title": {"text": text}, "annotations": [{"text": text}]}
    figure = Figure(
        name="f", title=text, summary=text, traces=[trace, {**trace, "marker": {"color": text}}], layout=layout
    )
    finding = Finding(
        name="first", title=text, question=text, answers=[text], tables=tables, figures=[figure], notes=[text]
    )
    card = Card(
        headline=text,
        remarks=[text],
        metric=text,
        arms=[
            ArmOutcome(
                arm=text, style=Style(text, text, text), outcome=Outcome.better, difference=0.1, interval=Interval(0.0, 0.2),
                detectable=0.1, larger=text,
            )
        ],
        measures=[Measure(name=text, value=text, note=text)],
    )  # fmt: skip
    return Page(title=text, lead=text, facts={text: text}, findings=[finding], card=card, footer={text: text})


@pytest.mark.parametrize("evil", HOSTILE)
def test_no_text_from_data_becomes_a_tag_an_attribute_or_a_script(evil: str) -> None:
    found = []
    for text in (evil, re.sub("[^`]", "x", evil)):
        parser = Structure()
        page_now = page_text(texts_everywhere(text))
        parser.feed(page_now)
        found.append(parser.tags)
    assert found[0] == found[1]
    page_now = page_text(texts_everywhere(evil))
    plots = json.loads(page_now.split('id="plots">')[1].split("</script>")[0])
    assert not re.findall(r"<(?!br>|/?extra>)", json.dumps(plots, ensure_ascii=False))


def test_tags_of_our_own_labels_stay() -> None:
    own = "a<br>b<extra></extra>"
    plots = json.loads(page_text(texts_everywhere(own)).split('id="plots">')[1].split("</script>")[0])
    assert plots["first-f"]["data"][0]["hovertemplate"] == own


def test_text_from_data_is_escaped_everywhere() -> None:
    text = page_text(page())
    assert "<script>alert" not in text
    assert '<code class="command">adasparse train</code>' in text
    assert html.escape("<script>alert('x')</script>", quote=False)[:12] in text


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Truth: no element of the page itself names another place; plotly's own code holds addresses, but loads none."""
    text = page_text(page())
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=[\"'](?!#)", own)
    assert "@import" not in own
    assert "url(" not in own


def test_embedded_json_can_end_no_script_and_comes_back_as_it_was() -> None:
    value: Any = {"a": [EVIL, 1.5, None]}
    text = embedded(value)
    assert "<" not in text
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="JSON"):
        embedded(float("nan"))


def test_cells_are_sorted_by_their_number_or_the_middle_of_their_interval() -> None:
    values = [1.5, Interval(0.1, 0.3), Interval(None, None), float("nan"), None]
    table = Table(name="t", title="T", rows=[{"a": value} for value in values], long=True)
    text = page_text(
        Page(title="t", lead="", facts={}, findings=[Finding(name="a", title="A", question="", tables=[table])])
    )
    assert re.findall(r'<td class="number"(?: data-value="(.*?)")?>', text) == ["1.5", "0.2", "", "", ""]


def test_a_page_without_plots_carries_no_plotly() -> None:
    plain = Page(title="t", lead="l", facts={}, findings=[Finding(name="a", title="A", question="")])
    assert len(page_text(plain)) < 30_000 < len(page_text(page()))


def test_a_long_cell_is_clamped_and_has_its_whole_text_beside_the_pointer() -> None:
    long, short = '"<' + "x" * 300, "y" * 40
    table = Table(name="t", title="T", rows=[{"long": long, "short": short}])
    finding = Finding(name="a", title="A", question="", tables=[table])
    text = page_text(Page(title="t", lead="l", facts={}, findings=[finding]))
    assert f'title="{markupsafe.escape(long)}"><div class="clamp">{markupsafe.escape(long)}</div></td>' in text
    assert f'<td class="text">{short}</td>' in text


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (None, "", "n/a"),
        (float("nan"), "", "n/a"),
        (True, "", "yes"),
        (1234567, "", "1,234,567"),
        (0.12345, "", "0.1235"),
        (12.345, "cut, %", "12.3"),
        (3.21, "seconds per run", "3.2"),
        (12345.6, "", "12,346"),
        (0.0, "minutes", "0"),
        (0.04, "minutes", "0.0"),
        (9.87, "minutes", "9.9"),
        (12.2, "minutes", "12"),
        (0.0012, "gain in GAUC", "+0.0012"),
        (0.0012, "GAUC difference", "+0.0012"),
        (-0.0012, "difference", "-0.0012"),
        (0.98, "predicted over actual positives", "0.9800"),
        (1.41, "RelaImpr, %", "+1.4"),
        ("text", "", "text"),
    ],
)
def test_values_are_written_as_a_person_reads_them(value: Any, column: str, text: str) -> None:
    assert cell(value, column) == text


SCRIPT = """
  const table = document.getElementById("table-first-long");
  const column = (k) => [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[k].textContent.trim());
  const click = (k) => table.tHead.rows[0].cells[k].querySelector("button").click();
  click(0); seen.text = column(0);
  click(1); seen.down = column(1);
  click(1); seen.up = column(1);
  click(2); seen.missing = column(2);
  click(2); seen.missingUp = column(2);
  const input = document.querySelector("input[type=search]");
  const type = (text) => { input.value = text; input.dispatchEvent(new Event("input")); return column(0); };
  seen.filtered = type("a/");
  seen.condition = type("rows > 20");
  seen.count = document.querySelector(".count").textContent;
  const before = document.documentElement.dataset.theme;
  document.getElementById("theme").click();
  seen.theme = before !== document.documentElement.dataset.theme;
  seen.drawn = document.querySelectorAll(".plot .main-svg").length > 0;
  seen.bar = document.querySelectorAll(".modebar-btn").length;
  seen.copies = document.querySelectorAll("code.command + .copy").length;
  const key = document.querySelectorAll(".key")[1];
  const shown = () => document.querySelectorAll(".plot .scatterlayer .trace").length;
  seen.traces = [shown()];
  key.click(); seen.traces.push(shown());
  key.click(); seen.traces.push(shown());
  const tables = [...document.querySelectorAll("[data-choice-of]")], select = document.querySelector("[data-choose]");
  seen.chosen = [tables.map((one) => one.hidden)];
  select.selectedIndex = 1; select.dispatchEvent(new Event("change"));
  seen.chosen.push(tables.map((one) => one.hidden));
"""


@needs_a_browser
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser_it_draws_sorts_and_filters_without_an_error(width: int) -> None:
    seen = seen_in_a_browser(page_text(page()), SCRIPT, size=(width, 900))
    assert seen == {
        "text": ["a/9", "a/10", "b/2"],
        "down": ["1,200", "30", "5"],
        "up": ["5", "30", "1,200"],
        "missing": ["0.7000", "0.5500", "n/a"],
        "missingUp": ["0.5500", "0.7000", "n/a"],
        "filtered": ["a/9", "a/10"],
        "condition": ["a/9", "a/10"],
        "count": "2 of 3 rows",
        "theme": True,
        "drawn": True,
        "bar": 0,
        "copies": 1,
        "traces": [2, 1, 2],
        "chosen": [[False, True], [True, False]],
    }
