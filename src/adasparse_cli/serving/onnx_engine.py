"""The ONNX engine: runs `model.onnx` with ONNX Runtime. Needs the package onnxruntime, but neither torch nor polars."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from adasparse_cli.choices import FieldKind
from adasparse_cli.numpy_engine.encoder import EncodedRows, RowEncoder
from adasparse_cli.numpy_engine.values import Buckets, ValueType, Vocabulary
from adasparse_cli.serving.artefact import MODEL, Artefact
from adasparse_cli.serving.onnx_values import MISSING_INTEGER, MISSING_TEXT, NUMBER

PASS_ROWS = 4096


class OnnxEngine:
    """Scores rows of ids. Each id is converted to a value for the graph: a known value, or an unseen one for id 0.

    Args:
        path: of the graph.
    """

    name = "onnx"

    def __init__(self, path: str, encoder: RowEncoder) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._fields = encoder.fields
        self._values = {name: _values(vocabulary) for name, vocabulary in encoder.vocabularies.items()}
        self._fill = {name: values[-1] for name, values in self._values.items()}

    def logits(self, rows: EncodedRows) -> np.ndarray:
        """Logits, float32, one per row."""
        found = [np.zeros(0, dtype=np.float32)]
        for start in range(0, len(rows), PASS_ROWS):
            part = rows.take(slice(start, start + PASS_ROWS))
            found.append(self._session.run(["logit"], self.inputs(part))[0])
        return np.concatenate(found)

    def inputs(self, rows: EncodedRows) -> dict[str, np.ndarray]:
        """The graph's inputs for rows."""
        found = {}
        for place, field in enumerate(self._fields):
            values = self._values.get(field.name)
            if values is None:  # the combination, which the graph computes
                continue
            if field.kind is FieldKind.multi_valued:
                bags = rows.bags[field.name]
                lengths = np.diff(bags.starts)[bags.of_row]
                longest = int(lengths.max(initial=0))
                places = bags.starts[bags.of_row][:, None] + np.arange(longest)
                inside = np.arange(longest) < lengths[:, None]
                ids = bags.values[np.where(inside, places, 0)] if len(bags.values) else np.zeros_like(places)
                found[field.name] = values[np.where(inside, ids, len(values) - 1)]
            else:
                found[field.name] = values[rows.ids[:, place]]
        return found


class PackedEngine(OnnxEngine):
    """`domains.onnx`: scores rows of one exported condition at a time."""

    name = "onnx, domains.onnx"

    def logits_of(self, number: int, rows: EncodedRows) -> np.ndarray:
        """Logits, float32, one per row of the condition with this number."""
        taken = {one.name for one in self._session.get_inputs()}
        inputs = {name: values for name, values in self.inputs(rows).items() if name in taken}
        found: np.ndarray = self._session.run(["logit"], {**inputs, NUMBER: np.array([number], dtype=np.int64)})[0]
        return found


def _values(vocabulary: Vocabulary | Buckets) -> np.ndarray:
    """A value for each id, an unseen one for id 0; the missing value is last."""
    if isinstance(vocabulary, Buckets):
        # id 0 is only a missing value, if training had none
        return np.array([np.nan, *vocabulary.lower, np.nan], dtype=np.float64)
    known = list(vocabulary.known)
    if vocabulary.kind is ValueType.integer:
        numbers = [value for value in known if value is not None]
        unseen = next(value for value in range(max(numbers, default=0) + 1, 2**63) if value not in vocabulary.known)
        whole = [MISSING_INTEGER if value is None else value for value in known]
        return np.array([unseen, *whole, MISSING_INTEGER], dtype=np.int64)
    unseen_text = "unseen"
    while unseen_text in vocabulary.known:
        unseen_text += "-"
    texts = [MISSING_TEXT if value is None else value for value in known]
    return np.array([unseen_text, *texts, MISSING_TEXT], dtype=object)


def onnx_engine(artefact: Artefact) -> OnnxEngine:
    """The engine of an artefact with a graph."""
    return OnnxEngine(str(artefact.path(MODEL)), artefact.encoder)
