"""Bad input of an exported model gives one named answer, whichever way it comes: files, Python, JSON and Arrow requests."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import adasparse_cli as ada
from adasparse_cli.errors import DataError, IntegrityError
from adasparse_cli.exporting.write import write_artefact
from adasparse_cli.files import read_sealed, write_sealed
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.server.formats import FORMATS
from adasparse_cli.server.service import Service
from adasparse_cli.serving.artefact import Artefact, open_artefact
from adasparse_cli.serving.check import golden_rows, run_check
from adasparse_cli.serving.predict import predict_files
from adasparse_cli.serving.torch_engine import torch_engine
from tests.commands.typing_in import adasparse
from tests.serving import made

ARROW = "application/vnd.apache.arrow.stream"
ROW: dict[str, Any] = {"country": "DE", "device": "mobile", "item": "1", "price": 2.5, "tags": ["t1", "t2"]}
TYPES = {"country": pl.String, "device": pl.String, "item": pl.String, "price": pl.Float64, "tags": pl.List(pl.String)}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    folder = tmp_path_factory.mktemp("bad")
    _, source = made.random_model(made.prepare(folder))
    write_artefact(source, folder / "model", None)
    return open_artefact(folder / "model")


def frame_of(rows: Rows) -> pl.DataFrame:
    """A frame with the columns of the first row; a column has the type of its field, or the type of its values."""
    columns = []
    for name in rows[0] if rows else TYPES:
        values = [row[name] for row in rows]
        try:
            columns.append(pl.Series(name, values, dtype=TYPES[name]))
        except TypeError:
            columns.append(pl.Series(name, [value if isinstance(value, list) else str(value) for value in values]))
    return pl.DataFrame(columns)


def by_service(artefact: Artefact, kind: str, body: bytes) -> bytes:
    service = Service(artefact, artefact.numpy_engine(), most_waiting=1, most_rows=1000)
    try:
        return service.submit(body, FORMATS[kind]).result(30).body
    finally:
        service.close()


def by_json(artefact: Artefact, rows: Rows, _: Path) -> list[float | None]:
    body = by_service(artefact, "application/json", json.dumps({"rows": rows}).encode())
    return [one["logit"] for one in json.loads(body)["predictions"]]


def by_arrow(artefact: Artefact, rows: Rows, _: Path) -> list[float | None]:
    body = io.BytesIO()
    frame_of(rows).write_ipc_stream(body)
    found = by_service(artefact, ARROW, body.getvalue())
    return pl.read_ipc_stream(io.BytesIO(found))["logit"].to_list()


def by_python(artefact: Artefact, rows: Rows, _: Path) -> list[float | None]:
    return ada.load_artefact(artefact.folder).predict(frame_of(rows))["logit"].to_list()


def by_file(artefact: Artefact, path: Path, count: int) -> list[float | None]:
    """The logit of each row of a file; None for a rejected one, whose reason is kept for `reasons`."""
    found = predict_files(artefact, [path], path.with_name("scores.parquet"), Silent())
    scores = pl.read_parquet(found.output)
    first = 2 if path.suffix == ".csv" else 1
    by_line = dict(zip(scores["line"].to_list(), scores["logit"].to_list(), strict=True))
    assert {one.line for one in found.rejects} == set(range(first, first + count)) - by_line.keys()
    return [by_line.get(line) for line in range(first, first + count)]


def by_ndjson(artefact: Artefact, rows: Rows, folder: Path) -> list[float | None]:
    path = folder / "rows.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return by_file(artefact, path, len(rows))


def by_csv(artefact: Artefact, rows: Rows, folder: Path) -> list[float | None]:
    texts = [
        {k: "" if v is None else "|".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in row.items()}
        for row in rows
    ]
    path = folder / "rows.csv"
    path.write_text("\n".join([",".join(rows[0] if rows else ROW), *(",".join(row.values()) for row in texts)]) + "\n")
    return by_file(artefact, path, len(rows))


Way = Callable[[Artefact, Rows, Path], list[float | None]]
WAYS: dict[str, Way] = {"json": by_json, "arrow": by_arrow, "python": by_python, "ndjson": by_ndjson, "csv": by_csv}
# A request is scored as a whole; of a file or frame, a row without a score is left out.
WHOLE = ("json", "arrow")


def expected(artefact: Artefact, rows: Rows) -> np.ndarray:
    """Truth: the trained model in torch, on ids that a reader of columns gives."""
    ids, faults = artefact.encoder.encode({name: [row[name] for row in rows] for name in ROW})
    assert not faults
    return torch_engine(artefact).logits(ids)


def require_scores(found: list[float | None], truth: np.ndarray) -> None:
    assert None not in found
    np.testing.assert_allclose(np.array(found, dtype=np.float64), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_values_never_seen_and_missing_ones_have_the_scores_of_the_model(
    artefact: Artefact, tmp_path: Path, way: str
) -> None:
    rows = [
        ROW,
        {**ROW, "country": "Mars", "item": "no such item", "tags": ["no", "tag"]},
        {**ROW, "price": 1e30},
        {**ROW, "price": -1e30},
        {**ROW, "price": None, "item": None},
        {**ROW, "tags": []},
    ]
    require_scores(WAYS[way](artefact, rows, tmp_path), expected(artefact, rows))


@pytest.mark.parametrize("way", WAYS)
def test_the_order_of_columns_and_other_columns_have_no_effect(artefact: Artefact, tmp_path: Path, way: str) -> None:
    rows = [{"more": "x", **dict(reversed(ROW.items()))}, {"more": "y", **dict(reversed({**ROW, "item": "2"}.items()))}]
    TYPES.setdefault("more", pl.String)
    require_scores(WAYS[way](artefact, rows, tmp_path), expected(artefact, rows))


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_of_one_has_its_score_and_an_empty_one_has_none(artefact: Artefact, tmp_path: Path, way: str) -> None:
    columns, truth = golden_rows(artefact)
    for place in (0, 7, len(truth) - 1):
        row = {name: values[place] for name, values in columns.items()}
        require_scores(WAYS[way](artefact, [row], tmp_path), truth[place : place + 1])
    if way in ("ndjson", "csv"):
        with pytest.raises(DataError, match=r"no row could be read|is empty|has no"):
            WAYS[way](artefact, [], tmp_path)
    else:
        assert WAYS[way](artefact, [], tmp_path) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", ["price", "tags", "country"])
def test_a_missing_field_is_named(artefact: Artefact, tmp_path: Path, way: str, field: str) -> None:
    lacks = {name: value for name, value in ROW.items() if name != field}
    with pytest.raises(DataError, match=rf"lacks the (field|column) {field}|no column '?{field}|{field} is missing"):
        WAYS[way](artefact, [lacks, lacks], tmp_path)
    if way == "ndjson":  # one row of several
        assert [one is None for one in by_ndjson(artefact, [ROW, lacks, ROW], tmp_path)] == [False, True, False]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("price", "cheap", "price is 'cheap', a finite number is needed"),
        ("price", math.nan, "price is .?nan.?, a finite number is needed|NaN is not a number"),
        ("price", math.inf, "price is .?inf.?, a finite number is needed|Infinity is not a number"),
        ("item", 1.5, "item is 1.5, a text is needed"),
        ("tags", 7, "tags is 7, a list is needed"),
    ],
)
def test_a_value_of_another_type_gives_no_score(
    artefact: Artefact, tmp_path: Path, way: str, field: str, value: Any, reason: str
) -> None:
    typed_text = way == "csv" and field in ("item", "tags")
    if typed_text or (way == "python" and field in ("item", "tags")):
        return  # every text is a category there, and a frame's column has one type: `test_types_of_other_libraries`
    rows = [ROW, {**ROW, field: value}, ROW]
    if way in WHOLE:
        if way == "arrow" and field in ("item", "tags"):
            body = io.BytesIO()
            frame_of([ROW] * 2).with_columns(pl.lit(value).alias(field)).write_ipc_stream(body)
            with pytest.raises(DataError, match=reason):
                by_service(artefact, ARROW, body.getvalue())
            return
        with pytest.raises(DataError, match=reason):
            WAYS[way](artefact, rows, tmp_path)
        return
    found = WAYS[way](artefact, rows, tmp_path)
    if way == "csv" and value != value:  # `nan` is one of the texts of `data.missing`
        require_scores(found, expected(artefact, [ROW, {**ROW, field: None}, ROW]))
        return
    assert found[1] is None
    require_scores([found[0], found[2]], expected(artefact, [ROW, ROW]))


def test_a_repeated_key_is_named_and_never_overwrites_a_value(artefact: Artefact, tmp_path: Path) -> None:
    row = json.dumps(ROW)
    twice = row[:-1] + ', "item": "2"}'
    for body, message in (
        (f'{{"rows": [{row}, {twice}]}}', "row 1 has the key 'item' twice"),
        (f'{{"rows": [{row}, {row[:-1]}, "more": {{"a": 1, "a": 1}}}}]}}', "row 1 has the key 'a' twice"),
        (f'{{"rows": [{row}], "rows": []}}', "an object has the key 'rows' twice"),
        (f"[{twice}]", "an object has the key 'item' twice"),
        (f'{{"rows": [{twice}, ', "an object has the key 'item' twice"),
        (f'{{"rows": 3, "a": {twice}}}', "an object has the key 'item' twice"),
    ):
        with pytest.raises(DataError) as caught:
            by_service(artefact, "application/json", body.encode())
        assert caught.value.message == message
    (tmp_path / "twice.ndjson").write_text(f"{row}\n{twice}\n{row}\n")
    found = predict_files(artefact, [tmp_path / "twice.ndjson"], tmp_path / "scores.parquet", Silent())
    assert [(one.line, one.reason) for one in found.rejects] == [(2, "has the key 'item' twice")]
    assert found.rows == 2


def test_a_repeated_column_is_named(artefact: Artefact, tmp_path: Path) -> None:
    """Of a column that is neither read nor kept, it has no effect."""
    path = tmp_path / "twice.csv"

    def write(extra: str) -> None:
        path.write_text(f"country,device,item,price,tags,{extra}\nDE,mobile,1,2.5,t1,2,3\n")

    write("item,more")
    with pytest.raises(DataError, match="the column item appears twice"):
        predict_files(artefact, [path], tmp_path / "scores.csv", Silent())
    write("more,more")
    assert predict_files(artefact, [path], tmp_path / "scores.csv", Silent()).rows == 1
    with pytest.raises(DataError, match="the column more appears twice"):
        predict_files(artefact, [path], tmp_path / "kept.csv", Silent(), keep=["more"])
    assert not (tmp_path / "kept.csv").exists()
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([[*ROW.values(), "2"]], columns=[*ROW, "item"])
    with pytest.raises(DataError, match="the frame has the column item twice"):
        ada.load_artefact(artefact.folder).predict(frame)


def commands(folder: Path, table: Path) -> list[Callable[[], Any]]:
    """Everything that opens a folder: the commands, and Python."""
    words = (
        ("predict", str(folder), str(table), "-o", "x.csv"),
        ("serve", str(folder), "--port", "0"),
        ("export", "--check", str(folder)),
    )
    return [lambda own=own: adasparse(folder.parent, *own, code=4).stderr for own in words]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"format_version": 99}, "has artefact format 99; this version reads format 1", "install version 7.1, which"),
        ({"format_version": 99, "made_by": "x"}, "has artefact format 99", "install the version that wrote it"),
        ({"format_version": "2.0"}, "has artefact format 2.0", "export the run again"),
        ({"files": ["a"]}, "adasparse.json is damaged: files", "copy the whole folder again"),
    ],
)
def test_another_format_is_named_with_what_to_do(
    artefact: Artefact, tmp_path: Path, change: dict[str, Any], message: str, hint: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(artefact.folder, folder)
    index = read_sealed(folder / "adasparse.json", "format_version", unsealed=None)
    write_sealed(folder / "adasparse.json", {**index, "made_by": {"adasparse-cli": "7.1"}, **change})
    (tmp_path / "rows.csv").write_text("country,device,item,price,tags\nDE,mobile,1,2.5,t1\n")
    for command in commands(folder, tmp_path / "rows.csv"):
        said = command()
        assert message in said
        assert hint in said
    with pytest.raises(IntegrityError, match=message) as caught:
        ada.load_artefact(folder)
    assert hint in str(caught.value.hint)
    assert not (tmp_path / "x.csv").exists()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["adasparse.json", "weights.safetensors", "domains.safetensors", "vocabularies"])
@pytest.mark.parametrize("harm", ["lost", "cut short"])
def test_a_partly_copied_folder_scores_nothing(artefact: Artefact, tmp_path: Path, name: str, harm: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(artefact.folder, folder)
    path = folder / name
    harmed = next(path.iterdir()) if path.is_dir() else path
    if harm == "cut short":
        cut_short(harmed)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    word = "is missing" if harm == "lost" else "checksum differs|is damaged"
    (tmp_path / "rows.csv").write_text("country,device,item,price,tags\nDE,mobile,1,2.5,t1\n")
    for command in commands(folder, tmp_path / "rows.csv"):
        said = command()
        assert re.search(word, said), said
        assert "hint:" in said
    with pytest.raises(IntegrityError, match=word):
        ada.load_artefact(folder).predict(pl.DataFrame(frame_of([ROW])))
    with pytest.raises(IntegrityError, match=word):
        run_check(folder)
