"""The sparsity finding on constructed rows; the saved multiply-adds, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from adasparse_cli.insights.sparsity import parity, saved_multiply_adds
from tests import small


def row(name: str, gain: float, real: bool | None) -> dict[str, Any]:
    verdict = None if real is None else "undecided" if not real else "better" if gain > 0 else "worse"
    return {"interval": name, "over dnn": gain, "95 % interval": "[-1.0000, +1.0000]", "verdict": verdict}


def test_parity_is_lost_after_the_last_interval_that_is_better() -> None:
    lines = parity([row("a", 0.01, True), row("b", 0.02, True), row("c", 0.001, False), row("d", -0.02, True)], "dnn")
    assert lines[0].startswith("Best in the mean: b (+0.0200")
    assert "Better than dnn: a, b." in lines
    assert "Worse than dnn: d." in lines
    assert "Parity with dnn from c on." in lines


def test_where_nothing_is_better_no_parity_is_claimed() -> None:
    assert (
        parity([row("a", 0.01, False), row("b", -0.01, False)], "dnn")[1]
        == "No interval is significantly better than dnn."
    )
    assert parity([row("a", 0.01, None)], "dnn") == ["No interval can be compared: one seed, or runs are missing."]
    assert "is not reached" in parity([row("a", 0.01, True)], "dnn")[-1]


def test_what_is_saved_is_what_the_next_layer_need_not_read() -> None:
    """Truth: 12 inputs of which a quarter is cut, read by 12 neurons; half of 12 read by 8; none of 8 read by the head."""
    model = small.model("adasparse")
    assert [list(widths) for widths in model.gated_widths] == [[12, 12], [12, 8], [8, 1]]
    assert saved_multiply_adds([0.25, 0.5, 0.0], model.gated_widths) == pytest.approx(3 * 12 + 6 * 8)
