"""Writes the folder that `serving.artefact` reads, from a trained model and its run's encoder."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import checksums, sync_folder, write_atomically, write_json, write_sealed, write_text
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.models.base import Model
from adasparse_cli.schema import Manifest
from adasparse_cli.serving.artefact import (
    DOMAINS,
    FACTORS,
    FORMAT_VERSION,
    GOLDEN,
    INDEX,
    SUB_NETWORKS,
    WEIGHTS,
    vocabulary_file,
)
from adasparse_cli.serving.cut import kept_neurons, sub_network, why_not_cut
from adasparse_cli.serving.describe import shape_of, shape_to_json
from adasparse_cli.serving.encoder import EncodedRows
from adasparse_cli.serving.golden import DrawnRows, draw_rows
from adasparse_cli.serving.keys import joined_key
from adasparse_cli.serving.network import Network, sigmoid
from adasparse_cli.serving.torch_engine import TorchEngine
from adasparse_cli.serving.values import Bags
from adasparse_cli.serving.vocabularies import Tables

# The largest difference of logits and probabilities that is rounding: of logits relative to those above 1.
LOGIT_TOLERANCE, PROBABILITY_TOLERANCE = 1e-5, 1e-6
# Rows of random values on which each sub-network is compared with the model.
PARITY_ROWS = 16
# Golden rows are of so many domains at most.
GOLDEN_DOMAINS = 1000
# A sub-network that saves less than this is no faster than a DNN by much.
WORTHWHILE = 2.0


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """What is exported.

    Args:
        model: with its trained weights, on the CPU. encoder: folder of the run's vocabularies.
        label: the model's name with its mode. settings: sections `model` and `network` as plain values.
        run: what names the run.
    """

    model: Model
    manifest: Manifest
    encoder: Path
    label: str
    settings: Mapping[str, Any]
    run: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was written.

    Args:
        domains: one line per domain with a sub-network: name, kept neurons, multiply-adds, parity.
        refused: why there are no sub-networks; None where there are, or would be.
        multiply_adds: of the uncut network, 0 where nobody counts them.
        parity: the largest difference of logits between a sub-network and the model.
    """

    folder: Path
    domains: Sequence[Mapping[str, Any]]
    refused: str | None
    multiply_adds: int
    parity: float
    engines: Mapping[str, str | None]
    bytes: int

    @property
    def dense_domains(self) -> list[str]:
        """Domains whose sub-network saves less than WORTHWHILE."""
        return [str(one["domain"]) for one in self.domains if one["ratio"] < WORTHWHILE]


def chosen_domains(tables: Tables, words: Sequence[str]) -> list[int]:
    """Numbers of the domains that `--domains` names: `all` seen in training, `top:N` of them, or keys.

    Raises:
        UsageError: a word is none of these.
    """
    known = tables.manifest.num_domains
    if list(words) == ["all"]:
        return list(range(known))
    if len(words) == 1 and words[0].startswith("top:"):
        number = words[0].removeprefix("top:")
        if not number.isdecimal() or int(number) == 0:
            raise UsageError(f"--domains {words[0]} names no number of domains", hint="such as --domains top:10")
        return list(range(min(int(number), known)))
    names = {joined_key(row): place for place, row in enumerate(tables.keys.iter_rows())}
    for word in words:
        if word not in names:
            raise UsageError(
                f"--domains {word}: there is no such domain",
                hint=f"all, top:N, or keys such as {', '.join(list(names)[:3])}; the option may be given several times",
            )
    return sorted({names[word] for word in words})


def write_artefact(source: ExportSource, target: Path, words: Sequence[str] | None) -> ExportReport:
    """Write the folder; it appears whole or not at all.

    Args:
        words: of `--domains`; None for all where the model has sub-networks, else for none.

    Raises:
        UsageError: sub-networks are asked for by name, and the model has none; or a domain is unknown.
        IntegrityError: a sub-network differs from the model.
    """
    tables = Tables(source.encoder, source.manifest)
    tables.require_plain_domain()
    shape = shape_of(source.model)
    refused = "this model prunes nothing: it has no weight factors" if shape is None else why_not_cut(shape)
    if refused is not None and words is not None:
        raise UsageError(
            f"--domains: {source.label} has no sub-networks: {refused}", hint="export it without --domains"
        )
    domains = chosen_domains(tables, words or ["all"])
    starting = target.with_name(f".{target.name}.starting")
    shutil.rmtree(starting, ignore_errors=True)
    try:
        starting.mkdir(parents=True)
        report = _write(source, tables, starting, domains, refused, named=words is not None)
        if target.exists():
            shutil.rmtree(target)
        starting.rename(target)
    except BaseException:
        shutil.rmtree(starting, ignore_errors=True)
        raise
    sync_folder(target.parent)
    return dataclasses.replace(report, folder=target)


def _write(
    source: ExportSource, tables: Tables, folder: Path, domains: Sequence[int], refused: str | None, *, named: bool
) -> ExportReport:
    shape, manifest = shape_of(source.model), source.manifest
    weights = {name: value.detach().cpu().numpy() for name, value in source.model.state_dict().items()}
    _save(folder / WEIGHTS, {name: np.ascontiguousarray(value) for name, value in weights.items()})
    for field in manifest.fields:
        path = folder / vocabulary_file(field.name)
        path.parent.mkdir(exist_ok=True)
        write_text(path, json.dumps(tables.file_of(field), ensure_ascii=False, allow_nan=False) + "\n")
    keys = [list(row) for row in tables.keys.iter_rows()]
    write_json(folder / DOMAINS, {"fields": list(manifest.domain), "keys": keys, "train_rows": tables.train_rows})
    engine = TorchEngine(source.model, manifest.fields)
    cuts: list[dict[str, Any]] = []
    network = None
    if shape is not None:
        network = Network(shape, manifest.fields, weights)
    if network is not None and refused is None:
        if (conditions := tables.conditions()) is not None:
            cuts = _write_sub_networks(network, engine, folder, tables, conditions, domains)
        elif named:
            raise UsageError(
                "--domains: a domain does not tell its sub-network, since data.domain_aware names fields that are "
                "not of the domain",
                hint="export it without --domains: sub-networks are then cut out when they are first needed",
            )
    drawn = draw_rows(tables, domains[:GOLDEN_DOMAINS])
    _write_golden(folder / GOLDEN, drawn, engine)
    index = _index(source, tables, network, refused, cuts)
    files = [path for path in folder.rglob("*") if path.is_file()]
    write_sealed(folder / INDEX, {**index, "files": checksums(folder, files)})
    return ExportReport(
        folder=folder,
        domains=cuts,
        refused=refused,
        multiply_adds=0 if network is None else network.multiply_adds(),
        parity=max((one["parity"] for one in cuts), default=0.0),
        engines=index["engines"],
        bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def _index(
    source: ExportSource,
    tables: Tables,
    network: Network | None,
    refused: str | None,
    cuts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of adasparse.json, but for the checksums."""
    manifest = source.manifest
    fields = []
    for field in manifest.fields:
        one = {**dataclasses.asdict(field), "type": str(tables.type_of(field))}
        if field.name == tables.combination:
            one["made_from"] = list(manifest.domain)
        fields.append(one)
    why_numpy = None if network is not None else f"the model {source.label} is computed by torch alone"
    found: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "made_by": {name: version(name) for name in ("adasparse-cli", "torch", "numpy")},
        "run": dict(source.run),
        "label": source.label,
        "model": dict(source.settings["model"]),
        "settings": {"network": dict(source.settings["network"])},
        "data": {
            "name": manifest.name,
            "fingerprint": manifest.fingerprint,
            "recipe": manifest.recipe,
            "settings": dict(manifest.settings),
        },
        "signature": {
            "inputs": [
                {
                    "name": one["name"],
                    "type": one["type"],
                    "list": one["kind"] == FieldKind.multi_valued,
                    "missing": None,
                }
                for one in fields
                if one["name"] != tables.combination
            ],
            "outputs": [{"name": "logit", "type": "float32"}, {"name": "probability", "type": "float64"}],
        },
        "unseen": dict(manifest.unseen),
        "input": tables.rules,
        "fields": fields,
        "domain": {
            "fields": list(manifest.domain),
            "combination": tables.combination,
            "num_domains": manifest.num_domains,
        },
        "engines": {"torch": None, "numpy": why_numpy, "onnx": "this folder was exported without --onnx"},
        "network": None if network is None else shape_to_json(network.shape),
        "sub_networks": {"refused": refused},
        "tolerance": {"logit": LOGIT_TOLERANCE, "probability": PROBABILITY_TOLERANCE},
    }
    if network is not None and cuts:
        found["sub_networks"] |= {
            "multiply_adds_uncut": network.multiply_adds(),
            "gate_widths": [len(pruner.bias) for pruner in network.pruners.values()],
            "conditions": [{"key": list(key)} for key in dict.fromkeys(tuple(one["key"]) for one in cuts)],
            "domains": [{name: value for name, value in one.items() if name != "key"} for one in cuts],
        }
    return found


def _write_sub_networks(
    network: Network,
    engine: TorchEngine,
    folder: Path,
    tables: Tables,
    conditions: Mapping[str, Sequence[int]],
    domains: Sequence[int],
) -> list[dict[str, Any]]:
    """Cut out the sub-network of each domain and compare it with the model; domains of equal ids share one."""
    aware = [field.name for field in tables.manifest.fields if field.role is FieldRole.domain_aware]
    keys = [tuple(int(conditions[name][domain]) for name in aware) for domain in domains]
    distinct = list(dict.fromkeys(keys))
    rows = _rows_of_conditions(tables, network, distinct)
    model = engine.model
    assert isinstance(model, AdaSparse)
    # the factors are torch's own, so that a neuron at the threshold is kept or pruned as the model has it
    first = rows.take(np.arange(0, len(rows), PARITY_ROWS))
    factors = [part.cpu().numpy() for part in model.factors(engine.batch(first))]
    margins = network.margin(first)
    expected = engine.logits(rows)
    tensors: dict[str, np.ndarray] = {FACTORS: np.concatenate(factors, axis=1)}
    found: dict[tuple[int, ...], dict[str, Any]] = {}
    uncut = network.multiply_adds()
    for place, key in enumerate(distinct):
        own = slice(place * PARITY_ROWS, (place + 1) * PARITY_ROWS)
        part = [one[place : place + 1] for one in factors]
        cut = sub_network(network, first.take(slice(place, place + 1)), part)
        logits = cut.logits(network.agnostic(rows.take(own)))
        parity = _require_equal(expected[own], logits, name=joined_key(tables.keys.row(domains[keys.index(key)])))
        tensors |= {f"{place}.{name}": value for name, value in cut.to_tensors().items()}
        found[key] = {
            "sub_network": place,
            "kept": kept_neurons(part),
            "multiply_adds": cut.multiply_adds(),
            "ratio": round(uncut / max(1, cut.multiply_adds()), 3),
            "parity": parity,
            "margin": float(margins[place]),
        }
    _save(folder / SUB_NETWORKS, tensors)
    return [
        {
            "domain": joined_key(tables.keys.row(domain)),
            "train_rows": tables.train_rows[domain],
            "key": list(key),
            **found[key],
        }
        for domain, key in zip(domains, keys, strict=True)
    ]


def _require_equal(expected: np.ndarray, found: np.ndarray, *, name: str) -> float:
    """The largest difference of logits.

    Raises:
        IntegrityError: it is more than rounding.
    """
    difference = np.abs(expected.astype(np.float64) - found)
    of_chance = np.abs(sigmoid(expected.astype(np.float64)) - sigmoid(found.astype(np.float64)))
    if (difference > LOGIT_TOLERANCE * np.maximum(1.0, np.abs(expected))).any() or (
        of_chance > PROBABILITY_TOLERANCE
    ).any():
        raise IntegrityError(
            f"the sub-network of {name} differs from the model by {difference.max():.1e} in the logit",
            hint="this is a fault of adasparse; nothing was exported",
        )
    return float(difference.max())


def _rows_of_conditions(tables: Tables, network: Network, keys: Sequence[Sequence[int]]) -> EncodedRows:
    """PARITY_ROWS rows of random ids of each condition."""
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


def _write_golden(path: Path, drawn: DrawnRows, engine: TorchEngine) -> None:
    logits = engine.logits(drawn.encoded)
    lines = (
        json.dumps({"row": drawn.raw(place), "logit": float(logit)}, ensure_ascii=False, allow_nan=False)
        for place, logit in enumerate(logits)
    )
    write_text(path, "".join(f"{line}\n" for line in lines))


def _save(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    write_atomically(path, partial(_save_file, tensors))


def _save_file(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    mode = path.stat().st_mode
    save_file(dict(tensors), path)
    path.chmod(mode)  # it writes files that nobody else may read
