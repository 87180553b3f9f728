"""The Python interface says what the commands say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import adasparse_cli as ada
from adasparse_cli.errors import DataError, UsageError
from tests.commands.typing_in import adasparse

SMALL = ("network.hidden=[8]", "network.embedding_width=2", "loop.batch_size=256", "threads=1")
COLUMNS = ["shop", "city", "tags", "price", "clicked"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a table, and a run of AdaSparse on it."""
    folder = tmp_path_factory.mktemp("api")
    draw = np.random.default_rng(0)
    n = 4000
    frame = pl.DataFrame(
        {
            "shop": draw.integers(0, 5, n).astype(str),
            "city": draw.choice(["Oslo", "Rome", "São Paulo"], n),
            "tags": ["|".join(draw.choice(list("abc"), k, replace=False)) for k in draw.integers(1, 4, n)],
            "price": draw.normal(10, 3, n).round(2),
            "clicked": draw.integers(0, 2, n),
        }
    )
    frame.write_csv(folder / "clicks.csv")
    before = Path.cwd()
    os.chdir(folder)
    ada.prepare(
        "data=tabular",
        "raw=clicks.csv",
        settings={
            "data.name": "clicks",
            "data.label": "clicked",
            "data.domain": ["shop"],
            "data.split": "random",
            "data.kinds": {"tags": "multi_valued", "price": "numeric"},
        },
    )
    ada.train("data=clicks", *SMALL, mode="fusion")
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def rows(home: Path) -> pl.DataFrame:
    return pl.read_csv(home / "clicks.csv", schema_overrides={"shop": pl.String}).head(300)


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, adasparse_cli as ada; dir(ada); print([n for n in ('torch', 'polars', 'numpy') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_name_is_there_and_no_other() -> None:
    for name in ada.__all__:
        assert getattr(ada, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        _ = ada.tarin  # type: ignore[attr-defined]


def test_a_run_has_what_its_folder_says(home: Path) -> None:
    run = ada.load_run()
    assert run.metrics == json.loads((run.folder / "report.json").read_text())["metrics"]
    assert run.words == ("network.embedding_width=2", "network.hidden=[8]", "loop.batch_size=256")
    assert run.domains["shop"].sort().to_list() == list("01234")
    assert run.predictions.height == run.metrics["test"]["rows"]
    assert isinstance(run.model, torch.nn.Module)
    assert not run.model.training
    assert str(run.folder) in repr(run)


def test_a_frame_is_scored_as_a_file_and_as_the_command_does(home: Path, rows: pl.DataFrame) -> None:
    rows.write_csv(home / "new.csv")
    adasparse(home, "predict", "latest", "new.csv", "--output", "scores.csv", "--overwrite")
    told = pl.read_csv(home / "scores.csv", schema_overrides={"domain": pl.String})
    run = ada.load_run("latest")
    of_file = run.predict("new.csv")
    of_frame = run.predict(rows.select(COLUMNS[::-1]))  # columns in any order
    assert of_frame.columns == ["domain", "logit", "probability"]
    for found in (of_file, of_frame, run.predict([home / "new.csv"]), run.predict(rows.drop("clicked"))):
        assert found["domain"].to_list() == told["domain"].to_list() == rows["shop"].to_list()
        np.testing.assert_allclose(found["logit"], told["logit"], rtol=1e-6)
        np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(-told["logit"].to_numpy())), rtol=1e-6)


def test_frames_of_pandas_are_scored_alike(home: Path, rows: pl.DataFrame) -> None:
    pandas = pytest.importorskip("pandas")
    run = ada.load_run()
    own = rows.with_columns(pl.when(pl.col("price") > 12).then(None).otherwise(pl.col("price")).alias("price"))
    frame = pandas.DataFrame({name: own[name].to_list() for name in own.columns})
    assert run.predict(frame).equals(run.predict(own))


def test_each_row_of_a_frame_has_its_line_also_where_it_cannot_be_read(home: Path, rows: pl.DataFrame) -> None:
    run = ada.load_run()
    broken = rows.with_columns(price=pl.col("price").cast(pl.String)).with_row_index()
    broken = broken.with_columns(price=pl.when(pl.col("index") == 7).then(pl.lit("dear")).otherwise("price")).drop(
        "index"
    )
    found = run.predict(broken)
    assert found.height == rows.height
    assert found[7].row(0) == (None, None, None)
    whole = run.predict(rows)
    keep = [k for k in range(rows.height) if k != 7]
    np.testing.assert_allclose(found[keep]["logit"], whole[keep]["logit"], rtol=1e-6)


def test_an_empty_frame_has_no_scores_and_one_without_a_column_is_refused(home: Path, rows: pl.DataFrame) -> None:
    run = ada.load_run()
    assert run.predict(rows.clear()).shape == (0, 3)
    with pytest.raises(DataError, match="lacks the column city"):
        run.predict(rows.drop("city"))


def test_factors_follow_the_equation(home: Path, rows: pl.DataFrame) -> None:
    """Truth: π = β·σ(α·v) where σ(α·v) is above ε, else 0, with v from the pruner's own matrices, in NumPy."""
    run = ada.load_run()
    found = run.factors(rows)
    model = run.model
    assert found["layer"].unique(maintain_order=True).to_list() == list(model.gated_layers)
    assert found.height == rows.height * len(model.gated_layers)
    by_domain = found.group_by("domain", "layer").agg(pl.col("factors").n_unique())
    assert by_domain["factors"].max() == 1  # the pruner reads the domain alone
    for factors, sparsity in zip(found["factors"].to_list(), found["sparsity"], strict=True):
        assert sparsity == pytest.approx(np.mean(np.asarray(factors) == 0))
    scale, threshold = model.settings.scale, model.settings.threshold.value  # type: ignore[union-attr]
    values = np.concatenate([np.asarray(own) for own in found["factors"].to_list()])
    kept = values[values != 0]
    assert (kept > scale * threshold).all()
    assert (kept <= scale).all()


def test_a_model_without_pruners_has_no_factors(home: Path, rows: pl.DataFrame) -> None:
    run = ada.train("data=clicks", *SMALL, model="dnn")
    with pytest.raises(UsageError, match="dnn has no weight factors"):
        run.factors(rows)


def test_a_study_is_a_frame(home: Path) -> None:
    study = ada.compare("data=clicks", *SMALL, models=["dnn", "adasparse"], seeds=2)
    assert study.table["arm"].to_list() == ["dnn", "adasparse"]
    told = json.loads(
        adasparse(home, "compare", "--models", "dnn,adasparse", "--seeds", "2", "data=clicks", *SMALL, "--json").stdout
    )["rows"]
    assert study.table.to_dicts() == told
    assert ada.load_study().table.equals(study.table)
    assert study.domains["name"].sort().to_list() == list("01234")
    assert not study.failed


def test_lists_are_those_of_the_commands(home: Path) -> None:
    told = json.loads(adasparse(home, "runs", "ls", "--json").stdout)["rows"]
    assert ada.list_runs().to_dicts() == told
    assert ada.list_data()["data"].to_list() == ["clicks"]
    assert "star" in ada.list_models()["model"].to_list()
    data = ada.load_data("clicks")
    assert data.split("test").height == data.manifest.splits["test"].rows  # type: ignore[index]
    assert data.domains.height == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data=clicks", "loop.bach_size=3"), "bach_size"),
        (("data=clicks", "loop.batch_size=0"), "batch_size"),
        (("data=none",), "none"),
    ],
)
def test_errors_are_those_of_the_commands(home: Path, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ada.train(*words)
