"""PPNet against its equation in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from adasparse_cli.errors import UsageError
from tests.models.parts import parts_of
from tests.models.test_epnet import gate


def test_without_ids_the_gates_read_the_domain_alone() -> None:
    parts = parts_of("ppnet", "model.id_fields=[]")
    h = parts.tower(parts.x, 2, lambda k, h: h * gate(parts, f"gates.{k}", parts.told, parts.agnostic))
    parts.agrees_with(parts.linear("head", h)[:, 0])


def test_the_two_fields_with_the_most_values_are_the_ids_by_default() -> None:
    """Of item (40), shop (15) and tags (9): the first two."""
    parts = parts_of("ppnet")
    seen = np.concatenate([parts.agnostic[:, 0:8], parts.agnostic], axis=1)
    h = parts.tower(parts.x, 2, lambda k, h: h * gate(parts, f"gates.{k}", parts.told, seen))
    parts.agrees_with(parts.linear("head", h)[:, 0])


def test_named_ids_are_seen_beside_the_domain_in_the_order_named() -> None:
    """e_a holds single-valued fields first: item, shop, then tags."""
    parts = parts_of("ppnet", "model.id_fields=[tags,item]")
    seen = np.concatenate([parts.agnostic[:, 8:12], parts.agnostic[:, 0:4], parts.agnostic], axis=1)
    h = parts.tower(parts.x, 2, lambda k, h: h * gate(parts, f"gates.{k}", parts.told, seen))
    parts.agrees_with(parts.linear("head", h)[:, 0])


@pytest.mark.parametrize("name", ["itme", "place"])
def test_an_id_that_is_no_domain_agnostic_field_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        parts_of("ppnet", f"model.id_fields=[{name}]")
    assert "item, shop, tags" in caught.value.hint
