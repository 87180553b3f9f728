"""Preparation on a real Spark in local mode; skipped where pyspark or Java is missing.

Truth: the files that `prep.engine=local` writes.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adasparse_cli.errors import DataError, ResourceError, TooManyRejectedError, UsageError
from adasparse_cli.prep.engine import LocalEngine
from adasparse_cli.spark import engine as module
from adasparse_cli.spark import tasks as spark_tasks
from adasparse_cli.spark.engine import SparkEngine
from adasparse_cli.spark.session import require_installed, started
from tests.prep.engines import GIVEN, RANDOM, TABLE, made, raw_files

try:
    require_installed()
except UsageError as error:
    pytest.skip(f"no Spark here: {error.message}", allow_module_level=True)
# sockets of Spark's client are closed when its objects are collected
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module", params=["local[1]", "local[2]"])
def session(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Spark takes 10 to 20 s to start."""
    with started(request.param, "test") as found:
        yield found


@pytest.fixture
def on_spark(session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SparkEngine:
    """An engine that uses the running session."""
    monkeypatch.setattr(module, "started", lambda *_: contextlib.nullcontext(session))
    return SparkEngine(None, "x", tmp_path)


@pytest.mark.parametrize("words", [TABLE, RANDOM, GIVEN], ids=["day", "random", "given"])
def test_every_file_is_the_same(tmp_path: Path, on_spark: SparkEngine, words: tuple[str, ...]) -> None:
    raw = raw_files(tmp_path)
    expected = made(tmp_path / "data" / "local", raw, words, LocalEngine())
    # Spark reads patterns in paths
    assert made(tmp_path / "data [1] {a}*" / "spark", raw, words, on_spark) == expected


def test_the_twin_is_the_same(tmp_path: Path, on_spark: SparkEngine) -> None:
    words = ("data=twin", "data.rows=2000")
    expected = made(tmp_path / "local", [], words, LocalEngine())
    assert made(tmp_path / "spark", [], words, on_spark) == expected


def test_tasks_that_fail_or_are_killed_run_again(
    tmp_path: Path, on_spark: SparkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = raw_files(tmp_path)
    expected = made(tmp_path / "data" / "local", raw, RANDOM, LocalEngine())
    read, rewrite = spark_tasks.read_shard, module.tasks.number_bags

    def fails_after_reading(shared: Any, item: Any) -> Any:
        found = read(shared, item)
        mark = tmp_path / f"failed-{item[0]}"
        if not mark.exists():
            mark.touch()
            raise RuntimeError("made to fail")
        return found

    def killed_after_writing(shared: Any, item: Any) -> Any:
        found = rewrite(shared, item)
        mark = tmp_path / "killed"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    monkeypatch.setattr(spark_tasks, "read_shard", fails_after_reading)
    monkeypatch.setattr(spark_tasks, "number_bags", killed_after_writing)
    assert made(tmp_path / "data" / "spark", raw, RANDOM, on_spark) == expected
    assert len(list(tmp_path.glob("failed-*"))) == len(raw)
    assert (tmp_path / "killed").exists()


def test_a_task_that_always_fails_ends_with_its_reason(on_spark: SparkEngine) -> None:
    def fails(_: None, item: int) -> int:
        raise ValueError(f"item {item} is bad")

    with on_spark, pytest.raises(ResourceError, match=r"failed 4 times: .*ValueError: item 0 is bad"):
        list(on_spark.map(fails, None, [0]))


def test_a_damaged_file_and_rejected_rows_are_named_and_nothing_is_left(tmp_path: Path, on_spark: SparkEngine) -> None:
    raw = raw_files(tmp_path)
    with pytest.raises(TooManyRejectedError, match=r"a\.csv:21: "):
        made(tmp_path / "data" / "x", raw, (*TABLE, "data.max_rejected=0"), on_spark)
    # the damage is beyond the first rows, which the first process reads
    content = gzip.compress(b"place,kind,user,at,tags,price,note,y\n" + b"a,x,1,1700000000,p,0.5,n,1\n" * 400_000)
    (tmp_path / "c.csv.gz").write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(DataError, match=r"c\.csv\.gz is damaged or cut off"):
        made(tmp_path / "data" / "x", raw, TABLE, on_spark)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["tabular.rejects.parquet"]


def test_what_workers_do_not_see_is_named(
    tmp_path: Path, on_spark: SparkEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.csv").write_text("a")
    with on_spark:
        on_spark.require_workers([tmp_path, tmp_path / "t.csv"])
        with pytest.raises(ResourceError, match=r"does not see .*gone") as error:
            on_spark.require_workers([tmp_path / "gone"])
        assert "mounted at the same path" in error.value.hint
        monkeypatch.setattr(spark_tasks, "environment", lambda: {"Python": "2.7", "polars": pl.__version__})
        with pytest.raises(ResourceError, match=r"has Python 3\.\d+, but this machine has 2\.7"):
            on_spark.require_workers([tmp_path])


@pytest.mark.slow
def test_the_command_prints_what_it_prints_without_spark(tmp_path: Path) -> None:
    raw, found = raw_files(tmp_path), []
    (tmp_path / "elsewhere").mkdir()
    for engine in ("local", "spark"):
        words = [*TABLE, f"raw=[{','.join(f'../{path.name}' for path in raw)}]", f"paths.data={engine}"]
        command = [sys.executable, "-m", "adasparse_cli", "prep", *words, f"prep.engine={engine}", "--json"]
        done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout)
        found.append((answer["fingerprint"], answer["files"]))
        assert "WARN" not in done.stderr
    assert found[0] == found[1]
