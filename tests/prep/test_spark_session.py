"""What is missing or wrong is named before Spark starts. Neither pyspark nor Java is needed here."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import pytest

from adasparse_cli.choices import PrepEngine
from adasparse_cli.config.root import EngineSettings
from adasparse_cli.errors import ResourceError, UsageError
from adasparse_cli.prep.spark_session import require_installed, started
from adasparse_cli.runs.prepare import plan_prep, run_inspect, run_prep, spark_master
from tests.ports import free_ports

TWIN = ("data=twin", "data.rows=2000", "prep.engine=spark")


def java(folder: Path, said: str) -> None:
    (folder / "bin").mkdir(parents=True)
    path = folder / "bin" / "java"
    path.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    path.chmod(0o755)


@pytest.fixture
def with_spark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package and a Java that pass for Spark's, as far as they are looked at."""
    monkeypatch.setitem(sys.modules, "pyspark", types.ModuleType("pyspark"))
    java(tmp_path / "jdk", 'openjdk version "17.0.15" 2025-04-15')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))


def test_missing_pyspark_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(UsageError, match="needs the package pyspark") as error:
        run_prep(plan_prep([*TWIN, f"paths.data={tmp_path}/data"]))
    assert "adasparse-cli[spark]" in error.value.hint
    assert not [path for path in (tmp_path / "data").iterdir() if path.suffix != ".owner"]


@pytest.mark.usefixtures("with_spark")
def test_missing_or_old_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_installed()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"JAVA_HOME=.* has no bin/java"):
        require_installed()
    java(tmp_path / "old", 'openjdk version "11.0.2" 2019-01-15')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    with pytest.raises(UsageError, match=r"Java 17 or newer: .*11\.0\.2"):
        require_installed()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no java is on the PATH") as error:
        require_installed()
    assert "openjdk-17" in error.value.hint


@pytest.mark.usefixtures("with_spark")
@pytest.mark.parametrize("master", ["sparky", "spark://", "spark://host", "local[x]", "http://a:1", "k8s://"])
def test_what_is_no_address_is_refused(master: str) -> None:
    with pytest.raises(UsageError, match=r"prep\.master"), started(master, "x"):
        pass


@pytest.mark.usefixtures("with_spark")
def test_a_master_that_does_not_listen_is_named_within_seconds() -> None:
    (port,) = free_ports(1)
    begun = time.monotonic()
    with (
        pytest.raises(ResourceError, match=rf"127\.0\.0\.1:{port}: Connection refused"),
        started(f"spark://127.0.0.1:{port}", "x"),
    ):
        pass
    assert time.monotonic() - begun < 30


def test_cores_are_those_of_this_machine() -> None:
    def master(name: str | None, cores: int | None) -> str | None:
        return spark_master(EngineSettings(engine=PrepEngine.spark, master=name, cores=cores))

    assert [master("local", 2), master("local", None), master("yarn", None), master(None, None)] == [
        "local[2]", "local[*]", "yarn", None,
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"prep\.cores=2 is for prep\.master=local"):
        master("yarn", 2)


def test_inspection_on_spark_is_refused() -> None:
    with pytest.raises(UsageError, match="--inspect"):
        run_inspect(plan_prep(list(TWIN)))
