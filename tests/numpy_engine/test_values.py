"""The artefact's reader gives the ids of preparation, without polars."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.choices import FieldKind, Spelling
from adasparse_cli.data_prep.tabular_values import Missing
from adasparse_cli.exporting import write
from adasparse_cli.exporting.golden import draw_rows
from adasparse_cli.exporting.vocabularies import Tables
from adasparse_cli.exporting.write import write_artefact
from adasparse_cli.numpy_engine import keys
from adasparse_cli.numpy_engine.values import Buckets, TextRules, ValueType, Vocabulary
from adasparse_cli.prep.vocabulary import Vocabulary as Prepared
from adasparse_cli.prepared import key as prepared_key
from adasparse_cli.serving.artefact import open_artefact
from adasparse_cli.serving.check import golden_rows
from tests.serving import made

PLAIN = TextRules(missing=frozenset({""}), spelling=Spelling.as_written, list_separator="|")


@given(st.lists(st.none() | st.text(alphabet="/\\misnga b", max_size=9) | st.just("missing"), min_size=1, max_size=3))
def test_keys_are_written_as_preparation_writes_them(values: list[str | None]) -> None:
    assert keys.joined_key(values) == prepared_key.joined_key(values)


@given(
    st.sampled_from(list(Spelling)),
    st.lists(
        st.sampled_from(["22", "22.0", " 22.00 ", "True", "TRUE", "a", " A", "NA", " NA ", "", "-0.0", "+7.0", "é"])
    ),
)
def test_texts_are_spelled_as_preparation_spells_them(spelling: Spelling, texts: list[str]) -> None:
    rules = TextRules(missing=frozenset({"", "NA"}), spelling=spelling, list_separator="|")
    expected = Missing(["", "NA"]).normalised(pl.Series("x", texts, dtype=pl.String), spelling).to_list()
    assert [rules.text_of(text) for text in texts] == expected


@given(
    st.lists(st.floats(-5, 5).map(lambda value: round(value, 1)), min_size=1, max_size=6, unique=True),
    st.booleans(),
    st.lists(st.none() | st.floats(-9, 9).map(lambda value: round(value, 1)), max_size=20),
)
def test_numbers_fall_into_the_buckets_of_preparation(
    lower: list[float], missing: bool, values: list[float | None]
) -> None:
    edges = sorted(value + 0.0 for value in lower)
    table = pl.DataFrame(
        {"id": range(1, len(edges) + 1 + missing), "lower": pl.Series([*edges, *[None] * missing], dtype=pl.Float64)}
    )
    expected = Prepared(table, FieldKind.numeric).ids(pl.Series("x", values, dtype=pl.Float64)).to_list()
    found = Buckets(edges, len(edges) + 1 if missing else 0, PLAIN).ids(values, {})
    assert found.tolist() == expected


def test_types_are_not_mixed_up() -> None:
    numbers = Vocabulary([7, None, 1], ValueType.integer, PLAIN)
    faults: dict[int, str] = {}
    assert numbers.ids([7, "7", " 7", None, "", 1, True, 1.0, "x", 8], faults).tolist()[:6] == [1, 1, 1, 2, 2, 3]
    assert sorted(faults) == [6, 7, 8]
    assert numbers.ids([True], {}).tolist() == [0]
    texts = Vocabulary(["22", "true", "3.0"], ValueType.text, PLAIN)
    faults = {}
    found = texts.ids(["22", 22, "22.0", True, "3", 3, None, 3.0, b"22"], faults)
    assert found.tolist()[:7] == [1, 1, 1, 2, 3, 3, 0]
    assert sorted(faults) == [7, 8]


def test_lists_are_bags_of_ids_and_equal_ones_are_one() -> None:
    vocabulary = Vocabulary(["a", "b"], ValueType.text, PLAIN)
    faults: dict[int, str] = {}
    bags = vocabulary.bags([["a", "b"], "a|b", [], None, "", ["z", ""], "b", ["a", 1.5], {"a": 1}], faults)
    rows = [bags.values[bags.starts[n] : bags.starts[n + 1]].tolist() for n in bags.of_row]
    assert rows[:7] == [[1, 2], [1, 2], [], [], [], [0], [2]]
    assert sorted(faults) == [7, 8]
    assert len(bags.starts) - 1 == len({tuple(row) for row in rows})


def test_remembered_values_do_not_change_ids() -> None:
    vocabulary = Vocabulary([str(k) for k in range(50)], ValueType.text, PLAIN)
    draw = np.random.default_rng(0)
    for _ in range(3):
        texts = [str(k) for k in draw.integers(0, 80, 200)]
        assert vocabulary.ids(texts, {}).tolist() == [int(text) + 1 if int(text) < 50 else 0 for text in texts]


@pytest.mark.parametrize("words", [(), ("data.domain_id=false",), ("data.min_count=5", "data.spelling=lower_case")])
def test_rows_get_the_ids_that_preparation_gives_them(tmp_path: Path, words: tuple[str, ...]) -> None:
    data = made.prepare(tmp_path, *words)
    _, source = made.random_model(data)
    write_artefact(source, tmp_path / "model", None)
    tables = Tables(data, source.manifest)
    assert (tables.combination is None) == ("data.domain_id=false" in words)
    rows = draw_rows(tables, range(tables.keys.height), seed=4)
    found, faults = open_artefact(tmp_path / "model").encoder.encode(rows.columns)
    assert not faults
    names = [field.name for field in source.manifest.fields]
    single = [place for place, name in enumerate(names) if name not in rows.encoded.bags]
    np.testing.assert_array_equal(found.ids[:, single], rows.encoded.ids[:, single])
    np.testing.assert_array_equal(found.domains, rows.encoded.domains)
    categorical = [place for place in single if names[place] != "price"]
    assert (found.ids[:, categorical] == 0).any(axis=0).all()
    for name, bags in found.bags.items():
        other = rows.encoded.bags[name]
        for one, two in zip(bags.of_row, other.of_row, strict=True):
            own = bags.values[bags.starts[one] : bags.starts[one + 1]].tolist()
            assert own == other.values[other.starts[two] : other.starts[two + 1]].tolist()


@pytest.mark.parametrize("near", [0.0, 2e-3, 9.0])
def test_golden_rows_leave_out_domains_that_rounding_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near: float
) -> None:
    _, source = made.random_model(made.prepare(tmp_path))
    monkeypatch.setattr(write, "NEAR", near)
    write_artefact(source, tmp_path / "model", None)
    artefact = open_artefact(tmp_path / "model")
    columns, logits = golden_rows(artefact)
    left_out = artefact.index["golden_rows_left_out"]
    assert (left_out > 0) == (near == 2e-3)
    rows, _ = artefact.encoder.encode(columns)
    margins = artefact.network.margin(rows)
    assert len(logits) > 0
    assert near == 9.0 or margins.min() >= near


def test_the_engine_and_the_reader_load_neither_torch_nor_polars() -> None:
    files = (
        "numpy_engine.engine",
        "numpy_engine.encoder",
        *(f"serving.{n}" for n in ("artefact", "rows", "predict", "check")),
    )
    script = "; ".join(
        itertools.chain(
            (f"import adasparse_cli.{file}" for file in files),
            [
                "import sys",
                "found = {'torch', 'polars', 'scipy', 'onnx'} & set(sys.modules)",
                "assert not found, found",
            ],
        )
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
