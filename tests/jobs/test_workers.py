"""Processes of a study's runs: what they tell, and what they do when nobody listens any more."""

from __future__ import annotations

import multiprocessing

from adasparse_cli.jobs.workers import tell


def test_a_run_whose_parent_has_died_is_not_failed_by_having_nobody_to_tell() -> None:
    ear, mouth = multiprocessing.Pipe(duplex=False)
    tell(mouth, 5)
    assert ear.recv() == 5
    ear.close()
    for _ in range(3):
        tell(mouth, 6)
