"""Extracts the sub-networks of an export, and compares each with the trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.errors import IntegrityError
from adasparse_cli.exporting.vocabularies import Tables
from adasparse_cli.files import write_atomically
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.numpy_engine.cut import kept_neurons, sub_network
from adasparse_cli.numpy_engine.dense import sigmoid
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.keys import joined_key
from adasparse_cli.numpy_engine.network import Network
from adasparse_cli.numpy_engine.values import Bags
from adasparse_cli.serving.artefact import FACTORS, SUB_NETWORKS
from adasparse_cli.serving.torch_engine import TorchEngine

# Largest difference of logits and probabilities that counts as rounding; logits above 1 are compared relatively.
LOGIT_TOLERANCE, PROBABILITY_TOLERANCE = 1e-5, 1e-6
# If a neuron is this near to the threshold, rounding decides whether it is kept, and engines may differ. Such a row
# is not compared. fp32 leaves an error of about 1e-6 in v_out.
NEAR = 5e-6
# Number of random rows on which each sub-network is compared with the model.
PARITY_ROWS = 16


def write_sub_networks(
    network: Network,
    engine: TorchEngine,
    folder: Path,
    tables: Tables,
    conditions: Mapping[str, Sequence[int]],
    domains: Sequence[int],
) -> list[dict[str, Any]]:
    """Extract the sub-network of each domain and compare it with the model; domains with equal ids share one."""
    aware = [field.name for field in tables.manifest.fields if field.role is FieldRole.domain_aware]
    keys = [tuple(int(conditions[name][domain]) for name in aware) for domain in domains]
    distinct = list(dict.fromkeys(keys))
    rows = _rows_of_conditions(tables, network, distinct)
    model = engine.model
    assert isinstance(model, AdaSparse)
    expected = engine.logits(rows)  # from here on, the model has the bags of these rows
    # torch computes the factors, so that a neuron at the threshold is kept or pruned as in the model
    first = rows.take(np.arange(0, len(rows), PARITY_ROWS))
    factors = [part.cpu().numpy() for part in model.factors(engine.batch(first))]
    margins = network.margin(first)
    tensors: dict[str, np.ndarray] = {FACTORS: np.concatenate(factors, axis=1)}
    found: dict[tuple[int, ...], dict[str, Any]] = {}
    uncut = network.multiply_adds()
    for place, key in enumerate(distinct):
        own = slice(place * PARITY_ROWS, (place + 1) * PARITY_ROWS)
        part = [one[place : place + 1] for one in factors]
        cut = sub_network(network, first.take(slice(place, place + 1)), part)
        logits = cut.logits(network.agnostic(rows.take(own)))
        parity = _difference(
            expected[own],
            logits,
            near=bool(margins[place] < NEAR),
            name=joined_key(tables.keys.row(domains[keys.index(key)])),
        )
        tensors |= {f"{place}.{name}": value for name, value in cut.to_tensors().items()}
        found[key] = {
            "sub_network": place,
            "kept": kept_neurons(part),
            "multiply_adds": cut.multiply_adds(),
            "ratio": round(uncut / max(1, cut.multiply_adds()), 3),
            "parity": parity,
            "margin": float(margins[place]) if np.isfinite(margins[place]) else None,
        }
    save_tensors(folder / SUB_NETWORKS, tensors)
    return [
        {
            "domain": joined_key(tables.keys.row(domain)),
            "train_rows": tables.train_rows[domain],
            "key": list(key),
            **found[key],
        }
        for domain, key in zip(domains, keys, strict=True)
    ]


def _difference(expected: np.ndarray, found: np.ndarray, *, near: bool, name: str) -> float:
    """The largest difference of logits.

    Args:
        near: whether a neuron is so near to the threshold that rounding decides whether it is kept, even within torch.

    Raises:
        IntegrityError: the difference is larger than rounding.
    """
    difference = np.abs(expected.astype(np.float64) - found)
    of_chance = np.abs(sigmoid(expected.astype(np.float64)) - sigmoid(found.astype(np.float64)))
    wrong = (difference > LOGIT_TOLERANCE * np.maximum(1.0, np.abs(expected))) | (of_chance > PROBABILITY_TOLERANCE)
    if wrong.any() and not near:
        raise IntegrityError(
            f"the sub-network of {name} differs from the model by {difference.max():.1e} in the logit",
            hint="this is a fault of adasparse; nothing was exported",
        )
    return float(difference.max())


def _rows_of_conditions(tables: Tables, network: Network, keys: Sequence[Sequence[int]]) -> EncodedRows:
    """PARITY_ROWS rows of random ids for each condition."""
    draw = np.random.default_rng(1)
    count = len(keys) * PARITY_ROWS
    fields = tables.manifest.fields
    ids = np.stack([draw.integers(0, max(1, field.size), count) for field in fields], axis=1).astype(np.int32)
    bags = {}
    for place, field in enumerate(fields):
        if field.kind is FieldKind.multi_valued:
            lengths = [0, *draw.integers(1, 9, 31)]
            starts = np.cumsum([0, *lengths])
            values = draw.integers(0, max(1, field.size), starts[-1])
            ids[:, place] = draw.integers(0, len(lengths), count)
            bags[field.name] = Bags(values, starts, ids[:, place])
    aware = [place for place, _ in network.aware_fields]
    ids[:, aware] = np.repeat(np.array(keys, dtype=np.int32), PARITY_ROWS, axis=0)
    return EncodedRows(ids=ids, bags=bags, domains=np.zeros(count, dtype=np.int64))


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors atomically, in safetensors."""
    write_atomically(path, partial(_save_file, tensors))


def _save_file(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    mode = path.stat().st_mode
    save_file(dict(tensors), path)
    path.chmod(mode)  # safetensors creates files that other users cannot read
