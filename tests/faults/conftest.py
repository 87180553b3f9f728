"""The fault matrix: every test of this folder is marked `faults`, and `--short` takes a sample of each attack."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adasparse_cli.files import only_owner, write_json
from tests.faults.attacked import Server, counted, run
from tests.faults.made import Made

HERE = Path(__file__).parent
TINY = ("data=twin", "data.rows=1000", "network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256")
STUDY = ("compare", "--models", "dnn,biasnet", "--seeds", "1", "--workers", "2", *TINY)


@dataclass(frozen=True)
class FinishedStudy:
    """A small study with two workers that nothing disturbed.

    Args:
        home: holds the prepared data alone. folder: the same, and the study's runs.
        events, worker_events: file events of the command, and of one of its runs. seconds: how long it took.
    """

    home: Path
    folder: Path
    events: int
    worker_events: int
    seconds: float


# Of these tests, `--short` takes every fourth case, which are of different commands.
SAMPLED = (
    "test_a_folder_removed_under_way_ends_with_the_right_result_or_a_named_error",
    "test_a_signal_ends_a_command_with_nothing_half_written",
    "test_a_killed_preparation_ends_bit_equal",
    "test_a_clock_set_back_changes_nothing",
    "test_a_slow_disk_changes_nothing",
)
# And these, which take 20 seconds and more each, not at all; of killed ranks, tests/distributed/test_launch.py has a sample.
FULL_ONLY = (
    "test_any_killed_rank_ends_unaided_and_bit_equal",
    "test_training_on_a_full_disk",
    "test_a_study_on_a_full_disk",
    "test_runs_whose_parent_is_killed_end_by_themselves",
)


# What several processes of pytest begin with, so that none is left with a long file at the end.
LONGEST_FIRST = ("test_fuzz_readers", "test_kills_training", "test_kills_study", "test_folders", "test_surroundings")
# These share a fixture that takes long and that they write into, so one process takes both.
TOGETHER = {"test_flips": "made", "test_edited": "made"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    own = [item for item in items if HERE in item.path.parents]
    for item in own:
        item.add_marker(pytest.mark.faults)
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(TOGETHER.get(item.path.stem, item.path.stem)))
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    own.sort(key=lambda item: place.get(item.path.stem, len(place)))
    items[:] = own + [item for item in items if HERE not in item.path.parents]
    if config.getoption("--short"):
        for name in (*SAMPLED, *FULL_ONLY):
            cases = [item for item in items if item.name.partition("[")[0] == name]
            left_out = [case for k, case in enumerate(cases) if k % 4 or name in FULL_ONLY]
            items[:] = [item for item in items if item not in left_out]
            config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def attacks(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`attacks(full, short)` is how often an attack is made: `full` times, or `short` times with `--short`."""
    short = bool(request.config.getoption("--short"))
    return lambda full, sample: sample if short else full


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Starts commands at once."""
    started = Server()
    yield started
    started.close()


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory, server: Server) -> FinishedStudy:
    """Made once, by the first of pytest's processes that needs it; no test writes into it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    parent = shared / "study"
    parent.mkdir(exist_ok=True)
    with only_owner(parent, wait=True):
        if not (parent / "counts.json").exists():
            (parent / "home").mkdir()
            run(parent / "home", "prep", *TINY[:2], server=server)
            shutil.copytree(parent / "home", parent / "done")
            write_json(parent / "counts.json", counted(parent / "done", *STUDY, server=server))
        events, worker_events, seconds = json.loads((parent / "counts.json").read_text(encoding="utf-8"))
    return FinishedStudy(parent / "home", parent / "done", events, worker_events, seconds)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("made"))
