"""A data name belongs to the recipe and settings that made it; a run outlives its data."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.commands.typing_in import adasparse

TINY = ("network.hidden=[4]", "network.embedding_width=2", "loop.max_steps=4", "--model", "dnn")


def table(rows: int, *, shift: int = 0) -> str:
    lines = [f"{int((k + shift) % 4 == 0)},c{k % 3},i{(k * 7 + shift) % 11}" for k in range(rows)]
    return "\n".join(["clicked,country,item", *lines]) + "\n"


@pytest.fixture
def clicks(tmp_path: Path) -> Path:
    """A folder with a table that is prepared as `clicks`."""
    (tmp_path / "clicks.csv").write_text(table(300))
    prepare(tmp_path)
    return tmp_path


def prepare(folder: Path, *words: str, code: int = 0, raw: str = "clicks.csv") -> str:
    own = ("data=tabular", f"raw={raw}", "data.label=clicked", "data.domain=[country]", "data.name=clicks")
    return adasparse(folder, "prep", *own, *words, code=code).stderr


def fingerprint(folder: Path, name: str = "clicks") -> str:
    return str(json.loads((folder / "data" / name / "manifest.json").read_text())["fingerprint"])


@pytest.mark.parametrize("words", [("data.name=clicks",), ("data=clicks",), ("data=tabular", "data.name=clicks")])
def test_a_name_stands_for_the_data_prepared_under_it(clicks: Path, words: tuple[str, ...]) -> None:
    """Whether or not the recipe is typed; the data are never replaced by a synthetic data set of that name."""
    before = fingerprint(clicks)
    adasparse(clicks, "train", *words, *TINY)
    assert fingerprint(clicks) == before
    (run,) = (clicks / "runs/clicks/dnn").iterdir()
    assert json.loads((run / "environment.json").read_text())["data_fingerprint"] == before


@pytest.mark.parametrize(
    "command",
    [
        ("train",),
        ("compare", "--models", "dnn,epnet", "--seeds", "1"),
        ("sweep", "loop.learning_rate=0.001,0.002"),
        ("analyze", "domains"),
    ],
)
def test_what_differs_from_the_prepared_data_is_named_and_nothing_is_replaced(
    clicks: Path, command: tuple[str, ...]
) -> None:
    before = fingerprint(clicks)
    for words, said in [
        (
            ("data=twin", "data.name=clicks"),
            "prepared with the recipe tabular, but this command asks for the recipe twin",
        ),
        (("data.name=clicks", "data.min_count=5"), "prepared with data.min_count=2, but this command asks for"),
        (("data.name=clicks", "raw=other.csv"), "was not prepared from other.csv"),
    ]:
        assert said in adasparse(clicks, *command, *words, code=2).stderr
    assert fingerprint(clicks) == before


def test_the_twin_is_not_replaced_either(tmp_path: Path) -> None:
    words = ("data=twin", "data.name=small")
    adasparse(tmp_path, "train", *words, "data.rows=2000", *TINY)
    before = fingerprint(tmp_path, "small")
    refused = adasparse(tmp_path, "train", *words, "data.rows=3000", *TINY, code=2)
    assert "data.rows=2000, but this command asks for data.rows=3000" in refused.stderr
    adasparse(tmp_path, "train", "data=small", *TINY)
    assert fingerprint(tmp_path, "small") == before


def test_a_misspelt_name_is_not_made_into_a_synthetic_data_set(clicks: Path) -> None:
    for words in (("data.name=clikcs",), ("data=clikcs",)):
        assert "clicks" in adasparse(clicks, "train", *words, *TINY, code=2).stderr.split("hint:")[1]
    assert [path.name for path in (clicks / "data").glob("[!.]*")] == ["clicks"]


def test_prep_replaces_data_that_runs_depend_on_only_when_asked(clicks: Path) -> None:
    adasparse(clicks, "train", "data=clicks", *TINY)
    (run,) = (clicks / "runs/clicks/dnn").iterdir()
    before = fingerprint(clicks)
    refused = prepare(clicks, "data.min_count=1", code=2)
    assert f"runs/clicks/dnn/{run.name}" in refused
    assert "--replace" in refused
    assert fingerprint(clicks) == before
    said = prepare(clicks, "data.min_count=1", "--replace")
    assert f"runs/clicks/dnn/{run.name}" in said
    assert fingerprint(clicks) != before
    # nothing depends on the new data yet
    assert "stale" not in prepare(clicks, "data.min_count=3")


def test_a_run_predicts_the_same_after_its_data_were_replaced_or_removed(clicks: Path) -> None:
    adasparse(clicks, "train", "data=clicks", *TINY)
    (run,) = (clicks / "runs/clicks/dnn").iterdir()
    (clicks / "new.csv").write_text(table(40, shift=3))
    adasparse(clicks, "predict", str(run), "new.csv", "-o", "first.csv")
    (clicks / "clicks.csv").write_text(table(200, shift=1))
    prepare(clicks, "--replace")
    adasparse(clicks, "predict", str(run), "new.csv", "-o", "second.csv")
    shutil.rmtree(clicks / "data")
    copied = clicks / "elsewhere" / "copy of the run"
    shutil.copytree(run, copied)
    shutil.rmtree(clicks / "runs")
    adasparse(clicks, "predict", str(copied), "new.csv", "-o", "third.csv")
    first = pl.read_csv(clicks / "first.csv")
    assert first.height == 40
    for name in ("second.csv", "third.csv"):
        assert first.equals(pl.read_csv(clicks / name))


def test_metrics_of_a_run_are_refused_on_other_data_and_both_fingerprints_are_named(clicks: Path) -> None:
    adasparse(clicks, "train", "data=clicks", *TINY)
    (run,) = (clicks / "runs/clicks/dnn").iterdir()
    before = fingerprint(clicks)
    (clicks / "clicks.csv").write_text(table(200, shift=1))
    prepare(clicks, "--replace")
    refused = adasparse(clicks, "evaluate", str(run), code=4).stderr
    assert before[:12] in refused
    assert fingerprint(clicks)[:12] in refused
    # a run of an earlier version has no encoder of its own
    shutil.rmtree(run / "encoder")
    for command in (("evaluate", str(run)), ("predict", str(run), "clicks.csv", "-o", "x.csv")):
        assert before[:12] in adasparse(clicks, *command, code=4).stderr


def test_a_run_of_an_earlier_version_predicts_from_its_data(clicks: Path) -> None:
    adasparse(clicks, "train", "data=clicks", *TINY)
    (run,) = (clicks / "runs/clicks/dnn").iterdir()
    adasparse(clicks, "predict", str(run), "clicks.csv", "-o", "first.csv")
    shutil.rmtree(run / "encoder")
    adasparse(clicks, "predict", str(run), "clicks.csv", "-o", "second.csv")
    assert (clicks / "first.csv").read_bytes() == (clicks / "second.csv").read_bytes()


def test_complete_data_are_read_without_writing_beside_them(clicks: Path) -> None:
    """The folder is compared before and after: as root, its permissions would stop nothing."""
    before = {path: path.stat().st_mtime_ns for path in [clicks / "data", *(clicks / "data").rglob("*")]}
    (clicks / "data").chmod(0o500)
    elsewhere = clicks / "elsewhere"
    elsewhere.mkdir()
    words = (f"paths.data={os.path.relpath(clicks / 'data', elsewhere)}", "data=clicks")
    adasparse(elsewhere, "train", *words, *TINY)
    after = {path: path.stat().st_mtime_ns for path in [clicks / "data", *(clicks / "data").rglob("*")]}
    assert after == before
