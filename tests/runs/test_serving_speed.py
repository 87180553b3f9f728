"""The rates of serving in a run's report: what is timed is what an exported model computes, and no run fails for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from adasparse_cli.numpy_engine.engine import SMALL_GROUP, NumpyEngine
from adasparse_cli.runs import serving_speed, train
from adasparse_cli.runs.serving_speed import LEAST_ROUNDS, measure_serving
from adasparse_cli.serving.artefact import open_artefact
from adasparse_cli.studies.serving_rates import rates_of
from tests.commands.typing_in import adasparse
from tests.numpy_engine.test_cut import drawn, network_of
from tests.serving import made

TINY = ("network.hidden=[16,8]", "network.embedding_width=4", "loop.batch_size=256", "loop.epochs=1", "threads=1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed")
    made.prepare(folder)
    for words in (("--mode", "fusion"), ("--model", "dnn"), ("--model", "star")):
        adasparse(folder, "train", "data=shop", *TINY, *words)
    return folder


def report(home: Path, model: str) -> dict:
    return json.loads(next((home / "runs/shop" / model).glob("*/report.json")).read_text())


def test_a_report_has_the_rates_of_each_kind_of_model(home: Path) -> None:
    own = {model: report(home, model)["timings"]["serving"] for model in ("adasparse-fusion", "dnn", "star")}
    for found in own.values():
        assert found["rounds"] >= LEAST_ROUNDS
        assert min(found["uncut"], found["yardstick"]) > 1000
        assert found["rows"] == report(home, "dnn")["data"]["splits"]["test"]["rows"]
    assert [found["engine"] for found in own.values()] == ["numpy", "numpy", "torch"]
    assert own["adasparse-fusion"]["sub_networks"] > 1000
    assert own["adasparse-fusion"]["conditions"] > 5
    assert own["dnn"]["sub_networks"] is own["star"]["sub_networks"] is None


def test_the_multiply_adds_are_those_of_the_exported_sub_networks(home: Path) -> None:
    """Truth: adasparse.json, and the test rows of each domain; rows of small groups take the full network."""
    adasparse(home, "export", "adasparse-fusion", "-o", "model")
    index = open_artefact(home / "model").index
    adds = {one["domain"]: one["multiply_adds"] for one in index["sub_networks"]["domains"]}
    rows = pl.read_parquet(next((home / "runs/shop/adasparse-fusion").glob("*/predictions.parquet")))
    domains = pl.read_csv(next((home / "runs/shop/adasparse-fusion").glob("*/domains.csv")), infer_schema=False)
    keys = domains.with_columns(
        key=pl.concat_str(
            [
                pl.when(pl.col(name).is_null() | (pl.col(name) == ""))
                .then(pl.lit("missing"))
                .when(pl.col(name) == "missing")
                .then(pl.lit("\\missing"))
                .otherwise(pl.col(name).str.replace_all("/", r"\/", literal=True))
                for name in ("country", "device")
            ],
            separator="/",
        )
    )["key"].to_list()
    total = 0.0
    for number, count in rows["domain"].value_counts().rows():
        whole = index["sub_networks"]["multiply_adds_uncut"]
        total += count * (adds[keys[number]] if count >= SMALL_GROUP else whole)
    found = report(home, "adasparse-fusion")["timings"]["serving"]["sub_network_multiply_adds"]
    assert found == pytest.approx(total / rows.height)


def test_the_uncut_network_and_the_sub_networks_have_the_same_scores(tmp_path: Path) -> None:
    data = made.prepare(tmp_path)
    model, source = made.random_model(data)
    rows = drawn(source.manifest.fields)
    network = network_of(model, source.manifest.fields)  # type: ignore[arg-type]
    uncut, cut = NumpyEngine(network, cuts=False), NumpyEngine(network, cut_from=SMALL_GROUP)
    np.testing.assert_allclose(uncut.logits(rows), cut.logits(rows), atol=2e-6)
    assert cut._cut
    assert not uncut._cut


def test_a_run_does_not_fail_for_a_rate(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(train, "measure_serving", fails)
    adasparse(home, "train", "data=shop", *TINY, "--model", "dnn", "seed=7")
    found = sorted((home / "runs/shop/dnn").glob("*-s7"))[0]
    assert json.loads((found / "report.json").read_text())["timings"]["serving"] is None
    assert "serving was not measured: MemoryError: no room" in (found / "train.log").read_text()
    assert measure_serving is serving_speed.measure_serving


def test_rates_of_slow_and_fast_moments_are_comparable() -> None:
    """The second run was measured while the machine was half as fast: its rates are doubled, the first one's halved in the mean."""

    def made_report(yardstick: float, uncut: float, cut: float | None) -> dict:
        serving = {"yardstick": yardstick, "uncut": uncut, "sub_networks": cut, "engine": "numpy"}
        return {"timings": {"rows_per_second": 10.0, "serving": serving}}

    found = rates_of(
        {"dnn": [made_report(100.0, 50.0, None)], "cut": [made_report(50.0, 25.0, 100.0)], "old": [{"timings": {}}]}
    )
    assert found["dnn"].uncut == pytest.approx(found["cut"].uncut)
    assert found["cut"].sub_networks == pytest.approx(4 * found["dnn"].uncut)
    assert found["dnn"].uncut == pytest.approx(0.5 * 75.0)
    assert found["old"].uncut is found["old"].training is None
    assert found["dnn"].sub_networks is None
