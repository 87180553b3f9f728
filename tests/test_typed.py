"""Values of JSON against declared types: what differs is named by file and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from adasparse_cli.errors import IntegrityError
from adasparse_cli.typed import require_types


class Colour(StrEnum):
    red = "red"


class Part(TypedDict, total=False):
    share: float | None
    kind: Literal["a", "b"]


@dataclass
class Whole:
    name: str
    rows: int
    parts: Sequence[Part]
    colours: tuple[Colour, ...]
    files: Mapping[str, str]
    anything: Any = None
    whole: bool = False


RIGHT = {"name": "n", "rows": 1, "parts": [{"share": 1, "kind": "a"}, {}], "colours": ["red"], "files": {"a": "b"}}


def test_values_of_their_types_are_accepted() -> None:
    require_types(RIGHT, Whole, Path("a.json"), hint="")
    more: dict[str, Any] = {"anything": [{}], "whole": True, "unknown": 3, "parts": [{"share": None}], "colours": []}
    require_types({**RIGHT, **more}, Whole, Path("a.json"), hint="")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": 3}, "name is 3"),
        ({"name": None}, "name is None"),
        ({"rows": True}, "rows is True"),
        ({"rows": 1.0}, "rows is 1.0"),
        ({"rows": "1"}, "rows is '1'"),
        ({"whole": 1}, "whole is 1"),
        ({"parts": {}}, "parts is {}"),
        ({"parts": "ab"}, "parts is 'ab'"),
        ({"parts": [{}, {"share": "x"}]}, "parts.1.share is 'x'"),
        ({"parts": [{"share": False}]}, "parts.0.share is False"),
        ({"parts": [{"kind": "c"}]}, "parts.0.kind is 'c'"),
        ({"parts": [3]}, "parts.0 is 3"),
        ({"colours": ["red", "blue"]}, "colours.1 is 'blue'"),
        ({"colours": [["red"]]}, r"colours.0 is \['red'\]"),
        ({"files": {"a": None}}, "files.a is None"),
        ({"files": []}, r"files is \[\]"),
    ],
)
def test_a_value_of_another_type_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(IntegrityError, match=rf"^a\.json is damaged: {said}$") as caught:
        require_types({**RIGHT, **changed}, Whole, Path("a.json"), hint="do this")
    assert caught.value.hint == "do this"


def test_what_is_missing_or_no_object_is_named() -> None:
    with pytest.raises(IntegrityError, match="name is missing"):
        require_types({key: value for key, value in RIGHT.items() if key != "name"}, Whole, Path("a"), hint="")
    with pytest.raises(IntegrityError, match=r"the whole is \[\]"):
        require_types([], Whole, Path("a"), hint="")
