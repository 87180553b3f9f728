"""SIGKILL in training, with every loop: the same command with --resume ends as if nothing had happened."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.attacked import Server, content, counted, killed, moments, run
from tests.faults.conftest import TINY

LOOPS = {"standard": ("model=adasparse", "loop.epochs=3"), "maml": ("model=dnn", "loop=maml", "loop.epochs=2")}


@pytest.mark.parametrize("loop", LOOPS)
def test_killed_training_ends_bit_equal(
    loop: str, tmp_path: Path, attacks: Callable[[int, int], int], server: Server
) -> None:
    """Its data are prepared before; a checkpoint is written as often as it may be."""
    words = ("train", "--resume", *TINY, *LOOPS[loop], "loop.checkpoint_seconds=0", "loop.log_steps=2")
    before, whole, folder = tmp_path / "before", tmp_path / "whole", tmp_path / "folder"
    before.mkdir()
    run(before, "prep", *TINY[:2], server=server)
    shutil.copytree(before, whole)
    events, _, seconds = counted(whole, *words, server=server)
    expected = content(whole)
    for moment in moments(attacks(75, 1), events, seconds, random.Random(5)):
        killed(before, folder, words, moment, server)
        run(folder, *words, server=server)
        assert content(folder) == expected, moment
    print(f"{loop}: {events} file events, {seconds:.1f} s")
