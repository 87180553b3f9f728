"""Packed files are recognised by their bytes and read as streams; damage is named by its place."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from adasparse_cli.errors import DataError
from adasparse_cli.raw.lines import TextFile
from adasparse_cli.raw.packing import DamagedError, Unpacked
from adasparse_cli.raw.rejected import Reject

TEXT = b"y,place\n" + b"".join(b"%d,p%d\n" % (k % 2, k * k) for k in range(40_000))


def zipped(content: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("a.csv",):
            archive.writestr(name, content)
    return file.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "zip": zipped, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd.compress
}  # fmt: skip


def content_of(path: Path) -> bytes:
    with Unpacked(path) as file:
        return b"".join(iter(lambda: file.read(1 << 16), b""))


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", ["a.csv", "a.gz", "a"])
def test_the_packing_is_told_by_the_bytes_whatever_the_name(tmp_path: Path, packing: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(PACK[packing](TEXT))
    assert content_of(path) == TEXT


@pytest.mark.parametrize("packing", ["gzip", "bzip2", "xz", "zstd"])
def test_streams_one_after_the_other_are_one_file(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(PACK[packing](TEXT) + PACK[packing](TEXT[:999]))
    assert content_of(path) == TEXT + TEXT[:999]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_file_that_was_cut_off_is_named_with_the_line_and_byte_reached(
    tmp_path: Path, packing: str, share: float
) -> None:
    path = tmp_path / "a.csv"
    packed = PACK[packing](TEXT)
    path.write_bytes(packed[: int(len(packed) * share)])
    with pytest.raises(DataError, match=r"a\.csv is (damaged or cut off after line \d+ \(byte|not a readable zip)"):
        list(TextFile(path, b",", []).blocks(1 << 14))


@pytest.mark.parametrize("packing", ["gzip", "bzip2", "xz", "zstd"])
def test_bytes_behind_the_end_are_damage(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(PACK[packing](TEXT) + b"\x01garbage")
    with pytest.raises(DamagedError):
        content_of(path)


@pytest.mark.parametrize("packing", ["gzip", "zip", "bzip2", "xz", "zstd"])
def test_a_bomb_needs_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str) -> None:
    """24 MiB without a line break: one row is rejected, and no more than some blocks are held."""
    monkeypatch.setattr("adasparse_cli.raw.lines.LONGEST_LINE", 1 << 20)
    path = tmp_path / "a.csv"
    path.write_bytes(PACK[packing](b"y,place\n" + b"x" * (24 << 20) + b"\n1,p\n"))
    rejects: list[Reject] = []
    tracemalloc.start()
    (block,) = TextFile(path, b",", rejects).blocks(1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (block.data, block.numbers.tolist()) == (b"1,p\n", [3])
    assert [(one.line, one.reason) for one in rejects] == [(2, "is longer than 1,048,576 bytes")]
    assert peak < 16 << 20  # xz keeps 8 MiB of what it has read


def test_xz_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 64 << 20}]
    packed = bytearray(lzma.compress(TEXT, filters=filters, check=lzma.CHECK_NONE))
    path.write_bytes(packed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adasparse_cli.raw.packing.XZ_MEMORY", 32 << 20)
        with pytest.raises(DataError, match="damaged or cut off"):
            TextFile(path, b",", [])


@pytest.mark.parametrize("names", [("a.csv", "b.csv"), ("../a.csv", "/etc/b.csv"), ()])
def test_an_archive_of_no_or_many_files_is_named_with_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    path.write_bytes(zipped(TEXT, *names) if names else b"PK\x05\x06" + bytes(18))
    with pytest.raises(DataError, match=f"holds {len(names)} files"):
        content_of(path)
    assert [one.name for one in tmp_path.rglob("*")] == ["in", "a.zip"]


def test_a_member_with_a_path_upwards_is_read_and_not_extracted(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    path.write_bytes(zipped(TEXT, "../../a.csv"))
    assert content_of(path) == TEXT
    assert [one.name for one in tmp_path.rglob("*")] == ["in", "a.zip"]


@pytest.mark.parametrize(
    ("magic", "name"),
    [(b"7z\xbc\xaf\x27\x1c", "7-Zip"), (b"Rar!\x1a\x07\x01", "RAR"), (b"\x04\x22\x4d\x18", "LZ4"), (b"\x1f\x9d", "Z")],
)
def test_a_packing_that_is_not_read_is_named(tmp_path: Path, magic: bytes, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(magic + b"x" * 40)
    with pytest.raises(DataError, match=name) as caught:
        content_of(path)
    assert "zstd" in caught.value.hint
