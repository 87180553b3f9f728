"""Files that are complete or absent, that carry their checksum, and what is remembered of files that were checked."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from adasparse_cli import files
from adasparse_cli.errors import DiskFullError, IntegrityError
from adasparse_cli.files import (
    CHECKED,
    SealedFolder,
    checksums,
    disk_is_full,
    read_sealed,
    write_atomically,
    write_json,
    write_sealed,
    write_text,
)

VALUE = {"version": 2, "name": "día ☀", "rows": [1, 2.5e-7, None, True], "inner": {}, "last": "0" * 64}


def test_every_bit_of_a_sealed_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_sealed(path, VALUE)
    assert read_sealed(path, "version", unsealed=1) == VALUE
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError, match=r"value\.json"):
                read_sealed(path, "version", unsealed=1)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match=r"value\.json"):
            read_sealed(path, "version", unsealed=1)


def test_a_file_of_an_earlier_version_needs_no_checksum_and_no_other_does_without(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"version": 1, "rows": 3})
    assert read_sealed(path, "version", unsealed=1) == {"version": 1, "rows": 3}
    for value in ({"version": 2, "rows": 3}, {"rows": 3}, [1], {"version": 1, "checksum": "0" * 64, "rows": 3}):
        write_json(path, value)
        with pytest.raises(IntegrityError, match="no valid checksum"):
            read_sealed(path, "version", unsealed=1)


def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[SealedFolder, list[Path]]:
    """A folder of one file that is large enough to be remembered, and the files that are read to be checked."""
    monkeypatch.setattr(files, "REMEMBERED_FROM", 1)
    monkeypatch.setattr(files, "SETTLED_NS", 0)
    path = tmp_path / "part"
    path.write_bytes(b"x" * 1000)
    read: list[Path] = []
    own = files.sha256_of
    monkeypatch.setattr(files, "sha256_of", lambda one: read.append(one) or own(one))  # type: ignore[func-returns-value]
    sums = checksums(tmp_path, [path])
    read.clear()
    return SealedFolder(folder=tmp_path, files=sums, changed="differs", hint="h"), read


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = large(tmp_path, monkeypatch)
    (tmp_path / f".{CHECKED}.tmp1").write_text("left by a kill")
    path = folder.path("part")
    assert sorted(one.name for one in tmp_path.iterdir()) == [CHECKED, "part"]
    assert (folder.path("part"), len(read)) == (path, 1)
    folder.verify()
    assert len(read) == 2, "verify reads every file"
    status = path.stat()
    path.write_bytes(b"y" * 1000)
    os.utime(
        path, ns=(status.st_atime_ns, status.st_mtime_ns)
    )  # as a restored backup would: size and time are the same
    with pytest.raises(IntegrityError, match="part differs"):
        folder.path("part")


def test_what_is_remembered_may_be_damaged_or_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = large(tmp_path, monkeypatch)
    folder.path("part")
    cache = tmp_path / CHECKED
    whole = cache.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        cache.write_bytes(damaged)
        before = len(read)
        folder.path("part")
        assert len(read) == before + 1, "a damaged cache is no cache"
    cache.unlink()
    cache.mkdir()  # cannot be written
    assert folder.path("part").exists()


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next change can have the same time stamp."""
    folder, read = large(tmp_path, monkeypatch)
    monkeypatch.setattr(files, "SETTLED_NS", 10**12)
    folder.path("part")
    folder.path("part")
    assert len(read) == 2


def test_small_files_are_checked_at_every_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = large(tmp_path, monkeypatch)
    monkeypatch.setattr(files, "REMEMBERED_FROM", 1 << 20)
    folder.path("part")
    folder.path("part")
    assert len(read) == 2
    assert not (tmp_path / CHECKED).exists()


def test_files_that_are_gone_or_unknown_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = large(tmp_path, monkeypatch)
    (tmp_path / "part").unlink()
    with pytest.raises(IntegrityError, match="part is missing"):
        folder.path("part")
    (tmp_path / "other").write_text("")
    with pytest.raises(IntegrityError, match="other has no checksum"):
        folder.path("other")


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
