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
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adasparse_cli.errors import BusyError, DiskFullError, IntegrityError

LONGEST_STEM = 150
# Which large files were checked before, beside them; see `SealedFolder.paths`.
CHECKED = ".verified.json"
# Smaller files are checked at every use: it takes about a millisecond.
REMEMBERED_FROM = 1 << 20
# A file that changed so recently may change once more without a new time stamp.
SETTLED_NS = 2 * 10**9
_SEAL = re.compile(rb',\n  "checksum": "([0-9a-f]{64})"\n}\n\Z')
LARGEST_SETTINGS = 512 << 10


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
        hint="free disk space, then run the same command again",
        needed=needed,
    )


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    content = text.encode()
    write_atomically(path, lambda temporary: _write_bytes(temporary, content), size=len(content))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically. Values JSON cannot hold (NaN, infinity) are an error."""
    write_text(path, _as_text(value))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        IntegrityError: the file is missing, or no JSON.
    """
    return _parsed(path, _content(path))


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object whose last key, `checksum`, is the sha256 of the file without that key, atomically.

    Args:
        value: not empty; it names its format by a key that files without a checksum do not have, see `read_sealed`.
    """
    body = _as_text(value)
    seal = f',\n  "checksum": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'
    write_text(path, body.removesuffix("\n}\n") + seal)


def read_sealed(path: Path, key: str, *, unsealed: Any) -> dict[str, Any]:
    """Read a JSON object that `write_sealed` wrote, without its checksum; any change of its bytes is found.

    Args:
        key: the key that names the format.
        unsealed: its value in files of versions that wrote no checksum, which are read as they are. None where they have
            no such key. A sealed file has another value, so it cannot lose its seal unnoticed.

    Raises:
        IntegrityError: the file is missing, or is not what was written.
    """
    content = _content(path)
    seal = _SEAL.search(content)
    if seal is None:
        values = _parsed(path, content)
        if isinstance(values, dict) and values.get(key) == unsealed and "checksum" not in values:
            return values
        raise IntegrityError(f"{path} is damaged: it has no valid checksum", hint=_RESTORE)
    body = content[: seal.start()] + b"\n}\n"
    if hashlib.sha256(body).hexdigest().encode() != seal[1]:
        raise IntegrityError(f"{path} was changed after it was written: its checksum differs", hint=_RESTORE)
    found: dict[str, Any] = _parsed(path, body)
    return found


@dataclass(frozen=True, kw_only=True)
class SealedFolder:
    """A folder's files whose checksums are known from elsewhere, such as a manifest.

    Args:
        files: sha256 by path relative to `folder`.
        changed: what to say of a file that differs, such as "differs from what was written".
        hint: what to do about a file that is missing or differs.
    """

    folder: Path
    files: Mapping[str, str]
    changed: str
    hint: str

    def path(self, name: str) -> Path:
        """The path of a file that is checked, see `paths`."""
        return self.paths([name])[0]

    def paths(self, names: Sequence[str], *, afresh: bool = False) -> list[Path]:
        """The paths of files after their bytes are checked.

        A file of at least REMEMBERED_FROM bytes that was checked before is not read again while its size, inode and times
        of change are the same. `afresh` reads it in any case.

        Raises:
            IntegrityError: a file is missing, differs, or is none of `files`.
        """
        before = {} if afresh else _checked_before(self.folder)
        new: dict[str, list[Any]] = {}
        for name in names:
            path, expected = self.folder / name, self.files.get(name)
            if expected is None:
                raise IntegrityError(f"{path} has no checksum: it was added later", hint=self.hint)
            try:
                status = path.stat()
                mark = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, expected]
                if before.get(name) == mark:
                    continue
                found = sha256_of(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise IntegrityError(f"{path} is missing", hint=self.hint) from None
            if found != expected:
                raise IntegrityError(f"{path} {self.changed}: its checksum differs", hint=self.hint)
            if status.st_size >= REMEMBERED_FROM and time.time_ns() - status.st_ctime_ns > SETTLED_NS:
                new[name] = mark
        if new:
            kept = {name: mark for name, mark in before.items() if name in self.files}
            with contextlib.suppress(OSError):  # where nothing can be written, files are checked at every use
                for left in self.folder.glob(f".{CHECKED}.tmp*"):  # by a process that was killed while it wrote
                    left.unlink()
                write_sealed(self.folder / CHECKED, {"cache_version": 1, "files": {**kept, **new}})
        return [self.folder / name for name in names]

    def verify(self) -> None:
        """Read and check every file.

        Raises:
            IntegrityError: a file is missing or differs.
        """
        self.paths(list(self.files), afresh=True)


def checksums(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """The sha256 of each file, by its path relative to `folder`."""
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(paths)}


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


def file_stem(name: str) -> str:
    """A text from data, such as a column's name, as the stem of a file: letters, digits and `_.-~ ` stay, the rest is %-coded.

    A name too long for a file system keeps its beginning, and a hash of the whole.
    """
    stem = quote(name, safe=" ")
    return shortened(stem, LONGEST_STEM)


def shortened(name: str, longest: int) -> str:
    """A name as it is, or where it is too long its beginning and a hash of the whole."""
    return name if len(name) <= longest else f"{name[: longest - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def remove_stray_temporaries(folder: Path) -> None:
    """Remove what processes that were killed in a write left below a folder that this process owns."""
    for path in folder.rglob(".*.tmp*"):
        if re.fullmatch(r"\..+\.tmp\d*", path.name):
            path.unlink(missing_ok=True)


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
def only_owner(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold `folder` for this process; the kernel releases it when the process ends, however it ends.

    Args:
        wait: whether to wait until another process releases it, for what is held for a moment only.

    Raises:
        BusyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise BusyError(
                f"another process is working in {folder}", hint="wait until it ends, or stop it, then try again"
            ) from None
        yield


_RESTORE = "restore it from a copy, or create it again"


def _checked_before(folder: Path) -> Mapping[str, Any]:
    """What `SealedFolder.paths` remembers; nothing where that is missing or damaged."""
    try:
        found = read_sealed(folder / CHECKED, "cache_version", unsealed=object())["files"]
    except (IntegrityError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _content(path: Path) -> bytes:
    try:
        require_regular(path)
        return path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing", hint="the folder was moved or only partly copied") from None


def _parsed(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except ValueError as error:  # no JSON, no UTF-8, or a number that JSON does not have
        raise IntegrityError(f"{path} is damaged: {error}", hint=_RESTORE) from None
    except RecursionError:
        raise IntegrityError(f"{path} is damaged: it is nested too deeply", hint=_RESTORE) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _as_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
