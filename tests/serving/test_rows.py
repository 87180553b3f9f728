"""Which reader a file gets, and what is said of columns that are missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adasparse_cli.errors import DataError
from adasparse_cli.exporting.write import write_artefact
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.serving.artefact import Artefact, open_artefact
from adasparse_cli.serving.predict import raw_blocks
from tests.commands.typing_in import adasparse
from tests.serving import made


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    folder = tmp_path_factory.mktemp("rows")
    _, source = made.random_model(made.prepare(folder))
    write_artefact(source, folder / "model", None)
    return open_artefact(folder / "model")


def test_quotes_blank_lines_and_ragged_rows_are_read_as_preparation_reads_them(
    artefact: Artefact, tmp_path: Path
) -> None:
    path = tmp_path / "odd.csv"
    path.write_text(
        "﻿tags,price,item,device,country,more\n"
        '"t1|t2",1.5,"1",mobile,"a/b",x\n'
        "\n"
        "t1,2.5,1,mobile,DE\n"
        't1,2.5,1,mobile,"DE,x\n'
        "t1,2.5,1,mobile,DE,x,y\n"
        't1,2.5,1,mobile,"DE ""x""",z\n'
    )
    rejects: list[Reject] = []
    (block,) = raw_blocks(artefact, [path], rejects)
    assert list(block.lines) == [2, 7]
    assert block.columns["country"] == ("a/b", 'DE "x"')
    assert block.columns["tags"] == ("t1|t2", "t1")
    assert [one.line for one in rejects] == [4, 5, 6]


def test_a_table_of_fields_that_lacks_one_names_it_whatever_the_recipe(artefact: Artefact, tmp_path: Path) -> None:
    path = tmp_path / "lacks.csv"
    path.write_text("tags,item,device,country\nt1,1,mobile,DE\n")
    contest = replace(artefact, index={**artefact.index, "data": {**artefact.index["data"], "recipe": "iaac"}})
    with pytest.raises(DataError, match="lacks the column price"):
        list(raw_blocks(contest, [path], []))


def test_fields_made_from_a_time_are_made_by_the_recipe(tmp_path: Path) -> None:
    lines = [f"{k % 2},{1_500_000_000 + 3_600 * k},{'ab'[k % 2]},c{k % 3}" for k in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["y,when,shop,colour", *lines]) + "\n")
    words = (
        "data=tabular",
        "raw=t.csv",
        "data.name=timed",
        "data.label=y",
        "data.domain=[shop]",
        "data.timestamp=when",
    )
    adasparse(tmp_path, "prep", *words, "data.split=random")
    _, source = made.random_model(tmp_path / "data/timed")
    write_artefact(source, tmp_path / "model", None)
    artefact = open_artefact(tmp_path / "model")
    assert {"hour", "weekday"} <= set(artefact.encoder.inputs)
    (block,) = raw_blocks(artefact, [tmp_path / "t.csv"], [])
    hours = [(1_500_000_000 + 3_600 * k) % 86_400 // 3_600 for k in range(400)]
    assert [int(hour) for hour in block.columns["hour"]] == hours
    (tmp_path / "made.csv").write_text("shop,colour,hour,weekday\na,c1,5,3\n")
    (block,) = raw_blocks(artefact, [tmp_path / "made.csv"], [])
    assert block.columns["hour"] == ("5",)
    rows, faults = artefact.encoder.encode(block.columns)
    assert not faults
    assert rows.ids.min() > 0
