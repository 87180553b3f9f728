"""`prep --inspect` tells what a person should know, and writes nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import tabular
from adasparse_cli.prep.inspect import Inspection, inspect
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.typed import typed


def inspected(folder: Path, lines: list[str], *words: str) -> Inspection:
    path = folder / "a.csv"
    path.write_text("\n".join(["y,place,item,leak,same", *lines]) + "\n")
    settings = typed(
        compose("prep", ["data=tabular", "data.label=y", "data.domain=[place]", *words])["data"],
        tabular.Settings,
        "data",
    )
    return inspect(settings, [path], Silent())


def made_up(rows: int = 3000) -> list[str]:
    draw = random.Random(0)
    lines = []
    for _ in range(rows):
        y = int(draw.random() < 0.2)
        place = "tiny" if draw.random() < 0.002 else f"p{draw.randrange(5)}"
        leak = y if draw.random() < 0.995 else 1 - y
        lines.append(f"{y},{place},i{draw.randrange(40)},{leak},x")
    return lines


def test_a_field_made_from_the_label_is_found_and_an_honest_one_is_not(tmp_path: Path) -> None:
    found = inspected(tmp_path, made_up())
    errors = [finding.text for finding in found.findings if finding.severity == "error"]
    assert len(errors) == 1
    assert errors[0].startswith("leak alone ranks held-out rows")
    alone = {row["field"]: row["AUC alone"] for row in found.fields}
    assert alone["leak"] > 0.97
    assert alone["item"] == pytest.approx(0.5, abs=0.06)
    assert alone["same"] == pytest.approx(0.5)


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    """Truth: counted here with str.split."""
    lines = made_up()
    found = inspected(tmp_path, [*lines, lines[0], "3,p1,i1,0,x"])
    rows = [line.split(",") for line in [*lines, lines[0]]]
    assert found.rows == len(rows)
    assert found.duplicates == len(rows) - len({tuple(row) for row in rows})
    assert sum(row["positives"] for row in found.splits) == sum(int(row[0]) for row in rows)
    fields = {row["field"]: row for row in found.fields}
    assert fields["item"]["distinct"] == len({row[2] for row in rows})
    top = max(sum(row[1] == place for row in rows) for place in {row[1] for row in rows})
    assert fields["place"]["top value share"] == pytest.approx(top / len(rows))
    assert [(reject["line"], reject["column"]) for reject in found.rejects] == [(len(rows) + 2, "y")]


def test_constant_fields_and_tiny_domains_are_pointed_out(tmp_path: Path) -> None:
    texts = " | ".join(finding.text for finding in inspected(tmp_path, made_up()).findings)
    assert "same has a single value" in texts
    (train, *_) = inspected(tmp_path, made_up()).domains
    assert train["under 100 rows"] == 1


def test_what_makes_training_impossible_is_an_error_not_a_crash(tmp_path: Path) -> None:
    found = inspected(tmp_path, ["0,p1,i1,0,x"] * 50, "data.split=day")
    texts = [finding.text for finding in found.findings if finding.severity == "error"]
    assert any("a split by day needs timestamps" in text for text in texts)
    assert any("one class only" in text or "is empty" in text for text in texts)


def test_nothing_is_written(tmp_path: Path) -> None:
    inspected(tmp_path, made_up(500))
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
