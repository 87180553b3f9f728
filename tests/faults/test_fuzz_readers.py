"""Small valid files with random damage: readers end with rows or a named error, in time, and lose no row.

Truth: lines counted by plain Python, in content that the standard library unpacks. Each case depends on its number alone:
`damaged(number)` makes it again. The full form runs for an hour.
"""

from __future__ import annotations

import bz2
import csv
import functools
import gzip
import io
import json
import lzma
import multiprocessing
import os
import random
import re
import signal
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl
import pytest
from backports import zstd

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import iaac, tabular
from adasparse_cli.errors import AdasparseError, DataError
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import RawData, Silent
from adasparse_cli.typed import plain, typed
from tests.data_prep.test_iaac import HEADER, made_up

LIMIT_SECONDS = 10.0
EVERY = 40  # one case in so many is prepared as well
WORDS = ("data=tabular", "data.label=y", "data.domain=[place]", "data.max_rejected=1")


def rows() -> list[dict[str, Any]]:
    return [
        {"y": k % 3 % 2, "place": f"p{k % 4}", "title": ["plain", 'said "x"', "a,b", "é€😀", ""][k % 5], "price": k / 8}
        for k in range(60)
    ]


def text(*, newlines: bool = False, separator: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerow(rows()[0])
    for k, row in enumerate(rows()):
        title = "two\nlines, or\n\nfour" if newlines and k % 7 == 0 else row["title"]
        writer.writerow([*{**row, "title": title}.values()])
    return file.getvalue().encode()


def ndjson() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=k % 2 == 0) + "\n" for k, row in enumerate(rows())).encode()


def parquet(compression: str) -> bytes:
    frame = pl.DataFrame(rows()).with_columns(
        pl.col("title").cast(pl.Categorical).alias("kind"),
        pl.concat_list("title", "place").alias("tags"),
        pl.lit(datetime(2018, 9, 18)).alias("time"),
        pl.col("title").cast(pl.Binary).alias("bytes"),
    )
    file = io.BytesIO()
    frame.write_parquet(file, compression=compression, row_group_size=25)  # type: ignore[arg-type]
    return file.getvalue()


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", content)
    return file.getvalue()


def unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        return archive.read(name)


SEEDS: dict[str, bytes] = {
    "a.csv": text(),
    "b.tsv": text(separator="\t"),
    "lines.csv": text(newlines=True),
    "c.csv.gz": gzip.compress(text(), mtime=0),
    "d.csv.zip": zipped(text()),
    "e.csv.zst": zstd.compress(text()),
    "f.csv.bz2": bz2.compress(text()),
    "g.csv.xz": lzma.compress(text()),
    "h.ndjson": ndjson(),
    "i.parquet": parquet("zstd"),
    "j.parquet": parquet("uncompressed"),
    "iaac.txt": "\n".join([HEADER, *map(made_up, range(60))]).encode(),
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".zip": unzipped,
    ".zst": zstd.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}
SPICE = (
    b'"', b"\n", b"\r", b"\r\n", b",", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\xbd", b'""', b"\\u0000", b"\\ud83d",
    b"[" * 3000, b"9" * 400, b"1e999", b"inf", b"-", b" ", b"{", b"}", b"null", b"\x1f\x8b", b"PAR1", b"x" * 70_000,
)  # fmt: skip


def damaged(number: int) -> tuple[str, bytes]:
    """The name and the content of case `number`."""
    draw = random.Random(number)
    name = draw.choice(list(SEEDS))
    content = bytearray(SEEDS[name])
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        place, other = draw.randrange(len(content) + 1), draw.randrange(len(content) + 1)
        first, last = min(place, other), min(max(place, other), min(place, other) + 200)
        match draw.randrange(7):
            case 0 if place < len(content):
                content[place] ^= 1 << draw.randrange(8)
            case 1:
                del content[place:]
            case 2:
                content[place:place] = draw.choice(SPICE)
            case 3:
                content[first:last] = draw.randbytes(last - first)
            case 4:
                del content[first:last]
            case 5:
                content[place:place] = content[first:last]
            case 6 if place < len(content) and other < len(content):
                content[place], content[other] = content[other], content[place]
    return name, bytes(content)


_FIELD = rb'(?:"(?:[^"]|"")*+"|[^",\n]*+)'
QUOTED_AS_DEFINED = re.compile(rb"(?:" + _FIELD + rb"[,\n])*+" + _FIELD)


def expected_rows(name: str, content: bytes) -> int | None:
    """How many rows a file has, good or bad; None if that cannot be told by plain means. Raises what unpacking raises."""
    suffix = Path(name).suffix
    if suffix == ".parquet":
        return None
    plainly = UNPACK[suffix](content) if suffix in UNPACK else content
    if name == "lines.csv":
        # a quote within a field that is not quoted is a fault of its line, however a parser of CSV takes it
        if b"\r" in plainly or b"\0" in plainly or not QUOTED_AS_DEFINED.fullmatch(plainly):
            return None
        try:
            found = list(csv.reader(io.StringIO(plainly.decode("utf-8"), newline=""), strict=True))
        except (UnicodeDecodeError, csv.Error):
            return None
        width = len(found[0]) if found else 0
        return sum(map(bool, found[1:])) if all(len(row) in (0, width) for row in found) else None
    lines = [line.removesuffix(b"\r") for line in plainly.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return sum(map(bool, lines if name == "h.ndjson" else lines[1:]))


def opened(name: str, path: Path) -> RawData:
    if name == "iaac.txt":
        return iaac.read(typed(compose("prep", ["data=iaac"])["data"], iaac.Settings, "data"), [path])
    return tabular.read(settings_of(name), [path])


def settings_of(name: str) -> tabular.Settings:
    return SETTINGS[name == "lines.csv"]


SETTINGS = {
    newlines: typed(
        compose("prep", [*WORDS, f"data.quoted_newlines={str(newlines).lower()}"])["data"], tabular.Settings, "data"
    )
    for newlines in (False, True)
}


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"did not end in {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_case(number: int, folder: Path) -> str:
    """Read a damaged file; what came of it."""
    name, content = damaged(number)
    path = folder / name
    path.write_bytes(content)
    try:
        expected, undamaged = expected_rows(name, content), True
    except Exception:  # the standard library raises a dozen types
        expected, undamaged = None, False
    with limited(LIMIT_SECONDS):
        try:
            data = opened(name, path)
            frames = list(data.frames)
        except DataError as error:
            return "refused" if str(path) in error.message else f"{error.message} names no file"
        except AdasparseError as error:
            return type(error).__name__
        good = sum(frame.height for frame in frames)
        assert undamaged or Path(name).suffix in (".gz", ".zip"), "damage was not seen"
        places = [*(reject.line for reject in data.rejects), *(line for f in frames for line in f["__line"])]
        assert len(set(places)) == len(places), "a line was read twice"
        assert expected is None or good + len(data.rejects) == expected, (good, len(data.rejects), expected)
        if number % EVERY == 0 and name != "iaac.txt":
            own = settings_of(name)
            try:
                manifest = prepare(own, plain(own), [path], folder / "data", Silent())
            except AdasparseError as error:
                return type(error).__name__
            assert sum(counts.rows for counts in manifest.splits.values()) == good
    return "read"


def run_cases(first: int, seconds: float, folder: Path, tell: Connection) -> None:
    """Read every second damaged file; tell each case's number before it, and in the end what came of all."""
    ends, number, came = time.monotonic() + seconds, first, Counter[str]()
    while time.monotonic() < ends:
        tell.send(number)
        try:
            came[run_case(number, folder)] += 1
        except BaseException as error:
            tell.send(f"{type(error).__name__}: {error}")
            return
        number += 2
    tell.send(came)


class Fuzzing:
    """Cases that are run in a process of their own."""

    def __init__(self, seconds: float, folder: Path, cases: Callable[[float, Path, Connection], None]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ear, mouth = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=cases, args=(seconds, folder, mouth))
        self._process.start()
        mouth.close()
        self._number, self._told = 0, None
        # a pipe that nobody reads is full after some thousand cases
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while isinstance(told := self._ear.recv(), int):
                self._number = told
        except EOFError:
            told = None
        self._process.join()
        self._told = told or f"ended its process with exit code {self._process.exitcode}"

    def ended(self) -> Counter[str]:
        """What came of all cases.

        Raises:
            AssertionError: a case failed, or ended the process.
        """
        self._reader.join()
        assert isinstance(self._told, Counter), f"case {self._number}, {damaged(self._number)[0]}: {self._told}"
        return self._told

    def stop(self) -> None:
        """End the process, if it has not ended."""
        self._process.kill()
        self._reader.join()


# Two processes of pytest share the hour, or the minute.
@pytest.mark.parametrize(
    "first",
    [pytest.param(k, marks=pytest.mark.xdist_group(f"test_fuzz_readers {k}"), id=("even", "odd")[k]) for k in range(2)],
)
def test_damaged_files_end_with_rows_or_a_named_error(
    first: int, attacks: Callable[[int, int], int], tmp_path: Path
) -> None:
    seconds = attacks(1800, 30)
    came = Fuzzing(seconds, tmp_path, functools.partial(run_cases, first)).ended()
    print(f"{came.total()} cases in {seconds} s: {dict(came)}")
    assert came["read"]
    assert came["refused"]
    assert not [what for what in came if "names no file" in what]


def aborted(seconds: float, folder: Path, tell: Connection) -> None:
    tell.send(6444)
    os.abort()


def test_a_case_that_ends_the_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"case 6444, j\.parquet: ended its process with exit code -6"):
        Fuzzing(60, tmp_path, aborted).ended()


@pytest.mark.parametrize("number", [73, 6444, 13262, 100995, 101807])
def test_cases_that_once_failed(number: int, tmp_path: Path) -> None:
    run_case(number, tmp_path)
