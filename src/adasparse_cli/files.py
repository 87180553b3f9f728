"""Files that are whole or absent: atomic writes, checksums, one owner per folder. Floor 0."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adasparse_cli.errors import BusyError, IntegrityError

LONGEST_STEM = 150
LARGEST_SETTINGS = 512 << 10


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file so that `path` holds either its old content or all of the new one.

    `write` gets a temporary path in the same folder; then fsync, rename and fsync of the folder.
    """
    temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: _write_bytes(temporary, text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. Values JSON cannot hold (NaN, infinity) are an error."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        IntegrityError: the file is missing, or no JSON.
    """
    try:
        require_regular(path)
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise IntegrityError(f"{path} is damaged: it is nested too deeply", hint="make it anew") from None
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing", hint="the folder was moved or only partly copied") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number that JSON does not have
        raise IntegrityError(f"{path} is damaged: {error}", hint="restore it from a copy, or make it anew") from None


def require_regular(path: Path) -> None:
    """Refuse devices, pipes and sockets: their content has no end, or never comes.

    Raises:
        FileNotFoundError: the path, or what its link names, does not exist.
        IntegrityError: it is not a regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise IntegrityError(
            f"{path} is not a regular file", hint="name a file; folders, pipes and devices are not read"
        )


def read_small_text(path: Path) -> str:
    """A file of settings, as text.

    Raises:
        FileNotFoundError: it does not exist.
        UnicodeDecodeError: it is not UTF-8.
        IntegrityError: it is not a regular file, or larger than settings are.
    """
    require_regular(path)
    if path.stat().st_size > LARGEST_SETTINGS:
        limit = f"{LARGEST_SETTINGS >> 10} KiB"
        raise IntegrityError(f"{path} is larger than {limit}", hint="this is not a file of settings")
    return path.read_text(encoding="utf-8")


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
    require_regular(path)
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
