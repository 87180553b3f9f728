"""Parts of a file that are read on their own have the rows, numbers and rejected lines of the whole file."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adasparse_cli.raw.lines import TextFile
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.raw.shards import Shard, surveyed

LINES = st.lists(st.sampled_from(["x,y", "", "z", ",,", "a,b", "é,ü", "x," + "y" * 60, "long" * 30]), max_size=12)


def rows(path: Path, shards: Sequence[Shard | None], range_bytes: int) -> tuple[list[tuple[int, str]], list[Reject]]:
    rejects: list[Reject] = []
    file = TextFile(path, b",", rejects)
    blocks = [block for shard in shards for block in file.blocks(range_bytes, shard)]
    found = [row for block in blocks for row in zip(block.numbers.tolist(), block.texts(), strict=True)]
    return found, sorted(rejects, key=lambda reject: reject.line)


def by_hand(content: bytes) -> tuple[list[tuple[int, str]], list[int]]:
    """The good rows and the rejected lines, line by line."""
    good, bad = [], []
    for number, line in enumerate(content.decode().split("\n"), start=1):
        line = line.removesuffix("\r")
        if number == 1 or not line:
            continue
        if line.count(",") != 1 or len(line.encode()) > 64 or line == "a,b":
            bad.append(number)
        else:
            good.append((number, line))
    return good, bad


@settings(deadline=None, max_examples=300)
@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.integers(1, 200))
def test_ranges_give_the_rows_of_the_file(lines: list[str], end: str, last: bool, range_bytes: int) -> None:
    content = ("a,b" + end + end.join(lines) + (end if last else "")).encode()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("adasparse_cli.raw.lines.LONGEST_LINE", 64)
        path = Path(folder) / "t.csv"
        path.write_bytes(content)
        survey = surveyed(path, 0, range_bytes)
        found, rejects = rows(path, survey.shards, range_bytes)
        assert (found, [reject.line for reject in rejects]) == by_hand(content)
        assert (found, rejects) == rows(path, [None], range_bytes)
    assert survey.sha256 == hashlib.sha256(content).hexdigest()


def test_a_packed_file_and_one_with_line_breaks_in_fields_are_one_part(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'a,b\n1,"x\ny"\n')
    assert TextFile(path, b",", []).divisible
    assert not TextFile(path, b",", [], quoted=True, quoted_newlines=True).divisible
    assert surveyed(path, 3, None).shards == (Shard(3),)
