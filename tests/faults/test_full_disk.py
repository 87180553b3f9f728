"""A full disk: exit 5, the path and the bytes that are needed are named, nothing is half-written, and with room it continues.

The disk is a file system in memory that another file fills as soon as the command has made its nth file event, or that
is too small from the start.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.attacked import Attacked, Server, content, counted, run

NAMED = re.compile(
    r"error: \S+ could not be written, the disk is full: at least [\d,]+ bytes are needed, [\d,]+ are free"
)
PREP = ("prep", "data=twin", "data.rows=1000")
TINY = ("data=twin", "data.rows=1000", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256")
STUDY = ("compare", "--models", "dnn,biasnet", "--seeds", "1", "--workers", "2", *TINY)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB that is the test's alone."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system of limited size can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_preparation_on_a_full_disk(disk: Path, attacks: Callable[[int, int], int], server: Server) -> None:
    _attack(disk, PREP, attacks(20, 2), server)


def test_a_study_on_a_full_disk(disk: Path, attacks: Callable[[int, int], int], server: Server) -> None:
    _attack(disk, STUDY, attacks(20, 1), server, before=PREP)


def _attack(
    disk: Path, words: tuple[str, ...], count: int, server: Server, before: tuple[str, ...] | None = None
) -> None:
    folder, filler = disk / "home", disk / "filler"
    start, messages = disk.parent / "start", set()
    start.mkdir()
    if before is not None:
        run(start, *before, server=server)
    shutil.copytree(start, folder)
    events, _ = counted(folder, *words, server=server)
    expected = content(folder)
    for number in range(count):
        shutil.rmtree(folder)
        shutil.copytree(start, folder)
        at = 1 + round(number / count * (events - 1))
        attacked = Attacked(folder, words, {"FAULTS_FILL_AT": str(at), "FAULTS_FILL": str(filler)}, server)
        code = attacked.end()
        assert code == 5, f"event {at}: exit {code}\n{attacked.said}"
        said = " ".join(attacked.said.split())
        assert NAMED.search(said), said
        messages.add(NAMED.search(said)[0])
        filler.unlink()
        half = [name for name in content(folder) if re.search(r"\.tmp|\.preparing|\.old", name)]
        assert not half
        run(folder, *words, server=server)
        assert content(folder) == expected, at
    print("\n".join(sorted(messages)))
