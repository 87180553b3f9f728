"""`model.onnx` takes raw values and gives the score of the trained model, by ONNX Runtime alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from adasparse_cli import files
from adasparse_cli.errors import UsageError
from adasparse_cli.exporting.write import write_artefact
from adasparse_cli.serving.artefact import MODEL, PACKED, open_artefact
from adasparse_cli.serving.check import engine_named, golden_rows, run_check
from adasparse_cli.serving.onnx_values import MISSING_INTEGER, MISSING_TEXT
from tests.numpy_engine.test_cut import FORMS, UNCUT
from tests.serving import made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.prepare(tmp_path_factory.mktemp("prepared"))


def inputs_of(columns: dict[str, list[Any]]) -> dict[str, np.ndarray]:
    """Golden rows as anyone would feed them, from the signature's words alone: texts, doubles, lists filled up."""
    longest = max(map(len, columns["tags"]))
    tags = [[*own, *[MISSING_TEXT] * (longest - len(own))] for own in columns["tags"]]
    texts = {
        name: np.array([value or MISSING_TEXT for value in columns[name]], dtype=object)
        for name in ("country", "device", "item")
    }
    price = np.array([np.nan if value is None else value for value in columns["price"]])
    return {**texts, "price": price, "tags": np.array(tags, dtype=object).reshape(len(tags), longest)}


@pytest.mark.parametrize("form", [*FORMS, *UNCUT])
def test_every_form_gives_the_golden_scores_from_raw_values(data: Path, tmp_path: Path, form: str) -> None:
    _, source = made.random_model(data, *{**FORMS, **UNCUT}[form])
    write_artefact(source, tmp_path / "model", None, graph=True)
    checked = {one.engine: one for one in run_check(tmp_path / "model")}
    assert {"torch", "numpy", "onnx"} <= checked.keys()
    assert all(one.skipped is None and one.rows > 12 for one in checked.values())
    assert ("onnx, domains.onnx" in checked) == (form in FORMS)
    artefact = open_artefact(tmp_path / "model")
    columns, expected = golden_rows(artefact)
    session: Any = onnxruntime.InferenceSession(str(artefact.path(MODEL)))
    logits, chances = session.run(None, inputs_of(columns))
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(chances, 1 / (1 + np.exp(-expected)), atol=1e-6)
    for rows in (0, 1):  # any batch, none and one included
        part = {name: values[:rows] for name, values in inputs_of(columns).items()}
        np.testing.assert_allclose(session.run(None, part)[0], expected[:rows], rtol=1e-5, atol=1e-5)


def test_the_graph_holds_no_loops_and_says_its_inputs(data: Path, tmp_path: Path) -> None:
    _, source = made.random_model(data)
    write_artefact(source, tmp_path / "model", None, graph=True)
    artefact = open_artefact(tmp_path / "model")
    graph = onnx.load(artefact.path(MODEL)).graph
    assert not {"Loop", "If", "Scan", "SequenceInsert"} & {node.op_type for node in graph.node}
    assert [one.name for one in graph.input] == [one["name"] for one in artefact.index["signature"]["inputs"]]
    assert [one.name for one in graph.output] == ["logit", "probability"]
    index = json.loads((tmp_path / "model/adasparse.json").read_text())
    assert index["onnx"]["missing"] == {"integer": MISSING_INTEGER, "text": MISSING_TEXT, "number": "NaN"}
    assert "model.onnx" in index["files"]


@pytest.mark.parametrize("form", FORMS)
def test_the_packed_graph_scores_each_domain_by_its_number(data: Path, tmp_path: Path, form: str) -> None:
    _, source = made.random_model(data, *FORMS[form])
    write_artefact(source, tmp_path / "model", None, graph=True)
    artefact = open_artefact(tmp_path / "model")
    columns, expected = golden_rows(artefact)
    rows, _ = artefact.encoder.encode(columns)
    numbers = {one["domain"]: one["sub_network"] for one in artefact.index["sub_networks"]["domains"]}
    session: Any = onnxruntime.InferenceSession(str(artefact.path(PACKED)))
    inputs = inputs_of(columns)
    assert {one.name for one in session.get_inputs()} == {"domain", "item", "price", "tags"}
    for name, number in numbers.items():
        own = [place for place, domain in enumerate(rows.domains) if artefact.encoder.name_of(int(domain)) == name]
        assert own
        part = {key: inputs[key][own] for key in ("item", "price", "tags")}
        found = session.run(["logit"], {**part, "domain": np.array([number])})[0]
        np.testing.assert_allclose(found, expected[own], rtol=1e-5, atol=1e-5)


def test_a_missing_number_is_scored_alike_if_training_had_none(tmp_path: Path) -> None:
    """Its id is 0, which no number has."""
    made.write_table(tmp_path / "shop.csv")
    lines = (tmp_path / "shop.csv").read_text().splitlines()
    kept = [line for line in lines if line.split(",")[4]]
    assert len(kept) < len(lines)
    (tmp_path / "shop.csv").write_text("\n".join(kept) + "\n")
    data = made.prepare(tmp_path, table=False)
    _, source = made.random_model(data)
    write_artefact(source, tmp_path / "model", None, graph=True)
    columns, _ = golden_rows(open_artefact(tmp_path / "model"))
    assert columns["price"].count(None) > 3
    assert [one.engine for one in run_check(tmp_path / "model") if one.skipped is None][:3] == [
        "torch",
        "numpy",
        "onnx",
    ]


def test_large_files_are_checked_once_and_the_folder_stays_valid(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of checked files is written while the folder is used, so it is none of the folder's files."""
    monkeypatch.setattr(files, "REMEMBERED_FROM", 0)
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    _, source = made.random_model(data)
    write_artefact(source, tmp_path / "model", None, graph=True)
    assert not (tmp_path / "model" / files.CHECKED).exists()
    for _ in range(2):
        run_check(tmp_path / "model")
    assert (tmp_path / "model" / files.CHECKED).exists()
    # exported by an earlier version, which listed it
    index = files.read_sealed(tmp_path / "model/adasparse.json", "format_version", unsealed=None)
    files.write_sealed(
        tmp_path / "model/adasparse.json", {**index, "files": {**index["files"], files.CHECKED: "0" * 64}}
    )
    run_check(tmp_path / "model")


def test_a_model_without_a_graph_is_refused_with_its_reason(data: Path, tmp_path: Path) -> None:
    _, source = made.random_model(data, "model=star")
    with pytest.raises(UsageError, match="computed by torch alone"):
        write_artefact(source, tmp_path / "model", None, graph=True)
    assert not list(tmp_path.iterdir())
    write_artefact(source, tmp_path / "model", None)
    with pytest.raises(UsageError, match="without --onnx"):
        engine_named(open_artefact(tmp_path / "model"), "onnx")
