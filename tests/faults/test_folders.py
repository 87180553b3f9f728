"""Surroundings that go wrong under prep, train, study and report: the right end, or an error that says what and where."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adasparse_cli.files import CHECKED, read_sealed, write_sealed
from tests.commands.typing_in import adasparse
from tests.faults.attacked import Attacked, Server, at_work_in, content, offspring, run, wait_for
from tests.faults.conftest import STUDY, TINY, FinishedStudy

PREP = ("prep", *TINY[:2])
TRAIN = ("train", "--model", "dnn", *TINY)
TABLE = ("prep", "data=tabular", "raw=log.csv", "data.label=y", "data.domain=[d]", "data.name=table")
COMMANDS = {"prep": PREP, "train": TRAIN, "study": STUDY, "report": ("report",)}
# Long enough to be interrupted, whatever the machine.
LONG = {
    "prep": ("prep", "data=twin", "data.rows=300000"),
    "train": (*TRAIN, "loop.epochs=10000", "loop.evaluations=1"),
    "study": (*STUDY, "loop.epochs=10000", "loop.evaluations=1"),
}
HALF = re.compile(r"\.tmp|\.preparing|\.old|\.new\.")


@pytest.fixture
def folder(tmp_path: Path, finished_study: FinishedStudy, request: pytest.FixtureRequest) -> Path:
    """A folder with what a command needs and has not done."""
    if request.config.getoption("--short") and "study" in request.node.name:
        pytest.skip("a study is attacked in the full form only, here")
    name = request.node.callspec.params.get("command", "train") if hasattr(request.node, "callspec") else "train"
    found = tmp_path / "folder"
    if name == "prep":
        found.mkdir()
    else:
        shutil.copytree(finished_study.folder if name == "report" else finished_study.home, found)
    return found


def mounted(*words: str | Path) -> None:
    if subprocess.run(["mount", *words], check=False, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes folders read-only, for root as well."""
    made: list[Path] = []

    def make(folder: Path) -> None:
        mounted("--bind", folder, folder)
        made.append(folder)
        mounted("-o", "remount,ro,bind", folder)

    yield make
    for folder in reversed(made):
        subprocess.run(["umount", "--lazy", folder], check=True)


def explained(said: str) -> str:
    """The error that a command ended with, which is no fault of its own and names no traceback."""
    found = re.search(r"^error: .*", said, re.MULTILINE)
    assert found, said
    assert "Traceback" not in said
    assert "fault of adasparse" not in said
    return found[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_folder_is_named(
    folder: Path, read_only: Callable[[Path], None], server: Server, command: str
) -> None:
    before = content(folder)
    read_only(folder)
    said = run(folder, *COMMANDS[command], server=server, code=5)
    assert re.search(r"data|runs|studies|report", explained(said))
    assert content(folder) == before


@pytest.mark.parametrize("command", ["train", "study"])
def test_prepared_data_are_read_where_nothing_can_be_written(
    folder: Path, read_only: Callable[[Path], None], server: Server, command: str
) -> None:
    shutil.rmtree(folder / "data" / ".twin.owner", ignore_errors=True)
    read_only(folder / "data")
    run(folder, *COMMANDS[command], server=server)


@pytest.mark.parametrize("command", ["prep", "train", "study"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_with_nothing_half_written(
    folder: Path, server: Server, command: str, number: signal.Signals
) -> None:
    attacked = Attacked(folder, LONG[command], {}, server)
    pattern = "data/.twin.preparing/raw/*" if command == "prep" else "runs/*/*/*/metrics.jsonl"
    wait_for(lambda: list(folder.glob(pattern)))
    assert attacked.kill(number) == 128 + number, attacked.said
    explained(attacked.said)
    assert not [name for name in content(folder) if HALF.search(name)]
    wait_for(lambda: not at_work_in(folder))


def test_a_signal_ends_a_report_with_nothing_half_written(finished_study: FinishedStudy, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(finished_study.folder, folder)
    before = content(folder)
    attacked = Attacked(folder, ("report",), {"FAULTS_TERM_AT": "1"})
    assert attacked.end() == 143, attacked.said
    explained(attacked.said)
    assert content(folder) == before


@pytest.mark.parametrize("command", ["prep", "train", "study"])
@pytest.mark.parametrize("lost", ["data", "runs", "."])
def test_a_folder_removed_under_way_ends_with_the_right_result_or_a_named_error(
    folder: Path, server: Server, command: str, lost: str
) -> None:
    if command == "prep" and lost == "runs":
        pytest.skip("prep does not use it")
    attacked = Attacked(folder, LONG[command], {}, server)
    pattern = "data/.twin.preparing/raw/*" if command == "prep" else "runs/*/*/*/metrics.jsonl"
    wait_for(lambda: list(folder.glob(pattern)))
    workers = offspring(attacked.process.pid)
    shutil.rmtree(folder / lost, ignore_errors=True)
    if command != "prep":
        attacked.kill(signal.SIGTERM)  # the long loop has to save now
    code = attacked.end()
    # the signal may come as the command ends with its error
    assert code in (1, 3, 4, 5, 143) or (code == -signal.SIGTERM and "error:" in attacked.said), (code, attacked.said)
    explained(attacked.said)
    wait_for(lambda: not [one for one in workers if Path(f"/proc/{one}/cwd").exists()])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_clock_set_back_changes_nothing(folder: Path, command: str) -> None:
    """Everything there is of tomorrow, as it is after a clock was set back by a day."""
    for path in [folder, *folder.rglob("*")]:
        status = path.stat()
        os.utime(path, (status.st_atime + 86400, status.st_mtime + 86400))
    for runs in folder.glob("runs/*/*/*"):
        runs.rename(runs.with_name(re.sub(r"^\d{4}", "2099", runs.name)))
    for study in folder.glob("studies/*/study.json"):
        values = read_sealed(study, "study_version", unsealed=None)
        write_sealed(study, json.loads(re.sub(r"/\d{4}(\d{4}T)", r"/2099\1", json.dumps(values))))
    adasparse(folder, *COMMANDS[command])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_slow_disk_changes_nothing(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    real = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(0.02)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    adasparse(folder, *COMMANDS[command])


def test_every_file_that_is_empty_is_noticed(
    finished_study: FinishedStudy, tmp_path: Path, attacks: Callable[[int, int], int]
) -> None:
    """Files of the data, of a run and of the study, in turn: exit 4 from what reads them, or the page of before."""
    folder = tmp_path / "folder"
    shutil.copytree(finished_study.folder, folder)
    run_folder = next(folder.glob("runs/*/dnn/*"))
    adasparse(folder, "report", "-o", "page.html")
    right, missed = (folder / "page.html").read_text(), []
    below = (folder / "data" / "twin", run_folder, folder / "studies")
    found = [path for one in below for path in sorted(one.rglob("*")) if path.is_file() and path.stat().st_size]
    files = [path for path in found if path.name != CHECKED]  # without what was checked, everything is checked
    for path in files[:: attacks(1, 12)]:
        name, kept = str(path.relative_to(folder)), path.read_bytes()
        if name.startswith("data/twin/raw"):  # nothing reads it any more
            continue
        path.write_bytes(b"")
        if name.startswith("data"):
            done = adasparse(folder, *TRAIN, "seed=7", code=None)
        elif "checkpoints" in name:
            done = adasparse(folder, "evaluate", str(run_folder), code=None)
        else:
            done = adasparse(folder, "report", "-o", "page.html", "--overwrite", code=None)
        same = done.returncode == 0 and name[:4] != "data" and (folder / "page.html").read_text() == right
        if not same and done.returncode != 4:
            missed.append(f"{name}: exit {done.returncode} {done.stderr[-200:]}")
        path.write_bytes(kept)
    print(f"{len(files)} files")
    assert not missed, "\n".join(missed)


def test_preparation_needs_no_room_in_the_folder_for_temporary_files(tmp_path: Path, server: Server) -> None:
    folder, temporary = tmp_path / "folder", tmp_path / "temporary"
    for one in (folder, temporary):
        one.mkdir()
    rows = "\n".join(f"{k % 2},{'ab'[k % 3 == 0]},{k % 17}" for k in range(1000))
    (folder / "log.csv").write_text("y,d,item\n" + rows + "\n")
    mounted("-t", "tmpfs", "-o", "size=4k", "tmpfs", temporary)
    try:
        (temporary / "filler").write_bytes(bytes(4096))
        run(folder, *TABLE, server=server, environment={"TMPDIR": str(temporary)})
        run(folder, "prep", "--inspect", *TABLE[1:], server=server, environment={"TMPDIR": str(temporary)})
    finally:
        subprocess.run(["umount", "--lazy", temporary], check=True)
