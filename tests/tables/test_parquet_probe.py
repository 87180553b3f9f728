"""Parquet files whose damage makes polars end its process are refused by name; the process that reads them ends instead."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import polars as pl
import pytest

from adasparse_cli.errors import DataError, ResourceError
from adasparse_cli.tables import parquet_probe as probe
from tests.data_prep.tables import read

VALUES_IN_PAGE = b"\x2c\x15\x14\x15"  # of a data page's header: 10 values, as 20 by zigzag


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """10 rows of three columns, one page each."""
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"y": [0, 1] * 5, "place": ["a", "b"] * 5, "title": [f"t{k}" for k in range(10)]})
    frame.write_parquet(path, compression="uncompressed")
    return path


def test_damage_that_ends_polars_is_an_error_with_file_column_and_row(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(path.read_bytes())
    place = content.rindex(VALUES_IN_PAGE) + 2
    content[place] |= 1  # -11 values
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.message == (
        f"{path} is not a readable Parquet file: row 1 or a later one cannot be read: "
        "column title: reading it ended a process with SIGABRT"
    )
    assert capfd.readouterr().err == ""


def test_panics_of_polars_are_not_printed(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Many bytes of the file in turn are set to 255: whatever comes of it, nothing is printed."""
    content, refused = path.read_bytes(), 0
    for place in range(4, len(content) - 8, 30):
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        try:
            read(path)
        except DataError as error:
            refused += str(path) in error.message
    assert refused > 10
    assert capfd.readouterr().err == ""


def test_a_time_that_has_no_text_is_refused_without_a_panic(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.parquet"
    times = pl.Series([2**62, 0], dtype=pl.Int64).cast(pl.Datetime("ms"))
    pl.DataFrame({"y": [0, 1], "place": ["a", "b"], "time": times}).write_parquet(path)
    with pytest.raises(DataError, match=r"a\.parquet.*out-of-range datetime"):
        read(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("how", [signal.SIGALRM, signal.SIGKILL])
def test_a_child_that_ended_is_replaced(path: Path, how: signal.Signals) -> None:
    """SIGALRM is how it ends when it was idle; the memory may run out for another reason."""
    probe.check_described(path)
    child = probe.probe_of(os.getpid()).child
    assert child
    os.kill(child.pid, how)
    probe.check_part(path, ["y"], 0, 10, "|")
    probe.check_described(path)


def test_an_interrupt_leaves_no_answer_behind(path: Path) -> None:
    """The answer to the question that was interrupted is not taken for that of the next one."""
    probe.check_described(path)
    child = probe.probe_of(os.getpid()).child
    assert child
    os.kill(child.pid, signal.SIGSTOP)

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            probe.check_part(path, ["not there"], 0, 10, "|")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert child.returncode == -signal.SIGKILL
    probe.check_described(path)


def test_a_child_that_cannot_start_is_no_fault_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe.probe_of(os.getpid()).close()
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(ResourceError, match="did not start"):
        read(path)
