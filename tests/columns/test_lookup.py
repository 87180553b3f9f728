"""A value's place among keys is where a dictionary says it is."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.columns.lookup import Lookup

INTEGERS = st.none() | st.integers(-5, 5) | st.sampled_from([-(2**63), 2**63 - 1])


@given(st.lists(INTEGERS, unique=True), st.lists(INTEGERS))
def test_integers_are_found_where_they_stand(keys: list[int | None], values: list[int | None]) -> None:
    places = {key: place for place, key in enumerate(keys)}
    found = Lookup(pl.Series(keys, dtype=pl.Int64)).places(pl.Series("v", values, dtype=pl.Int64))
    assert found.tolist() == [places.get(value, -1) for value in values]
    assert found.dtype == np.int32


def test_what_the_keys_type_cannot_hold_is_no_key_and_no_null() -> None:
    unsigned = Lookup(pl.Series([None, 7], dtype=pl.UInt64))
    assert unsigned.places(pl.Series([-1, None, 7], dtype=pl.Int64)).tolist() == [-1, 0, 1]
    signed = Lookup(pl.Series([None, 7], dtype=pl.Int64))
    assert signed.places(pl.Series([2**64 - 1, None, 7], dtype=pl.UInt64)).tolist() == [-1, 0, 1]
    assert signed.places(pl.Series(["x", None, "7"])).tolist() == [-1, 0, 1]


@pytest.mark.parametrize("kind", [pl.Int8, pl.String])
@given(st.lists(st.none() | st.integers(-128, 127), unique=True), st.lists(st.none() | st.integers(-200, 200)))
def test_values_of_another_type_are_taken_as_the_keys_type(
    kind: type[pl.DataType], keys: list[int | None], values: list[int | None]
) -> None:
    places = {key: place for place, key in enumerate(keys)}
    found = Lookup(pl.Series(keys, dtype=pl.Int64).cast(kind)).places(pl.Series("v", values, dtype=pl.Int64))
    assert found.tolist() == [places.get(value, -1) for value in values]


@given(
    st.lists(st.none() | st.integers(0, 9) | st.integers(2**64 - 9, 2**64 - 1), unique=True),
    st.lists(st.integers(0, 9) | st.integers(2**64 - 9, 2**64 - 1)),
)
def test_large_unsigned_integers_are_found(keys: list[int | None], values: list[int]) -> None:
    places = {key: place for place, key in enumerate(keys)}
    found = Lookup(pl.Series(keys, dtype=pl.UInt64)).places(pl.Series(values, dtype=pl.UInt64))
    assert found.tolist() == [places.get(value, -1) for value in values]
