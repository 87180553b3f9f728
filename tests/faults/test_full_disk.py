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
from tests.faults.conftest import STUDY, TINY, FinishedStudy
from tests.faults.crash import FILL_AT, FILLER, ROLE

NAMED = re.compile(
    r"error: \S+ could not be written, the disk is full: at least [\d,]+ bytes are needed, [\d,]+ are free"
)


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


def test_preparation_on_a_full_disk(
    disk: Path, tmp_path: Path, attacks: Callable[[int, int], int], server: Server
) -> None:
    before, words = tmp_path / "before", ("prep", *TINY[:2])
    before.mkdir()
    shutil.copytree(before, disk / "home")
    events, _, _ = counted(disk / "home", *words, server=server)
    _attack(disk, words, before, content(disk / "home"), events, attacks(20, 1), server)


def test_training_on_a_full_disk(disk: Path, tmp_path: Path, server: Server) -> None:
    before, words = tmp_path / "before", ("train", "--resume", *TINY, "loop.epochs=3", "loop.checkpoint_seconds=0")
    before.mkdir()
    run(before, "prep", *TINY[:2], server=server)
    shutil.copytree(before, disk / "home")
    events, _, _ = counted(disk / "home", *words, server=server)
    _attack(disk, words, before, content(disk / "home"), events, 20, server)


def test_a_study_on_a_full_disk(disk: Path, finished_study: FinishedStudy, server: Server) -> None:
    done = finished_study
    (disk / "home").mkdir()
    _attack(disk, STUDY, done.home, content(done.folder), done.events, 10, server)
    _attack(disk, STUDY, done.home, content(done.folder), done.worker_events, 10, server, role="worker")


def _attack(
    disk: Path, words: tuple[str, ...], before: Path, expected: dict[str, str], events: int, count: int, server: Server,
    role: str = "command",
) -> None:  # fmt: skip
    folder, filler = disk / "home", disk / "filler"
    complete = 0
    for number in range(count):
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        at = 1 + round(number / count * (events - 1))
        attacked = Attacked(folder, words, {FILL_AT: str(at), FILLER: str(filler), ROLE: role}, server)
        code = attacked.end()
        if code == 0 and content(folder) == expected:
            filler.unlink(missing_ok=True)  # it filled when everything had been written
            complete += 1
            continue
        assert code == 5, f"event {at}: exit {code}\n{attacked.said}"
        named = NAMED.search(" ".join(attacked.said.split()))
        assert named, attacked.said
        print(at, named[0])
        filler.unlink()
        assert not [name for name in content(folder) if re.search(r"\.tmp|\.preparing|\.old", name)]
        run(folder, *words, server=server)
        assert content(folder) == expected, at
    assert complete <= max(count // 4, 0 if count > 1 else 1), "most disks must be full before the end"
