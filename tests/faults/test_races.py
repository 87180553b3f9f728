"""Two processes on one data set, one run or one study: one owner; the other finds its result, waits, or exits with 6."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.attacked import Attacked, Server, content, run
from tests.faults.conftest import STUDY, TINY

BUSY = 6
COMMANDS = {
    "data set": ("prep", *TINY[:2]),
    "run": ("train", "--resume", *TINY, "model=dnn"),
    "study": STUDY,
}


@pytest.fixture(scope="module")
def second() -> Iterator[Server]:
    """Starts the commands that race with those of `server`."""
    started = Server()
    yield started
    started.close()


@pytest.mark.parametrize("kind", COMMANDS)
def test_two_at_once_leave_what_one_leaves(
    kind: str, tmp_path: Path, attacks: Callable[[int, int], int], server: Server, second: Server
) -> None:
    words, draw, races = COMMANDS[kind], random.Random(kind), attacks(67, 0 if kind == "study" else 1)
    if not races:
        pytest.skip("in the full form only")
    before, alone, folder = tmp_path / "before", tmp_path / "alone", tmp_path / "folder"
    before.mkdir()
    if kind != "data set":
        run(before, "prep", *TINY[:2], server=server)
    shutil.copytree(before, alone)
    started = time.monotonic()
    run(alone, *words, server=server)
    seconds = time.monotonic() - started
    expected, codes = content(alone), []
    for number in range(races):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)
        one = Attacked(folder, words, {}, server)
        # every second race starts at once, the others while the first is at work
        time.sleep(draw.uniform(0, seconds) if number % 2 else 0)
        other = Attacked(folder, words, {}, second)
        found = sorted((one.end(), other.end()))
        assert found in ([0, 0], [0, BUSY]), f"{found}\n{one.said}\n{other.said}"
        assert content(folder) == expected
        codes.append(found)
    print(f"{kind}: {len(codes)} races, in {codes.count([0, BUSY])} of them the other was refused")
