"""The publisher's own split: rows of the files that are named as test files."""

from __future__ import annotations

from pathlib import Path

import pytest

from adasparse_cli.choices import Split
from adasparse_cli.data_prep import joined
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.prepared.tables import split_parts
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain
from tests.commands.typing_in import adasparse
from tests.data_prep.public_sets import FILE, NUMBER
from tests.data_prep.test_public_data import made, settings_of


def places(folder: Path, manifest: Manifest) -> dict[Split, set[tuple[str, int]]]:
    """File and line of the rows of each split."""
    names = [source.name for source in manifest.sources]
    return {
        split: {
            (Path(names[source]).name, line)
            for frame in split_parts(folder, manifest, split)
            for source, line in frame.select("__source", "__line").rows()
        }
        for split in (Split.train, Split.valid, Split.test)
    }


@pytest.mark.parametrize("name", ["ali-ccp", "aliexpress"])
def test_the_publishers_test_rows_are_the_test_split_and_no_others(name: str, tmp_path: Path) -> None:
    rows = made(name, tmp_path / "raw")
    settings = settings_of(name, "data.valid_share=0.3")
    files = joined.files(settings, [str(tmp_path / "raw")])
    folder = tmp_path / "data"
    found = places(folder, prepare(settings, plain(settings), list(files), folder, Silent()))
    expected = {(row[FILE], row[NUMBER]) for row in rows if "_test" in row[FILE]}
    others = {(row[FILE], row[NUMBER]) for row in rows} - expected
    assert expected
    assert found[Split.test] == expected
    assert found[Split.train] | found[Split.valid] == others
    assert not found[Split.train] & found[Split.valid]
    assert 0.1 < len(found[Split.valid]) / len(others) < 0.5


def table(path: Path, rows: int, start: int) -> None:
    lines = [f"{k},{k % 5},{k % 3},{int(k % 4 == 0)}" for k in range(start, start + rows)]
    path.write_text("\n".join(["n,shop,place,click", *lines]) + "\n")


WORDS = ("data=tabular", "data.label=click", "data.domain=[place]", "data.split=given")


def test_a_persons_own_test_file_is_the_test_split(tmp_path: Path) -> None:
    table(tmp_path / "first.csv", 300, 0)
    table(tmp_path / "second.csv", 80, 300)
    words = (*WORDS, "raw=[first.csv,second.csv]", "data.test_files=[second.csv]", "data.name=mine")
    done = adasparse(tmp_path, "prep", *words)
    assert "split: given, test = second.csv; of the other rows 10% valid by row hash" in done.stdout + done.stderr
    assert "is up to date" in adasparse(tmp_path, "prep", *words).stderr
    shown = adasparse(tmp_path, "data", "show", "mine", "--json").stdout
    assert '"rows": 80' in shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "data.test_files names none"),
        (("data.test_files=[third.csv]",), 3, "no file with rows is one of data.test_files"),
        (("data.test_files=[*.csv]",), 3, "none is left to train on"),
    ],
)
def test_a_given_split_without_its_files_is_refused(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    table(tmp_path / "first.csv", 300, 0)
    table(tmp_path / "second.csv", 80, 300)
    done = adasparse(tmp_path, "prep", *WORDS, "raw=[first.csv,second.csv]", *words, code=code)
    assert said in done.stderr
    assert done.stderr.count("hint:") == 1
    assert not (tmp_path / "data" / "tabular" / "manifest.json").exists()


def test_another_split_of_the_same_files_can_be_asked_for(tmp_path: Path) -> None:
    made("ali-ccp", tmp_path / "raw")
    adasparse(tmp_path, "prep", "data=ali-ccp", "raw=raw", "data.split=random")
