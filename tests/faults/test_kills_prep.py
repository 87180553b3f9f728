"""SIGKILL in preparation: the same command ends as if nothing had happened, and data are never lost in between."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adasparse_cli.runs.prepare import existing
from tests.faults.attacked import Server, content, counted, killed, moments, run

TWIN = ("prep", "data=twin", "data.rows=1000")
OTHER = (*TWIN, "data.seed=1")
TABLE = ("prep", "data=tabular", "raw=log.csv", "data.label=y", "data.domain=[d]", "data.name=table")


def log(folder: Path) -> None:
    draw = random.Random(5)
    rows = [f"{draw.randint(0, 1)},{draw.choice('abc')},{draw.randint(0, 40)},{draw.random():.4f}" for _ in range(2000)]
    folder.mkdir()
    (folder / "log.csv").write_text("\n".join(["y,d,item,price", *rows, ""]))


@pytest.mark.parametrize("case", ["twin", "tabular", "replaced"])
def test_a_killed_preparation_ends_bit_equal(
    tmp_path: Path, attacks: Callable[[int, int], int], server: Server, case: str
) -> None:
    """`replaced` is a second preparation that replaces a first: the old data or the new are there after each kill."""
    words = {"twin": TWIN, "tabular": TABLE, "replaced": OTHER}[case]
    before, folder = tmp_path / "before", tmp_path / "folder"
    log(before)
    if case == "replaced":
        run(before, *TWIN, server=server)
    shutil.copytree(before, folder)
    events, _, seconds = counted(folder, *words, server=server)
    expected = content(folder)
    for moment in moments(attacks(25, 1), events, seconds, random.Random(case)):
        killed(before, folder, words, moment, server)
        if case == "replaced":
            assert existing(folder / "data" / "twin") is not None, moment
        run(folder, *words, server=server)
        assert content(folder) == expected, moment
    print(f"{case}: {events} file events, {seconds:.1f} s")
