"""Files that are complete or absent."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from adasparse_cli.errors import DiskFullError
from adasparse_cli.files import disk_is_full, write_atomically, write_text


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.json.tmp").write_text("half of something longer")
    write_text(tmp_path / "a.json", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "whole"


def test_two_that_write_one_file_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "page.html"

    def write(letter: str) -> None:
        for _ in range(50):
            write_text(path, letter * 10_000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in [letter * 10_000 for letter in "abcd"]
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".a.json.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=r"\.a\.json\.tmp"):
        write_text(tmp_path / "a.json", "whole")
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("No space left on device (os error 28)"),
        ValueError("parquet: underlying IO error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_recognised_and_named(tmp_path: Path, error: Exception) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(bytes(100))
        raise error

    assert disk_is_full(error)
    with pytest.raises(DiskFullError, match=r"a\.json could not be written, the disk is full: at least 100 bytes"):
        write_atomically(tmp_path / "a.json", write)
    assert not os.listdir(tmp_path)


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    assert not disk_is_full(OSError(errno.EACCES, "Permission denied"))
    assert not disk_is_full(ValueError("column 28"))
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "a", lambda temporary: print(1 / 0))
