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
from adasparse_cli.errors import DataError, IntegrityError, UsageError
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


@pytest.fixture(scope="module")
def exported(home: Path) -> ada.ExportedModel:
    return ada.load_run("adasparse").export(home / "model", onnx=True)


def test_an_exported_model_scores_frames_and_files_as_its_run_and_the_command_do(
    home: Path, rows: pl.DataFrame, exported: ada.ExportedModel
) -> None:
    rows.write_csv(home / "exported-new.csv")
    adasparse(home, "predict", "model", "exported-new.csv", "--output", "exported.csv", "--overwrite")
    told = pl.read_csv(home / "exported.csv", schema_overrides={"domain": pl.String})
    run, model = ada.load_run("adasparse"), ada.load_artefact("model")
    of_run = run.predict(rows)
    for found in (
        model.predict(rows),
        exported.predict("exported-new.csv"),
        model.predict(rows.drop("clicked")[:, ::-1]),
    ):
        assert found["logit"].cast(pl.Float32).to_list() == told["logit"].cast(pl.Float32).to_list()
        assert found["domain"].to_list() == told["domain"].to_list() == of_run["domain"].to_list()
        np.testing.assert_allclose(found["logit"], of_run["logit"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found["probability"], of_run["probability"], atol=1e-6)
    assert model.predict(rows).schema == of_run.schema
    for engine in ("torch", "onnx"):
        np.testing.assert_allclose(model.predict(rows, engine=engine)["logit"], of_run["logit"], rtol=1e-5, atol=1e-5)


def test_types_of_other_libraries_mean_the_same_values(rows: pl.DataFrame, exported: ada.ExportedModel) -> None:
    """Truth: the run, which reads a frame by its recipe."""
    run = ada.load_run("adasparse")
    lists = rows.with_columns(pl.col("tags").str.split("|"))
    frames = {
        "integers": rows.with_columns(pl.col("shop").cast(pl.Int16)),
        "whole decimals": rows.with_columns(pl.col("shop").cast(pl.Float64)),
        "decimals": rows.with_columns(pl.col("shop").cast(pl.Float64) + 0.5),
        "missing": rows.with_columns(pl.when(pl.int_range(pl.len()) % 3 > 0).then("city").alias("city")),
        "categories": rows.with_columns(pl.col("city").cast(pl.Categorical)),
        "texts of numbers": rows.with_columns(pl.col("price").cast(pl.String)),
        "float32": rows.with_columns(pl.col("price").cast(pl.Float32)),
        "dates": rows.with_columns(pl.lit("2026-01-31").str.to_date().alias("city")),
        "booleans": rows.with_columns(pl.lit(True).alias("city")),
    }
    for name, frame in frames.items():
        expected = run.predict(frame)
        found = exported.predict(frame)
        assert found["domain"].to_list() == expected["domain"].to_list(), name
        np.testing.assert_allclose(found["logit"], expected["logit"], rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(exported.predict(lists)["logit"], exported.predict(rows)["logit"])
    pandas = pytest.importorskip("pandas")
    own = pandas.DataFrame({name: rows[name].to_list() for name in COLUMNS[:-1]})
    assert exported.predict(own).equals(exported.predict(rows))


def test_rows_of_a_frame_that_cannot_be_read_have_no_score(rows: pl.DataFrame, exported: ada.ExportedModel) -> None:
    price = pl.when(pl.int_range(pl.len()) == 7).then(float("nan")).otherwise("price").alias("price")
    found = exported.predict(rows.with_columns(price))
    assert found[7].row(0) == (None, None, None)
    assert found["logit"].null_count() == 1
    assert exported.predict(rows.clear()).shape == (0, 3)
    with pytest.raises(DataError, match=r"no row could be read; 300 were rejected.*price.*a finite number is needed"):
        exported.predict(rows.with_columns(pl.lit("dear").alias("price")))
    with pytest.raises(DataError, match="lacks the column city"):
        exported.predict(rows.drop("city"))
    with pytest.raises(UsageError, match="the engine jax is unknown"):
        exported.predict(rows, engine="jax")


def test_an_exported_model_says_what_it_is(home: Path, exported: ada.ExportedModel) -> None:
    told = json.loads(adasparse(home, "export", "adasparse", "-o", "again", "--json").stdout)
    assert exported.domains.to_dicts() == [
        {name: one[name] for name in exported.domains.columns} for one in told["domains"]
    ]
    assert exported.refused is None
    assert [one["name"] for one in exported.signature["inputs"]] == ["city", "price", "tags", "shop"]
    assert exported.check()["engine"].to_list() == ["torch", "numpy", "onnx", "onnx, domains.onnx"]
    assert exported.check()["logit"].max() < 1e-5  # type: ignore[operator]
    two = ada.load_run("adasparse").export(home / "two", domains="top:2")
    assert two.domains.height == 2
    assert "exported to" in repr(two)
    with pytest.raises(UsageError, match="exists"):
        ada.load_run("adasparse").export(home / "two")
    assert ada.load_run("adasparse").export(home / "two", domains=["3"], overwrite=True).domains["domain"][0] == "3"
    with pytest.raises(IntegrityError, match="is missing"):
        ada.load_artefact(home)


def test_scoring_with_an_exported_model_does_not_load_torch(home: Path, exported: ada.ExportedModel) -> None:
    code = (
        "import sys, adasparse_cli as ada; found = ada.load_artefact('model').predict('clicks.csv');"
        "print(found.height, [n for n in ('torch', 'hydra', 'onnxruntime') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=home)
    assert done.stdout == "4000 []\n"


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
