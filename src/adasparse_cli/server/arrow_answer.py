"""Writes scores as a stream with one Arrow record batch, without polars or pyarrow.

Source: the Arrow columnar format, version 1.5, "IPC Streaming Format".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from adasparse_cli.server.arrow_schema import TYPES
from adasparse_cli.server.arrow_stream import BATCH, CONTINUATION, SCHEMA
from adasparse_cli.server.flatbuffers import Fields, Number, Structs, written

_VERSION = Number(4, "h")  # of the metadata: V5
_SINGLE, _DOUBLE = Fields([Number(1, "h")]), Fields([Number(2, "h")])
_END = CONTINUATION + bytes(4)


def answer_stream(
    logits: np.ndarray,
    probabilities: np.ndarray,
    domains: Sequence[str | None],
    seen: np.ndarray,
    about: Mapping[str, str],
) -> bytes:
    """A stream with the columns `logit` (float), `probability` (double), `domain` (utf8), `domain_seen_in_training` (bool).

    Args:
        about: metadata of the schema.
    """
    kept = [domain or "" for domain in domains]
    texts = [text.encode() for text in kept]
    known = np.array([domain is not None for domain in domains], dtype=bool)
    offsets = np.cumsum([0, *map(len, texts)]).astype("<i4")
    columns = [
        [b"", logits.astype("<f4").tobytes()],
        [b"", probabilities.astype("<f8").tobytes()],
        [_bits(known), offsets.tobytes(), b"".join(texts)],
        [b"", _bits(seen)],
    ]
    nulls = [0, 0, len(domains) - int(known.sum()), 0]
    schema = Fields(
        [
            Number(0, "h"),
            [
                _field("logit", "FloatingPoint", _SINGLE),
                _field("probability", "FloatingPoint", _DOUBLE),
                _field("domain", "Utf8", Fields([]), nullable=True),
                _field("domain_seen_in_training", "Bool", Fields([])),
            ],
            [Fields([name, value]) for name, value in about.items()],
        ]
    )
    body, places = bytearray(), []
    for part in (part for parts in columns for part in parts):
        places.append((len(body), len(part)))
        body += part + bytes(-len(part) % 8)
    batch = Fields([Number(len(logits), "q"), Structs([(len(logits), missing) for missing in nulls]), Structs(places)])
    return _message(SCHEMA, schema, b"") + _message(BATCH, batch, bytes(body)) + _END


def _field(name: str, kind: str, own: Fields, *, nullable: bool = False) -> Fields:
    return Fields([name, Number(int(nullable), "B"), Number(TYPES.index(kind), "B"), own, None, []])


def _message(kind: int, header: Fields, body: bytes) -> bytes:
    metadata = written(Fields([_VERSION, Number(kind, "B"), header, Number(len(body), "q")]))
    metadata += bytes(-len(metadata) % 8)
    return CONTINUATION + struct.pack("<i", len(metadata)) + metadata + body


def _bits(values: np.ndarray) -> bytes:
    return np.packbits(np.asarray(values, dtype=bool), bitorder="little").tobytes()
