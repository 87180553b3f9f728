"""Reads parts of Parquet files in a child process, before this process reads them.

Some damage makes polars abort its process: a negative number of values in a page header requests 2^61 bytes. Then only the
child ends, with the message that polars writes to stderr, and this process can name the file.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import ResourceError

IDLE_SECONDS = 60
_BINARY = "is not text in UTF-8"


class UnreadableError(Exception):
    """A part of a file cannot be read; the text is the reason."""


class ProbeDiedError(UnreadableError):
    """Reading a part of a file ended the child."""


def scanned(path: Path) -> pl.LazyFrame:
    """The file as both processes read it."""
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def described(path: Path) -> tuple[pl.Schema, int]:
    """A file's columns and its number of rows."""
    frame = scanned(path)
    return frame.collect_schema(), int(frame.select(pl.len()).collect().item())


def part(path: Path, columns: Sequence[str], start: int, rows: int) -> pl.DataFrame:
    """Some rows of some columns."""
    return scanned(path).select(columns).slice(start, rows).collect()


def text_of(values: pl.Series, list_separator: str) -> tuple[pl.Series, pl.Series | None, str]:
    """A column as text, with timestamps in UTC to the second; the rows that cannot be converted; and the reason."""
    kind = values.dtype
    if isinstance(kind, pl.Array):
        values = values.arr.to_list()
    if isinstance(values.dtype, pl.List):
        texts = values.cast(pl.List(pl.String))
        within = texts.list.eval(pl.element().str.contains(list_separator, literal=True)).list.any()
        return texts.list.join(list_separator), within, f"has the list separator {list_separator!r} in a value"
    if isinstance(kind, pl.Datetime):
        utc = values if kind.time_zone is None else values.dt.convert_time_zone("UTC")
        return utc.dt.strftime("%Y-%m-%d %H:%M:%S"), None, ""
    if kind == pl.Binary:
        texts = pl.Series(values.name, [_decoded(value) for value in values], dtype=pl.String)
        return texts, texts.is_null() & values.is_not_null(), _BINARY
    text = values.cast(pl.String)
    if kind == pl.String and text.str.contains("\0", literal=True).any():
        return text, text.str.contains("\0", literal=True), "holds a NUL character"
    return text, None, ""


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def check_described(path: Path) -> None:
    """Call `described` in the child.

    Raises:
        UnreadableError: the call failed.
        ResourceError: the child cannot be started.
    """
    probe_of(os.getpid()).ask({"path": _place(path)})


def check_part(path: Path, columns: Sequence[str], start: int, rows: int, list_separator: str) -> None:
    """Call `part` and `text_of` in the child. If the child ends, each column is tried separately to name the damaged one.

    Raises:
        UnreadableError: the call failed.
        ResourceError: the child cannot be started.
    """
    asked = {
        "path": _place(path),
        "columns": list(columns),
        "start": start,
        "rows": rows,
        "list_separator": list_separator,
    }
    probe = probe_of(os.getpid())
    try:
        probe.ask(asked)
    except ProbeDiedError:
        for column in columns:
            try:
                probe.ask({**asked, "columns": [column]})
            except UnreadableError as error:
                raise UnreadableError(f"column {column}: {error}") from None
        raise


def _place(path: Path) -> str:
    # the child stays in the folder in which it was started
    return str(path.absolute())


class _Probe:
    """The child of one process. It starts on first use and ends when idle for a while."""

    def __init__(self) -> None:
        self.child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, asked: dict[str, Any]) -> None:
        with self._lock:
            # a child that ended while idle, or was killed for another reason, is replaced once
            for _ in range(2):
                if (answer := self._answer(asked)) is not None:
                    break
                code = self._end()
        if answer is None:
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ProbeDiedError(f"reading it ended a process with {how}")
        if answer["fault"] is not None:
            raise UnreadableError(answer["fault"])

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The child's answer; None if it ended."""
        try:
            child = self.child = self.child or _started()
            assert child.stdin
            assert child.stdout
            with contextlib.suppress(BrokenPipeError):  # the child has ended: the answer is empty
                child.stdin.write(json.dumps(asked) + "\n")
                child.stdin.flush()
            line = child.stdout.readline()
        except BaseException:
            # its answer would be taken as the answer to the next request
            self._end(kill=True)
            raise
        return json.loads(line) if line.endswith("\n") else None

    def _end(self, *, kill: bool = False) -> int:
        if self.child is None:
            return 0
        child, self.child = self.child, None
        if kill:
            child.kill()
        code = child.wait()
        for stream in (child.stdin, child.stdout):
            assert stream
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        return code

    def close(self) -> None:
        self._end(kill=True)


@cache
def probe_of(process: int) -> _Probe:
    """The probe of a process; a forked process gets a new one."""
    probe = _Probe()
    atexit.register(lambda: probe.close() if process == os.getpid() else None)
    return probe


def _started() -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # formatting a panic's backtrace takes long, and it is not shown
        env={**os.environ, "RUST_BACKTRACE": "0"},
        text=True,
        encoding="utf-8",
        # signals of the terminal are for the parent, which ends the child
        start_new_session=True,
    )
    assert child.stdout
    if not child.stdout.readline():
        with child:  # closes its pipes and waits for it
            pass
        raise ResourceError(
            f"the process that checks Parquet files did not start (exit code {child.returncode})",
            hint="free some memory; 'adasparse doctor' checks the installation",
        )
    return child


def _serve() -> None:
    """Answer requests until the input ends."""
    tell = sys.stdout
    tell.write("ready\n")
    tell.flush()
    while True:
        signal.alarm(IDLE_SECONDS)
        line = sys.stdin.readline()
        signal.alarm(0)
        if not line:
            return
        asked = json.loads(line)
        fault = None
        try:
            if "columns" in asked:
                frame = part(Path(asked["path"]), asked["columns"], asked["start"], asked["rows"])
                for values in frame.iter_columns():
                    text_of(values, asked["list_separator"])
            else:
                described(Path(asked["path"]))
        except BaseException as error:  # a panic is not an Exception
            fault = str(error).partition("\n")[0]
        tell.write(json.dumps({"fault": fault}) + "\n")
        tell.flush()


if __name__ == "__main__":
    _serve()
