"""The marks of arms as small inline pictures, equal to the marks in figures. The card and the legends use them."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from adasparse_cli.findings.finding import Figure

Points = Sequence[tuple[float, float]]
SIZE = 8.0  # half the width of the box
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def _regular(corners: int, turn: float) -> Points:
    """A regular polygon with one corner at `turn`, in fractions of a full turn from the top."""
    angles = [2 * math.pi * (k / corners + turn) for k in range(corners)]
    return [(7 * math.sin(angle), -7 * math.cos(angle)) for angle in angles]


def _star() -> Points:
    angles = [math.pi * k / 5 for k in range(10)]
    return [
        ((7.5, 3.2)[k % 2] * math.sin(angle), -(7.5, 3.2)[k % 2] * math.cos(angle)) for k, angle in enumerate(angles)
    ]


_CROSS: Points = [
    (-2, -6), (2, -6), (2, -2), (6, -2), (6, 2), (2, 2), (2, 6), (-2, 6), (-2, 2), (-6, 2), (-6, -2), (-2, -2),
]  # fmt: skip
_SHAPES: dict[str, Points] = {
    "circle": _regular(24, 0),
    "square": [(-5.5, -5.5), (5.5, -5.5), (5.5, 5.5), (-5.5, 5.5)],
    "diamond": _regular(4, 0),
    "triangle-up": _regular(3, 0),
    "triangle-down": _regular(3, 0.5),
    "triangle-left": _regular(3, 0.75),
    "triangle-right": _regular(3, 0.25),
    "cross": _CROSS,
    "x": [((x - y) * math.sqrt(0.5), (x + y) * math.sqrt(0.5)) for x, y in _CROSS],
    "star": _star(),
    "hexagon": _regular(6, 0),
    "pentagon": _regular(5, 0),
}


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of a legend.

    Args:
        trace: index of its trace. shown: whether the trace is visible when the page opens.
    """

    text: str
    mark: Markup
    trace: int
    shown: bool


def mark(shape: str, colour: str) -> Markup:
    """A mark as an inline picture; a square for an unknown shape."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _SHAPES.get(shape.removesuffix("-open"), _SHAPES["square"]))
    fill = colour if _COLOUR.fullmatch(colour) else "currentColor"
    box = f"{-SIZE} {-SIZE} {2 * SIZE} {2 * SIZE}"
    return Markup(
        f'<svg class="mark" viewBox="{box}" aria-hidden="true"><polygon points="{points}" fill="{fill}"/></svg>'
    )


def legend(figure: Figure) -> list[Key]:
    """The entries of a figure's legend; empty if fewer than two traces have a name."""
    if figure.layout.get("showlegend") is False:
        return []
    keys = []
    for place, trace in enumerate(figure.traces):
        name = trace.get("name")
        if name and trace.get("showlegend") is not False:
            own = trace.get("marker") or {}
            colour, shape = own.get("color"), own.get("symbol")
            keys.append(
                Key(
                    # labels of figures are already escaped for plotly
                    text=html.unescape(str(name)),
                    mark=mark(str(shape or "square"), str(colour) if isinstance(colour, str) else ""),
                    trace=place,
                    shown=trace.get("visible", True) is True,
                )
            )
    return keys if len(keys) > 1 else []
