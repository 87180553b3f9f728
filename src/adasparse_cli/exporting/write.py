"""Writes the folder that `serving.artefact` reads, from a trained model and its run's encoder."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from adasparse_cli.choices import FieldKind
from adasparse_cli.errors import UsageError
from adasparse_cli.exporting.describe import shape_of, shape_to_json
from adasparse_cli.exporting.golden import DrawnRows, draw_rows
from adasparse_cli.exporting.vocabularies import Tables
from adasparse_cli.exporting.write_cuts import (
    LOGIT_TOLERANCE,
    NEAR,
    PROBABILITY_TOLERANCE,
    save_tensors,
    write_sub_networks,
)
from adasparse_cli.files import CHECKED, checksums, sync_folder, write_atomically, write_json, write_sealed, write_text
from adasparse_cli.models.base import Model
from adasparse_cli.numpy_engine.cut import why_not_cut
from adasparse_cli.numpy_engine.keys import joined_key
from adasparse_cli.numpy_engine.network import Network, Weights
from adasparse_cli.schema import Manifest
from adasparse_cli.serving.artefact import (
    DOMAINS,
    FORMAT_VERSION,
    GOLDEN,
    INDEX,
    MODEL,
    PACKED,
    WEIGHTS,
    Artefact,
    vocabulary_file,
)
from adasparse_cli.serving.onnx_values import MISSING_INTEGER, MISSING_TEXT
from adasparse_cli.serving.torch_engine import TorchEngine

# Largest number of domains with golden rows.
GOLDEN_DOMAINS = 1000
# A sub-network that saves less than this is hardly faster than a DNN.
WORTHWHILE = 2.0


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """The input of an export.

    Args:
        model: with its trained weights, on the CPU. encoder: folder of the run's vocabularies.
        label: the model's name with its mode. settings: sections `model` and `network` as plain values.
        run: identification of the run.
    """

    model: Model
    manifest: Manifest
    encoder: Path
    label: str
    settings: Mapping[str, Any]
    run: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The result of an export.

    Args:
        domains: one row per domain with a sub-network: name, kept neurons, multiply-adds, parity.
        refused: the reason why there are no sub-networks; None if there are or could be.
        multiply_adds: of the full network, 0 if unknown.
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
    """Numbers of the domains that `--domains` names: `all` domains in training, `top:N` of them, or keys.

    Raises:
        UsageError: a word is none of these.
    """
    known = tables.manifest.num_domains
    names = {joined_key(row): place for place, row in enumerate(tables.keys.iter_rows())}
    found: set[int] = set()
    for word in words:
        top = re.fullmatch(r"top:(\d+)", word)
        if word in names:
            found.add(names[word])
        elif word == "all":
            found.update(range(known))
        elif top is not None and int(top[1]) > 0:
            found.update(range(min(int(top[1]), known)))
        else:
            raise UsageError(
                f"--domains {word}: unknown domain",
                hint=f"all, top:N, or keys such as {', '.join(list(names)[:3])}; the option can be repeated",
            )
    return sorted(found)


def write_artefact(
    source: ExportSource, target: Path, words: Sequence[str] | None, *, graph: bool = False
) -> ExportReport:
    """Write the folder, completely or not at all.

    Args:
        words: of `--domains`; None for all if the model has sub-networks, else for none.
        graph: whether to write `model.onnx` too.

    Raises:
        UsageError: sub-networks are requested by name, and the model has none; or a domain is unknown.
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
        report = _write(source, tables, starting, domains, refused, named=words is not None, graph=graph)
        if target.exists():
            shutil.rmtree(target)
        starting.rename(target)
    except BaseException:
        shutil.rmtree(starting, ignore_errors=True)
        raise
    sync_folder(target.parent)
    return dataclasses.replace(report, folder=target)


def _write(
    source: ExportSource,
    tables: Tables,
    folder: Path,
    domains: Sequence[int],
    refused: str | None,
    *,
    named: bool,
    graph: bool,
) -> ExportReport:
    shape, manifest = shape_of(source.model), source.manifest
    weights = {name: value.detach().cpu().numpy() for name, value in source.model.state_dict().items()}
    save_tensors(folder / WEIGHTS, {name: np.ascontiguousarray(value) for name, value in weights.items()})
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
            cuts = write_sub_networks(network, engine, folder, tables, conditions, domains)
        elif named:
            raise UsageError(
                "--domains: a domain does not tell its sub-network, since data.domain_aware names fields that are "
                "not of the domain",
                hint="export it without --domains: sub-networks are then extracted on first use",
            )
    drawn = draw_rows(tables, domains[:GOLDEN_DOMAINS])
    near = np.zeros(len(drawn.encoded), dtype=bool) if network is None else network.margin(drawn.encoded) < NEAR
    near &= not near.all()  # if all rows are near, keep them: some rows are better than none
    _write_golden(folder / GOLDEN, drawn, engine, leave_out=near)
    index = {**_index(source, tables, network, refused, cuts), "golden_rows_left_out": int(near.sum())}
    if graph:
        index |= _write_graph(source, index, network, weights, folder)
        (folder / CHECKED).unlink(missing_ok=True)
    write_sealed(folder / INDEX, {**index, "files": _sums(folder)})
    return ExportReport(
        folder=folder,
        domains=cuts,
        refused=refused,
        multiply_adds=0 if network is None else network.multiply_adds(),
        parity=max((one["parity"] for one in cuts), default=0.0),
        engines=index["engines"],
        bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def _sums(folder: Path) -> dict[str, str]:
    """The checksums of the files, without the record of files that this process has checked already."""
    return checksums(folder, [path for path in folder.rglob("*") if path.is_file() and path.name != CHECKED])


def _write_graph(
    source: ExportSource, index: Mapping[str, Any], network: Network | None, weights: Weights, folder: Path
) -> dict[str, Any]:
    """Write `model.onnx`, and `domains.onnx` if possible. Returns the parts of the index that describe them.

    Raises:
        UsageError: the model has no graph.
    """
    from adasparse_cli.exporting import onnx_graph, onnx_packed  # need the package onnx

    artefact = Artefact(folder, {**index, "files": _sums(folder)})
    encoder = artefact.encoder
    reason = onnx_graph.why_no_graph(network, encoder, source.label)
    if reason is not None or network is None:
        raise UsageError(f"--onnx: {reason}", hint="export it without --onnx")
    written = {MODEL: onnx_graph.model_graph(network, encoder, weights)}
    cuts = artefact.sub_networks()
    why = onnx_packed.why_not_packed(network, encoder, cuts)
    if why is None:
        written[PACKED] = onnx_packed.packed_graph(network, encoder, weights, cuts)
    for name, model in written.items():
        content = model.SerializeToString()
        write_atomically(folder / name, partial(_write_bytes, content), size=len(content))
    described = {
        "opset": onnx_graph.OPSET,
        "domains": why,
        "missing": {"integer": MISSING_INTEGER, "text": MISSING_TEXT, "number": "NaN"},
    }
    return {"engines": {**index["engines"], "onnx": None}, "onnx": described}


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _index(
    source: ExportSource,
    tables: Tables,
    network: Network | None,
    refused: str | None,
    cuts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The content of adasparse.json without the checksums."""
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


def _write_golden(path: Path, drawn: DrawnRows, engine: TorchEngine, *, leave_out: np.ndarray) -> None:
    logits = engine.logits(drawn.encoded)
    lines = (
        json.dumps({"row": drawn.raw(place), "logit": float(logit)}, ensure_ascii=False, allow_nan=False)
        for place, logit in enumerate(logits)
        if not leave_out[place]
    )
    write_text(path, "".join(f"{line}\n" for line in lines))
