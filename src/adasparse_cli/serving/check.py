"""`adasparse export --check`: checks every file against its checksum, and the golden rows with every available engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.numpy_engine.dense import sigmoid
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.serving.artefact import ENGINES, GOLDEN, PACKED, Artefact, condition_key, open_artefact

# Packages that an engine needs.
NEEDS = {"torch": "torch", "numpy": "numpy", "onnx": "onnxruntime"}


class Engine(Protocol):
    """Scores rows of ids."""

    name: str

    def logits(self, rows: EncodedRows) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class CheckedEngine:
    """The result of an engine on the golden rows; `skipped` is the reason if it was not run.

    Args:
        logit, probability: the largest differences.
    """

    engine: str
    rows: int
    logit: float
    probability: float
    skipped: str | None = None


def engine_named(artefact: Artefact, name: str) -> Engine:
    """An engine of an artefact.

    Raises:
        UsageError: it cannot score this model, or is not installed.
    """
    artefact.require(name)
    return _ENGINES[name](artefact)


def golden_rows(artefact: Artefact) -> tuple[dict[str, list[Any]], np.ndarray]:
    """Raw values by field, and the logit of each row."""
    lines = [json.loads(line) for line in artefact.path(GOLDEN).read_text(encoding="utf-8").splitlines()]
    columns = {name: [line["row"][name] for line in lines] for name in artefact.encoder.inputs}
    return columns, np.array([line["logit"] for line in lines], dtype=np.float64)


def run_check(folder: Path) -> Sequence[CheckedEngine]:
    """Check a folder.

    Raises:
        IntegrityError: a file is missing or differs, or an engine gives different scores.
    """
    artefact = open_artefact(folder)
    artefact.verify()
    columns, expected = golden_rows(artefact)
    rows, faults = artefact.encoder.encode(columns)
    if faults:
        raise IntegrityError(
            f"{folder / GOLDEN}: {faults[0].column} {faults[0].reason}", hint="export the run again with this version"
        )
    found = [_checked(artefact, name, rows, expected) for name in ENGINES]
    if PACKED in artefact.index["files"] and find_spec(NEEDS["onnx"]) is not None:
        found.append(_checked_packed(artefact, rows, expected))
    return found


def _checked(artefact: Artefact, name: str, rows: EncodedRows, expected: np.ndarray) -> CheckedEngine:
    reason = artefact.why_not(name)
    if reason is None and find_spec(NEEDS[name]) is None:
        reason = f"{NEEDS[name]} is not installed"
    if reason is not None:
        return CheckedEngine(engine=name, rows=0, logit=0.0, probability=0.0, skipped=reason)
    return _compared(artefact, name, engine_named(artefact, name).logits(rows), expected, np.arange(len(expected)))


def _checked_packed(artefact: Artefact, rows: EncodedRows, expected: np.ndarray) -> CheckedEngine:
    """The result of `domains.onnx` on the golden rows of its conditions."""
    from adasparse_cli.serving.onnx_engine import PackedEngine  # loads ONNX Runtime

    engine = PackedEngine(str(artefact.path(PACKED)), artefact.encoder)
    numpy_engine = artefact.numpy_engine()
    conditions = artefact.index["sub_networks"]["conditions"]
    numbers = {condition_key(one["key"]): number for number, one in enumerate(conditions)}
    places: dict[int, list[int]] = {}
    for place in range(len(rows)):
        number = numbers.get(numpy_engine.key_of(rows, place))
        if number is not None:
            places.setdefault(number, []).append(place)
    found, lines = [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for number, own in places.items():
        found.append(engine.logits_of(number, rows.take(np.array(own))))
        lines.append(np.array(own))
    line = np.concatenate(lines)
    return _compared(artefact, engine.name, np.concatenate(found), expected[line], line)


def _compared(
    artefact: Artefact, name: str, logits: np.ndarray, expected: np.ndarray, lines: np.ndarray
) -> CheckedEngine:
    """Compare scores with the golden ones.

    Args:
        lines: index of each score among the golden rows.

    Raises:
        IntegrityError: they differ by more than rounding.
    """
    found = logits.astype(np.float64)
    difference = np.abs(found - expected)
    of_chance = np.abs(sigmoid(found) - sigmoid(expected))
    tolerance: Mapping[str, float] = artefact.index["tolerance"]
    allowed = tolerance["logit"] * np.maximum(1.0, np.abs(expected))
    wrong = ~(difference <= allowed) | ~(of_chance <= tolerance["probability"])
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise IntegrityError(
            f"{artefact.folder}: engine {name} differs on {int(wrong.sum())} of {len(expected)} golden rows; "
            f"line {lines[place] + 1} of {GOLDEN} has the logit {expected[place]:.6f}, the engine gives {found[place]:.6f}",
            hint="do not use this folder here; export the run again with this version of adasparse",
        )
    return CheckedEngine(
        engine=name,
        rows=len(expected),
        logit=float(difference.max(initial=0.0)),
        probability=float(of_chance.max(initial=0.0)),
    )


def _torch(artefact: Artefact) -> Engine:
    from adasparse_cli.serving.torch_engine import torch_engine  # loads torch

    return torch_engine(artefact)


def _numpy(artefact: Artefact) -> Engine:
    return artefact.numpy_engine()


def _onnx(artefact: Artefact) -> Engine:
    if find_spec("onnxruntime") is None:
        raise UsageError("the engine onnx needs the package onnxruntime", hint="pip install 'adasparse-cli[export]'")
    from adasparse_cli.serving.onnx_engine import onnx_engine  # loads ONNX Runtime

    return onnx_engine(artefact)


_ENGINES: dict[str, Callable[[Artefact], Engine]] = {"torch": _torch, "numpy": _numpy, "onnx": _onnx}
