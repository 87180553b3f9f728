"""SIGKILL of one of two processes that train one model: all start again and end as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.distributed.test_launch import WORDS, ended, only_run, outcome, ranks_of, started, until


def test_any_killed_rank_ends_unaided_and_bit_equal(tmp_path: Path, attacks: Callable[[int, int], int]) -> None:
    """At random times: while processes load, prepare, train or evaluate."""
    whole, draw = tmp_path / "whole", random.Random(3)
    whole.mkdir()
    ended(started(whole, *WORDS))  # prepares, too
    began = time.monotonic()
    shutil.copytree(whole / "data", tmp_path / "timed/data")
    ended(started(tmp_path / "timed", *WORDS))
    seconds, restarted = time.monotonic() - began, 0
    kills = attacks(20, 1)
    for attempt in range(kills):
        folder = tmp_path / str(attempt)
        shutil.copytree(whole / "data", folder / "data")
        process = started(folder, *WORDS)
        until(lambda: len(ranks_of(process.pid)) == 2, process)  # noqa: B023  # called at once
        victim = ranks_of(process.pid)[attempt % 2]
        time.sleep(draw.random() * 0.9 * seconds)
        if process.poll() is None:
            os.kill(victim, signal.SIGKILL)
        restarted += "restarting all processes" in ended(process)
        assert outcome(only_run(folder)) == outcome(only_run(whole)), attempt
        shutil.rmtree(folder)
    print(f"{restarted} of {kills} kills came before the end")
    assert restarted >= kills // 2
