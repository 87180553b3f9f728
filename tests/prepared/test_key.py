"""The key of a domain as one text: no two keys share one, and it can be read back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.prep import prepare
from adasparse_cli.prep.recipe import with_domain_id
from adasparse_cli.prepared.key import joined_key, joined_keys, split_key
from adasparse_cli.runs.prepare import plan_prep, run_prep
from adasparse_cli.schema import Manifest
from adasparse_cli.scoring.new_files import encode_rows

VALUES = [
    None,
    "missing",
    "\\missing",
    "\\\\missing",
    "missing\n",
    "a/b",
    "a",
    "b",
    "a\\",
    "\\",
    "",
    "/",
    "a\\/b",
    "$0",
]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_two_keys_have_the_same_text_and_each_is_read_back(number: int) -> None:
    keys = list(itertools.product(VALUES, repeat=number))
    columns = list("xyz"[:number])
    table = pl.DataFrame(keys, schema=dict.fromkeys(columns, pl.String), orient="row")
    texts = table.select(joined_keys([pl.col(name) for name in columns])).to_series().to_list()
    assert len(set(texts)) == len(keys)
    assert [tuple(split_key(text, number)) for text in texts] == keys


@given(st.lists(st.none() | st.text("missng/\\ aé", max_size=9), min_size=1, max_size=4))
def test_any_key_is_read_back(values: list[str | None]) -> None:
    assert split_key(joined_key(values), len(values)) == values


def test_values_without_special_signs_stand_as_they_are() -> None:
    assert joined_key(["0", None, "a b"]) == "0/missing/a b"
    assert joined_key(["news/sport"]) == "news/sport"
    assert joined_key(["news/sport", "live"]) == "news\\/sport/live"
    assert joined_key(["news", "sport/live"]) == "news/sport\\/live"


def test_data_of_an_earlier_version_are_scored_with_the_spelling_that_they_were_prepared_with(tmp_path: Path) -> None:
    """Their field of `data.domain_id` joined the values as they are."""
    rows = [f"{k % 2},{('a/b', 'c/d')[k % 2]},x{k % 3}" for k in range(120)]
    table = tmp_path / "a.csv"
    table.write_text("\n".join(["y,page,place", *rows]) + "\n")
    words = ["data=tabular", "data.name=old", f"paths.data={tmp_path}", f"raw={table}", "data.label=y"]
    words += ["data.domain=[page,place]", "data.split=random", "data.domain_id=true", "data.min_count=1"]
    job = plan_prep(words)

    def unseen(manifest: Manifest) -> int:
        (encoded,) = encode_rows(job.folder, manifest, job.settings, [table])
        return int((encoded.frame["domain"] == 0).sum())

    with mock.patch.object(prepare, "with_domain_id", partial(with_domain_id, escaped=False)):
        old = run_prep(job).manifest
    assert old.escaped_keys
    assert unseen(old) == 120
    assert unseen(replace(old, escaped_keys=False)) == 0
    values = {name: value for name, value in old.to_json().items() if name != "escaped_keys"}
    assert not Manifest.from_json(values).escaped_keys
