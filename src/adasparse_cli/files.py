"""Files that are whole or absent: atomic writes, checksums, one owner per folder. Floor 0."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adasparse_cli.errors import BusyError, DiskFullError, IntegrityError

LONGEST_STEM = 150


def write_atomically(path: Path, write: Callable[[Path], None], *, size: int | None = None) -> None:
    """Write a file so that `path` holds either its old content or all of the new one.

    `write` gets a temporary path in the same folder; then fsync, rename and fsync of the folder.

    Args:
        size: bytes of the new content, where they are known before they are written.

    Raises:
        DiskFullError: the disk has no room.
    """
    with _temporary(path) as temporary:
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        except Exception as error:
            if not disk_is_full(error):
                raise
            needed = size or temporary.stat().st_size
            os.truncate(temporary, 0)  # gives its room back, so that the error names what the person will find free
            raise no_room(path, needed or None) from None
        temporary.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """The temporary file of `path`, for this process alone; two that write the same file take turns.

    It has one name, so that what a killed process left is overwritten by the next. It is held by a lock and not by a
    process number, since processes of other machines and containers may write to the same folder.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    while True:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with open(descriptor, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file.fileno(), temporary):  # it was renamed while we waited
                continue
            try:
                yield temporary
            finally:
                if _is_at(file.fileno(), temporary):  # after the rename, the name may be another writer's already
                    temporary.unlink()
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def disk_is_full(error: BaseException) -> bool:
    """Whether an error says that the disk has no room; libraries written in Rust say so in their own types."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in numbers):
        return True
    found = re.search(r"\(os error (\d+)\)", str(error))
    return found is not None and int(found[1]) in numbers


def no_room(path: Path, needed: int | None = None) -> DiskFullError:
    """The error for a full disk.

    Args:
        path: what could not be written. needed: bytes that it takes at least; None for one block, which any file takes.
    """
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    needed = os.statvfs(folder).f_frsize if needed is None else needed
    return DiskFullError(
        f"{path} could not be written, the disk is full: at least {needed:,} bytes are needed, "
        f"{shutil.disk_usage(folder).free:,} are free",
        hint="free some room, then run the same command again",
        needed=needed,
    )


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    content = text.encode()
    write_atomically(path, lambda temporary: _write_bytes(temporary, content), size=len(content))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. Values JSON cannot hold (NaN, infinity) are an error."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        IntegrityError: the file is missing, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing", hint="the folder was moved or only partly copied") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number that JSON does not have
        raise IntegrityError(f"{path} is damaged: {error}", hint="restore it from a copy, or make it anew") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def file_stem(name: str) -> str:
    """A text from data, such as a column's name, as the stem of a file: letters, digits and `_.-~ ` stay, the rest is %-coded.

    A name too long for a file system keeps its beginning, and a hash of the whole.
    """
    stem = quote(name, safe=" ")
    return shortened(stem, LONGEST_STEM)


def shortened(name: str, longest: int) -> str:
    """A name as it is, or where it is too long its beginning and a hash of the whole."""
    return name if len(name) <= longest else f"{name[: longest - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def only_owner(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the kernel lets go of it when the process ends, however it ends.

    Raises:
        BusyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(
                f"another process is working in {folder}", hint="wait until it ends, or stop it, then try again"
            ) from None
        yield


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
