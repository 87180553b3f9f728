"""Files, folders and patterns become files in a stable order; each has a name of its own in reports."""

from __future__ import annotations

import contextlib
from pathlib import Path

import polars as pl
import pytest

from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.raw.raw_files import partition_values, raw_files, source_names


def made(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("y,place\n1,a\n")
    return paths


def test_a_folder_stands_for_the_tables_below_it_in_order(tmp_path: Path) -> None:
    made(tmp_path, "_SUCCESS", ".part.crc", "_metadata", "day=1/.hidden/x.csv", "_temporary/0/part-9.csv")
    tables = made(tmp_path, "day=1/part-0.csv", "day=1/part-1.csv.gz", "day=10/part-0.csv", "day=2/part-0.csv")
    assert raw_files(tmp_path) == tuple(tables)
    assert raw_files([str(tmp_path)]) == tuple(tables)


def test_parts_without_a_suffix_are_told_by_their_content(tmp_path: Path) -> None:
    tables = made(tmp_path, "part-00000", "part-00001")
    assert raw_files(tmp_path) == tuple(tables)
    pl.DataFrame({"y": [1]}).write_parquet(tmp_path / "part-00002")
    with pytest.raises(DataError, match=r"several kinds: text \(.*part-00000\) and Parquet \(.*part-00002\)"):
        raw_files(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "contains no table"),
        (("_SUCCESS",), "contains no table"),
        (("a.csv", "b.md"), r"b\.md is not known to be a table"),
    ],
)
def test_a_folder_that_is_no_table_is_named(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    made(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        raw_files(tmp_path)


def test_a_pattern_stands_for_its_files_and_a_file_for_itself(tmp_path: Path) -> None:
    one, other, _ = made(tmp_path, "log1.csv", "log2.csv", "_log3.csv")
    assert raw_files(str(tmp_path / "log[12].csv")) == (one, other)
    assert raw_files(str(tmp_path / "*.csv")) == (one, other)
    (literal,) = made(tmp_path, "log[12].csv")
    assert raw_files(str(tmp_path / "log[12].csv")) == (literal,)
    assert raw_files([str(tmp_path / "log?.csv"), str(literal)]) == (one, other, literal)
    with pytest.raises(DataError, match="no file matches"):
        raw_files(str(tmp_path / "x*.csv"))


def test_a_pattern_of_folders_stands_for_their_tables(tmp_path: Path) -> None:
    tables = made(tmp_path, "day=1/a.csv", "day=2/a.csv")
    assert raw_files(str(tmp_path / "day=*")) == tuple(tables)
    assert raw_files(str(tmp_path / "**")) == tuple(tables)
    assert raw_files(str(tmp_path / "**" / "*.csv")) == tuple(tables)


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    (path,) = made(tmp_path, "a.csv")
    with pytest.raises(UsageError, match="named twice"):
        raw_files([str(path), str(tmp_path / "*.csv")])


def test_a_path_that_is_not_there_is_left_to_those_who_read_it() -> None:
    assert raw_files("nowhere.csv") == (Path("nowhere.csv"),)


def test_sources_of_one_name_are_called_by_the_shortest_end_of_their_paths() -> None:
    paths = ["a/x/day=1/part-0.csv", "a/x/day=2/part-0.csv", "b/part-1.csv", "a/q/t.csv", "b/q/t.csv"]
    assert source_names([Path(path) for path in paths]) == [
        "day=1/part-0.csv", "day=2/part-0.csv", "part-1.csv", "a/q/t.csv", "b/q/t.csv"
    ]  # fmt: skip
    found = source_names([Path("part-0.csv"), Path("x/part-0.csv")])
    assert found == [f"{Path.cwd().name}/part-0.csv", "x/part-0.csv"]


def test_partitions_are_the_folders_directly_above_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x=9" / "logs" / "day=2018-09-18" / "site=a%2Fb" / "hour=__HIVE_DEFAULT_PARTITION__" / "p.csv"
    assert partition_values(path) == {"day": "2018-09-18", "site": "a/b", "hour": None}
    assert list(partition_values(path)) == ["day", "site", "hour"]


def test_a_recursive_pattern_enters_no_linked_folder(tmp_path: Path) -> None:
    """Neither one outside of it, nor one that leads in a circle; a link that is named or matched by `*` is followed."""
    inside, outside = tmp_path / "logs", tmp_path / "elsewhere"
    for path in (inside / "a.csv", inside / "day" / "b.csv", inside / ".hidden" / "c.csv", outside / "d.csv"):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("y\n1\n")
    (inside / "away").symlink_to(outside)
    (inside / "day" / "circle").symlink_to(inside)
    (inside / "linked.csv").symlink_to(outside / "d.csv")
    every = (inside / "a.csv", inside / "day" / "b.csv", inside / "linked.csv")
    assert raw_files(f"{inside}/**/*.csv") == every
    assert raw_files(f"{tmp_path}/**/**/day/*.csv") == (inside / "day" / "b.csv",)
    assert raw_files(f"{inside}/**") == raw_files(inside) == every
    assert raw_files(f"{inside}/*/d.csv") == raw_files(f"{inside}/away/**/d.csv") == (inside / "away" / "d.csv",)
    with contextlib.chdir(inside):
        assert raw_files("**/*.csv") == (Path("a.csv"), Path("day/b.csv"), Path("linked.csv"))
