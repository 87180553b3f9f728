"""The trees against LightGBM used directly, on a matrix that is written here value by value."""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adasparse_cli.checkpoints.checkpoint import load_checkpoint, load_weights
from adasparse_cli.choices import FieldKind, FieldRole, Metric
from adasparse_cli.config.compose import compose
from adasparse_cli.errors import IntegrityError, InterruptedRun, UsageError
from adasparse_cli.models.base import DataShape
from adasparse_cli.models.lightgbm import Lightgbm, LightgbmSettings, numbers_of
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.schema import Field
from adasparse_cli.training.boosting import TREES, Boosting
from adasparse_cli.training.evaluate import score
from adasparse_cli.training.loop import BEST, METRICS
from adasparse_cli.typed import typed
from tests import small
from tests.commands.typing_in import adasparse

lightgbm: Any = pytest.importorskip("lightgbm", reason="the extra lightgbm is not installed")
TAGS = [[], [1, 2], [3], [4, 8], [5]]  # small.BAGS
SMALL = ("data.rows=4000", "threads=1", "model.min_rows=20", "model.rounds=60")


def settings(**changes: Any) -> LightgbmSettings:
    found = typed(compose("train", ["model=lightgbm"])["model"], LightgbmSettings, "model")
    return replace(found, **{"rounds": 60, "min_rows": 20, "evaluate_every": 5, "patience": 3, **changes})


def matrix(rows: Rows) -> np.ndarray:
    """Item, shop, number of tags, smallest tag, largest tag, place."""
    found = []
    for item, shop, bag, place in rows.field_ids.tolist():
        tags = TAGS[bag]
        found.append([item, shop, len(tags), min(tags) if tags else math.nan, max(tags) if tags else math.nan, place])
    return np.array(found, dtype=np.float64)


def trained(folder: Path, model: Lightgbm, *, seed: int = 0, **loop: Any) -> Boosting:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    boosting = Boosting(
        model=model,
        train=small.rows(3000, 1),
        valid=small.rows(1000, 2),
        num_domains=6,
        settings=small.loop_settings(**{"select": Metric.log_loss, **loop}),
        seed=seed,
        folder=folder,
    )
    boosting.run()
    return boosting


def test_the_numbers_of_a_row_are_its_ids_and_three_for_each_list() -> None:
    model = Lightgbm(settings(largest_categorical=20), small.network(), small.SHAPE)
    rows = small.rows(200, 5)
    found = model.features(rows.batch(slice(0, 200)))
    np.testing.assert_array_equal(found, matrix(rows))
    assert model.features.names == ["item", "shop", "tags: values", "tags: smallest id", "tags: largest id", "place"]
    assert model.features.categorical == [1, 5], "40 items are ranks, 15 shops and 7 places are categories"


def test_a_numeric_field_is_no_category() -> None:
    field = Field(name="price", role=FieldRole.domain_agnostic, kind=FieldKind.numeric, size=5)
    shape = DataShape(fields=(field, *small.FIELDS), bags=small.BAGS, num_domains=6)
    assert 0 not in Lightgbm(settings(), small.network(), shape).features.categorical


@pytest.mark.parametrize("largest", [0, 20, 256])
def test_it_scores_as_lightgbm_used_directly_with_its_own_early_stopping(tmp_path: Path, largest: int) -> None:
    """Truth: `lightgbm.train` on the matrix of this test, judged every round by its own log loss."""
    own = settings(largest_categorical=largest, evaluate_every=1, feature_share=1.0)
    model = Lightgbm(own, small.network(), small.SHAPE)
    boosting = trained(tmp_path, model)
    categorical = [column for column, size in ((0, 40), (1, 15), (5, 7)) if size <= largest]
    parameters = {
        "objective": "binary", "metric": "binary_logloss", "learning_rate": own.learning_rate, "num_leaves": own.leaves,
        "min_data_in_leaf": own.min_rows, "verbosity": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True,
    }  # fmt: skip
    train, valid = small.rows(3000, 1), small.rows(1000, 2)
    assert train.labels is not None
    assert valid.labels is not None
    data = lightgbm.Dataset(matrix(train), train.labels.numpy(), categorical_feature=categorical, params=parameters)
    judge = lightgbm.Dataset(matrix(valid), valid.labels.numpy(), reference=data)
    direct = lightgbm.train(
        parameters,
        data,
        num_boost_round=own.rounds,
        valid_sets=[judge],
        callbacks=[lightgbm.early_stopping(own.patience, verbose=False)],
    )
    assert boosting.state.best_step == direct.best_iteration
    test = small.rows(500, 3)
    expected = direct.predict(matrix(test), raw_score=True, num_iteration=direct.best_iteration)
    found = score(model, test, batch_size=64).logits
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    assert expected.std() > 0.3


def test_the_best_rounds_are_kept_and_the_others_are_not(tmp_path: Path) -> None:
    model = Lightgbm(settings(rounds=400, learning_rate=0.3), small.network(), small.SHAPE)
    boosting = trained(tmp_path, model)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    best = min(lines, key=lambda line: line["log_loss"])
    assert boosting.state.best_step == best["step"]
    assert boosting.state.step == best["step"] + 3 * 5, "three evaluations, five rounds apart, without improvement"
    assert boosting.state.stopped_early
    assert model.trees().num_trees() == best["step"]


def test_saved_trees_are_lightgbms_text_and_score_the_same(tmp_path: Path) -> None:
    model = Lightgbm(settings(), small.network(), small.SHAPE)
    trained(tmp_path, model)
    rows = small.rows(300, 4)
    other = Lightgbm(settings(), small.network(), small.SHAPE)
    load_weights(other, load_checkpoint(tmp_path / BEST)[0], where=tmp_path)
    expected = score(model, rows, batch_size=1000).logits
    np.testing.assert_array_equal(score(other, rows, batch_size=7).logits, expected)
    text = lightgbm.Booster(model_file=str(tmp_path / TREES))
    np.testing.assert_array_equal(text.predict(matrix(rows), raw_score=True).astype(np.float32), expected)
    other.set_trees("tree\nno trees at all\n")
    with pytest.raises(IntegrityError, match="the trees cannot be read"):
        score(other, rows, batch_size=100)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        trained(tmp_path / name, Lightgbm(settings(), small.network(), small.SHAPE), seed=seed)
        texts.append((tmp_path / name / TREES).read_bytes())
    assert texts[0] == texts[1] != texts[2]


def test_unseen_values_and_empty_lists_have_a_score(tmp_path: Path) -> None:
    model = Lightgbm(settings(), small.network(), small.SHAPE)
    trained(tmp_path, model)
    batch = small.rows(4).batch(slice(0, 4))
    unseen = replace(batch, field_ids=torch.zeros_like(batch.field_ids))
    assert torch.isfinite(model(unseen).logits).all()
    bags = {"tags": replace(small.BAGS["tags"], values=torch.tensor([0, 0, 0, 0, 0, 0]))}
    model.set_bags(bags)
    np.testing.assert_array_equal(numbers_of(bags["tags"])[:2], [[0, math.nan, math.nan], [2, 0, 0]])


def test_an_interrupted_run_starts_anew_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    trained(tmp_path / "whole", Lightgbm(settings(), small.network(), small.SHAPE))
    (tmp_path / "stopped").mkdir()
    boosting = Boosting(
        model=Lightgbm(settings(), small.network(), small.SHAPE),
        train=small.rows(3000, 1),
        valid=small.rows(1000, 2),
        num_domains=6,
        settings=small.loop_settings(select=Metric.log_loss),
        seed=0,
        folder=tmp_path / "stopped",
        on_step=lambda rows, figures: os.kill(os.getpid(), signal.SIGTERM) if figures["round"] == 7 else None,
    )
    with pytest.raises(InterruptedRun, match="stopped at round 7") as caught:
        boosting.run()
    assert caught.value.exit_code == 143
    trained(tmp_path / "stopped", Lightgbm(settings(), small.network(), small.SHAPE))
    for name in (TREES, METRICS):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    adasparse(folder, "train", "--model", "lightgbm", *SMALL)
    return folder


def test_a_run_is_evaluated_predicted_reported_and_compared_as_others_are(home: Path) -> None:
    run = next(home.glob("runs/twin/lightgbm/*/report.json")).parent
    report = json.loads((run / "report.json").read_text())
    again = json.loads(adasparse(home, "evaluate", "latest", "--json").stdout)
    assert again["metrics"]["test"] == report["metrics"]["test"]
    for name in ("predictions.parquet", "domains.csv", "metrics.jsonl", TREES, "DONE"):
        assert (run / name).exists(), name
    adasparse(home, "predict", "latest", str(next(home.glob("data/twin/raw/*.txt"))), "-o", "scores.csv")
    lines = (home / "scores.csv").read_text().splitlines()
    assert len(lines) == 4001
    adasparse(home, "report", "latest")
    adasparse(home, "runs", "verify", "latest")
    small_dnn = ("network.hidden=[4]", "network.embedding_width=2", "loop.batch_size=256")
    done = adasparse(home, "compare", "--models", "dnn,lightgbm", "--seeds", "1", *SMALL, *small_dnn, "--json")
    assert {row["arm"] for row in json.loads(done.stdout)["rows"]} == {"dnn", "lightgbm"}


def test_predicted_scores_are_those_of_the_run(home: Path) -> None:
    import polars as pl

    run = next(home.glob("runs/twin/lightgbm/*/report.json")).parent
    adasparse(home, "predict", run.name, str(next(home.glob("data/twin/raw/*.txt"))), "-o", "again.parquet")
    known = pl.read_parquet(run / "predictions.parquet").select("line", "logit")
    both = known.join(pl.read_parquet(home / "again.parquet").select("line", other="logit"), on="line")
    assert both.height == known.height > 0
    np.testing.assert_array_equal(both["logit"].to_numpy(), both["other"].to_numpy())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("loop=maml",), "loop=maml"),
        (("loop.placebo=true",), "loop.placebo=true"),
        (("loop.rows=stream",), "loop.rows=stream"),
        (("device=cuda",), "device=cuda"),
        (("--nproc", "2"), "cannot be trained by 2 processes"),
    ],
)
def test_what_trees_cannot_do_is_refused_by_name(home: Path, words: tuple[str, ...], said: str) -> None:
    done = adasparse(home, "train", "--model", "lightgbm", *SMALL[:1], *words, code=2, apart="--nproc" in words)
    assert "lightgbm" in done.stderr
    assert said in done.stderr


def test_trees_are_not_exported(home: Path) -> None:
    done = adasparse(home, "export", next(home.glob("runs/twin/lightgbm/*")).name, code=2)
    assert "no sub-networks" in done.stderr
    assert TREES in done.stderr


def test_without_the_package_it_is_refused_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "adasparse_cli.models.lightgbm.find_spec",
        lambda name: None if name == "lightgbm" else importlib.util.find_spec(name),
    )
    done = adasparse(tmp_path, "train", "--model", "lightgbm", code=2)
    assert "adasparse-cli[lightgbm]" in done.stderr
    assert not (tmp_path / "data").exists()
    planned = adasparse(tmp_path, "compare", "--dry-run", "data.rows=4000", "--json")
    assert "lightgbm" not in planned.stdout, "all models are those that need nothing more"
    with pytest.raises(UsageError, match="not installed"):
        Lightgbm.require_installed()
