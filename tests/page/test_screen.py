"""What a person sees: the answer on the first screen at both widths, nothing wider than the page, text that can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

import pytest

from adasparse_cli.findings.card import ArmOutcome, Card, Measure, Outcome
from adasparse_cli.findings.figures import series, with_intervals
from adasparse_cli.findings.finding import COLOURS, MARKS, Figure, Finding, Interval, Style, Table
from adasparse_cli.page.marks import legend, mark
from adasparse_cli.page.tints import tints
from adasparse_cli.page.write import Page, page_text
from tests.page.browser import needs_a_browser, seen_in_a_browser

SIZES = [(1400, 1000), (390, 844)]
ENOUGH = 4.5  # WCAG 2.1, level AA, for text; 3 for marks
STYLE = (files("adasparse_cli.page") / "page.css").read_text(encoding="utf-8")
ARMS = ("scaling", "binarization", "fusion", "fusion of layer and domain", "fusion placebo")


def full_page(number: int = len(ARMS)) -> Page:
    """A page with every kind of element, names that are long, and tables that are wide."""
    outcomes = list(Outcome)
    names = [ARMS[k] if k < len(ARMS) else f"model{k}" for k in range(number)]
    arms = [
        ArmOutcome(
            arm=name, style=Style.of(k + 1), outcome=outcomes[k % len(outcomes)], difference=0.01 * k - 0.02,
            interval=Interval(-0.1, 0.1), detectable=0.024, larger="0.012 with about 4× the test rows",
        )
        for k, name in enumerate(names)
    ]  # fmt: skip
    card = Card(
        headline="scaling (+0.0130) and binarization (+0.0110) are better than dnn; fusion placebo (-0.0400) is worse than dnn.",
        remarks=["Differences below 0.024 cannot be seen reliably with these data. Rough figure: about 4 times the test rows would show 0.012."],
        metric="Difference to dnn in GAUC by domain",
        arms=arms,
    )  # fmt: skip
    wide = [
        {"domain": "unbroken" * 20 + str(k), "positives": 10 * k, **{f"gain {name}": 0.01 * k - 0.05 for name in names},
         **{f"layer {j}, %": 10.0 * j + k for j in range(6)}}
        for k in range(12)
    ]  # fmt: skip
    table = Table(
        name="wide", title="Wide", rows=wide, long=True, gains=[f"gain {name}" for name in names],
        shares=[f"layer {j}, %" for j in range(6)], faint=[0, 1], caption="caption",
    )  # fmt: skip
    choices = [Table(name=f"choice{k}", title=name, rows=wide[:3], choice=name) for k, name in enumerate(names)]
    traces = [
        with_intervals(k, name, [1, 2], [3, 4], [(2, 4), (3, 5)], labels=["a", "b"]) for k, name in enumerate(names)
    ]
    band = {
        "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": 2, "y1": 4, "fillcolor": "rgba(128,128,128,0.3)", "layer": "below",
    }  # fmt: skip
    layout = {
        "xaxis": {"title": {"text": "training rows"}}, "yaxis": {"title": {"text": "gain"}}, "shapes": [band],
        "annotations": [{"text": "in the band", "x": 1, "y": 3, "showarrow": False}],
    }  # fmt: skip
    figure = Figure(name="f", title="Gain", summary="summary", traces=traces, layout=layout)
    command = "adasparse train --config runs/clicks/dnn/20260101T000000Z-s0/config.yaml " + "key=value " * 20
    runs = Table(name="runs", title="Runs", rows=[{"arm": "a", "command": command}, {"arm": "b", "command": command}])
    finding = Finding(
        name="one", title="One", question="Why?", answers=["`adasparse prep`", "x" * 300], tables=[table, *choices, runs],
        figures=[figure], notes=["note"],
    )  # fmt: skip
    single = Finding(name="two", title="Two with a long title", question="", figures=[figure])
    facts = {
        "rows": "14,286 train, 2,857 valid, 2,857 test",
        "domain": "user_gender_id × user_age_level × user_star_level, 257 in training",
    }
    return Page(
        title="AdaSparse ablation on clicks", facts=facts, findings=[finding, single], card=card, footer={"data": "f" * 200},
        lead="Is AdaSparse better than the DNN baseline, in which mode, and does the gain come from the domain?",
    )  # fmt: skip


SCREEN = """
  const card = document.getElementById("card").getBoundingClientRect();
  const rows = [...document.querySelectorAll(".verdicts tbody tr")].map((row) => row.getBoundingClientRect());
  seen.card = [card.top >= 0, card.bottom <= innerHeight];
  seen.rows = rows.filter((row) => row.top >= 0 && row.bottom <= innerHeight && row.right <= innerWidth).length;
  const cells = [...document.querySelectorAll(".verdicts tbody tr > *")].filter((cell) => cell.getClientRects().length);
  seen.overlaps = cells.filter((a) => cells.some((b) => {
    const p = a.getBoundingClientRect(), q = b.getBoundingClientRect();
    return a !== b && p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1;
  })).map((cell) => cell.textContent);
  for (const details of document.querySelectorAll("details")) details.open = true;
  document.querySelectorAll(".scroll").forEach((scroll) => scroll.dispatchEvent(new Event("scroll")));
  seen.page = document.documentElement.scrollWidth <= innerWidth;
  // inside of what scrolls by itself, elements may be wider
  const scrolls = (node) => node.closest(".scroll, .links, svg") !== null;
  seen.wide = [...document.body.querySelectorAll("*")].filter((node) => !scrolls(node) && node.getClientRects().length
    && node.getBoundingClientRect().right > innerWidth + 1).map((node) => `${node.tagName}.${node.className}`);
  seen.cues = [...document.querySelectorAll(".scroll")].every((scroll) =>
    (scroll.scrollWidth > scroll.clientWidth + 2) === scroll.parentNode.classList.contains("more"));
  seen.cued = document.querySelectorAll(".frame.more").length > 0;
"""


@needs_a_browser
@pytest.mark.parametrize("size", SIZES)
def test_the_card_is_on_the_first_screen_and_nothing_is_wider_than_the_page(size: tuple[int, int]) -> None:
    seen = seen_in_a_browser(page_text(full_page()), SCREEN, size=size)
    assert seen == {
        "card": [True, True], "rows": len(ARMS), "overlaps": [], "page": True, "wide": [], "cues": True, "cued": True,
    }  # fmt: skip


@needs_a_browser
@pytest.mark.parametrize("size", SIZES)
def test_of_twelve_models_the_card_is_on_the_first_screen_too(size: tuple[int, int]) -> None:
    seen = seen_in_a_browser(page_text(full_page(11)), SCREEN, size=size)
    # on a telephone, the last rows may need a finger
    assert seen["rows"] >= (11 if size[0] > 1000 else 9)
    assert seen["card"][0]
    assert not seen["overlaps"]
    assert not seen["wide"]


CONTRAST = """
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const hidden of document.querySelectorAll("[hidden]")) hidden.hidden = false;
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const over = (colours) => {  // paints layers, the lowest first
    brush.clearRect(0, 0, 1, 1);
    for (const colour of colours) { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); }
    return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const ground = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) layers.unshift(getComputedStyle(one).backgroundColor);
    return layers;
  };
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const low = [];
  let number = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE", "OPTION"].includes(node.tagName) || !node.getClientRects().length) continue;
    const style = getComputedStyle(node), colour = node.closest("svg") ? style.fill : style.color;
    const below = ground(node), value = contrast(over([...below, colour]), over(below));
    number += 1;
    if (value < 4.5) low.push(`${walker.currentNode.data.trim().slice(0, 30)} ${colour} ${value.toFixed(2)}`);
  }
  seen.low = [...new Set(low)]; seen.number = number; seen.theme = document.documentElement.dataset.theme;
"""


@needs_a_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_every_text_on_the_page_has_enough_contrast(size: tuple[int, int], dark: bool) -> None:
    seen = seen_in_a_browser(page_text(full_page()), CONTRAST, size=size, dark=dark)
    assert seen["low"] == []
    assert seen["number"] > 200
    assert seen["theme"] == ("dark" if dark else "light")


def themes() -> dict[str, dict[str, str]]:
    """The colours of page.css by theme; dark ones replace light ones."""
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6});", STYLE.split(start, 1)[1].split("}", 1)[0]))
        for start in (":root {", ':root[data-theme="dark"] {')
    )
    return {"light": light, "dark": {**light, **dark}}


def contrast(a: Sequence[float], b: Sequence[float]) -> float:
    """WCAG 2.1's ratio of two colours, channels in 0–1."""

    def luminance(rgb: Sequence[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def rgb(colour: str) -> list[float]:
    return [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]


def mixed(one: str, other: str, share: float) -> list[float]:
    return [share * a + (1 - share) * b for a, b in zip(rgb(one), rgb(other), strict=True)]


def test_the_ratio_is_that_of_the_standard() -> None:
    assert contrast([0, 0, 0], [1, 1, 1]) == pytest.approx(21)
    assert contrast(rgb("#777777"), [1, 1, 1]) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_colours_have_enough_contrast_on_every_ground(theme: str) -> None:
    """Also without a browser: text on the page, on panels, on the strongest tints of cells, and on bands of figures."""
    own = themes()[theme]
    grounds = {"ground": rgb(own["ground"]), "panel": rgb(own["panel"])}
    for text in ("text", "faint", "strong", "good", "bad"):
        for name, ground in grounds.items():
            assert contrast(rgb(own[text]), ground) >= ENOUGH, (text, name)
    shares = re.findall(r"var\(--(up|down|share)\) calc\(var\(--t\) \* (\d+)%\)", STYLE)
    assert [name for name, _ in shares] == ["up", "down", "share"]
    for name, share in shares:
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
            tint = mixed(own[name], own["ground"], strength * int(share) / 100)
            assert contrast(rgb(own["text"]), tint) >= ENOUGH, (name, strength)
    assert contrast(rgb(own["text"]), mixed("#808080", own["panel"], 0.3)) >= ENOUGH


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("colour", COLOURS)
def test_marks_can_be_seen_on_panels(theme: str, colour: str) -> None:
    assert contrast(rgb(colour), rgb(themes()[theme]["panel"])) >= 3


def test_styles_of_sixty_arms_differ() -> None:
    styles = [(style.colour, style.mark) for style in map(Style.of, range(60))]
    assert len(set(styles)) == 60
    assert len({style.colour for style in map(Style.of, range(12))}) == 12


def test_every_mark_has_a_picture_of_its_own() -> None:
    assert len({mark(shape, "#000000") for shape in MARKS}) == len(MARKS)
    assert mark("circle-open", "#000000") == mark("circle", "#000000")
    assert "onload" not in mark("x", '" onload="alert(1)')


def test_a_legend_has_the_named_traces_with_their_marks() -> None:
    hidden = {**series(2, "b & <c>", [1], [2]), "visible": "legendonly"}
    line = {"type": "scatter", "name": "", "showlegend": False}
    keys = legend(Figure(name="f", title="", summary="", traces=[line, series(1, "a", [1], [2]), hidden], layout={}))
    assert [(key.text, key.trace, key.shown) for key in keys] == [("a", 1, True), ("b & <c>", 2, False)]
    assert keys[1].mark == mark(Style.of(2).mark, Style.of(2).colour)
    assert legend(Figure(name="f", title="", summary="", traces=[series(1, "a", [1], [2])], layout={})) == []


def test_cells_are_tinted_by_sign_and_size() -> None:
    rows = [{"gain": value, "share": 10.0 * k} for k, value in enumerate((0.1, -0.05, None, 0.0, 9.0))]
    tint = tints(Table(name="t", title="", rows=rows, gains=("gain",), shares=("share",), faint=(4,)))
    assert tint(0, "gain") == ("up", 1.0)
    kind, strength = tint(1, "gain") or ("", 0.0)
    assert (kind, strength) == ("down", pytest.approx(0.05 / 0.095, abs=0.01))
    assert tint(2, "gain") is None
    assert tint(4, "gain") is None
    assert [tint(k, "share") for k in (0, 3)] == [("share", 0.0), ("share", 1.0)]
    assert tint(0, "other") is None


def test_a_card_of_a_single_run_shows_its_measures() -> None:
    card = Card(headline="dnn on the test rows.", measures=[Measure(name="AUC", value="0.7123", note="valid 0.7000")])
    text = page_text(Page(title="t", lead="", facts={}, findings=[], card=card))
    assert re.search(r"<dt>AUC</dt><dd>0\.7123</dd><dd class=\"note\">valid 0\.7000</dd>", text)
    assert ">Summary</a>" in text
