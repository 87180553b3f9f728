"""The formats of requests and answers: JSON, and streams of Arrow record batches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from adasparse_cli.errors import DataError
from adasparse_cli.raw.unique_keys import RepeatedKeyError, unique_keys
from adasparse_cli.server.arrow_answer import answer_stream
from adasparse_cli.server.arrow_schema import StreamError
from adasparse_cli.server.arrow_stream import ArrowReader


class WrongRequestError(DataError):
    """A request that cannot be scored; `row` counts from 0, None if the error is not in a row."""

    def __init__(self, message: str, *, row: int | None = None, column: str | None = None) -> None:
        super().__init__(message, hint="GET /signature lists the inputs")
        self.row, self.column = row, column


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of a request.

    Args:
        run: identification of the model's run. domains: name of each row's domain; None for an unknown domain.
        seen: whether a row's domain was in training.
    """

    run: Mapping[str, Any]
    logits: np.ndarray
    probabilities: np.ndarray
    domains: Sequence[str | None]
    seen: np.ndarray


class Format(Protocol):
    """Reads requests of one content type, and writes their answers."""

    media_type: str

    def columns(self, body: bytes, inputs: Sequence[str], most_rows: int) -> Mapping[str, Sequence[Any]]:
        """The raw values by input field.

        Raises:
            WrongRequestError: the body does not have this form.
        """

    def answer(self, scores: Scores) -> bytes:
        """The body of the answer."""


class JsonFormat:
    """`{"rows": [{field: value, …}, …]}` → `{"model": …, "predictions": [{"logit": …, …}, …]}`."""

    media_type = "application/json"

    def columns(self, body: bytes, inputs: Sequence[str], most_rows: int) -> Mapping[str, Sequence[Any]]:
        try:
            found = json.loads(body.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=unique_keys)
        except RepeatedKeyError as error:
            raise _repeated_key(body, error.key) from None
        except (ValueError, RecursionError) as error:
            raise WrongRequestError(f"the body is not JSON: {str(error) or 'nested too deeply'}") from None
        rows = found.get("rows") if isinstance(found, dict) else None
        if not isinstance(rows, list):
            raise WrongRequestError('the body must be an object with a list of rows: {"rows": [{"field": value}]}')
        if len(rows) > most_rows:
            raise WrongRequestError(f"{len(rows):,} rows in one request, at most {most_rows:,} are scored at a time")
        for place, row in enumerate(rows):
            if not isinstance(row, dict):
                raise WrongRequestError(f"row {place} is not an object", row=place)
            lacking = next((name for name in inputs if name not in row), None)
            if lacking is not None:
                raise WrongRequestError(
                    f"row {place} lacks the field {lacking}; null is a missing value", row=place, column=lacking
                )
        return {name: [row[name] for row in rows] for name in inputs}

    def answer(self, scores: Scores) -> bytes:
        columns = (scores.logits.tolist(), scores.probabilities.tolist(), scores.domains, scores.seen.tolist())
        predictions = [
            {"logit": logit, "probability": chance, "domain": domain, "domain_seen_in_training": seen}
            for logit, chance, domain, seen in zip(*columns, strict=True)
        ]
        return json.dumps({"model": scores.run, "predictions": predictions}, allow_nan=False).encode()


class ArrowFormat:
    """A stream of record batches with a column per input field → a stream with a row per row; the run is in the schema's metadata."""

    media_type = "application/vnd.apache.arrow.stream"

    def columns(self, body: bytes, inputs: Sequence[str], most_rows: int) -> Mapping[str, Sequence[Any]]:
        try:
            return ArrowReader(inputs, most_rows).columns(body)
        except StreamError as error:
            raise WrongRequestError(str(error), column=error.column) from None

    def answer(self, scores: Scores) -> bytes:
        about = {"model": json.dumps(scores.run)}
        return answer_stream(scores.logits, scores.probabilities, scores.domains, scores.seen, about)


FORMATS: dict[str, Format] = {one.media_type: one for one in (JsonFormat(), ArrowFormat())}


def _repeated_key(body: bytes, key: str) -> WrongRequestError:
    """The error for JSON in which an object has a key twice. Only this rare case pays for finding its row."""

    def has(value: Any) -> bool:
        if isinstance(value, tuple):  # an object
            return [name for name, _ in value].count(key) > 1 or any(has(part) for _, part in value)
        return isinstance(value, list) and any(map(has, value))

    try:
        found = json.loads(body, object_pairs_hook=tuple)
        rows = dict(found).get("rows") if isinstance(found, tuple) else None
        place = next((place for place, row in enumerate(rows) if has(row)), None) if isinstance(rows, list) else None
    except (ValueError, RecursionError):  # an error that follows the repeated key
        place = None
    where = "an object" if place is None else f"row {place}"
    return WrongRequestError(f"{where} has the key {key!r} twice", row=place, column=key)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a number")
