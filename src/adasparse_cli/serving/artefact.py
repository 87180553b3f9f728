"""Reads the folder that `adasparse export` writes: checks it, then opens its parts. Needs neither torch nor polars.

adasparse.json          signature, fields, form of the network, checksum of each file, and its own checksum
weights.safetensors     the weights of the full model, including embedding tables
domains.safetensors     sub-networks of conditions, if the model has them
vocabularies/*.json     values of ids 1, 2, … of each field, or the lower edges of its buckets
domains.json            the domains: key and training rows
model.onnx              the full model from raw values to probability (optional)
domains.onnx            the sub-networks; the input `domain` selects one (optional)
golden.jsonl            rows of raw values with the logit of the trained model
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import CHECKED, SealedFolder, file_stem, read_json, read_sealed
from adasparse_cli.numpy_engine.cut import SubNetwork
from adasparse_cli.numpy_engine.encoder import RowEncoder
from adasparse_cli.numpy_engine.engine import Key, NumpyEngine
from adasparse_cli.numpy_engine.network import Network, shape_from
from adasparse_cli.numpy_engine.values import Buckets, ValueType, Vocabulary, rules_of
from adasparse_cli.schema import Field
from adasparse_cli.typed import require_types

FORMAT_VERSION = 1
INDEX, WEIGHTS, SUB_NETWORKS, MODEL = "adasparse.json", "weights.safetensors", "domains.safetensors", "model.onnx"
PACKED = "domains.onnx"
DOMAINS, GOLDEN, VOCABULARIES = "domains.json", "golden.jsonl", "vocabularies"
FACTORS = "factors"  # tensor in domains.safetensors with the weight factors of all conditions
ENGINES = ("torch", "numpy", "onnx")


class _Domain(TypedDict):
    """The keys of domains."""

    fields: list[str]
    combination: str | None
    num_domains: int


class Index(TypedDict):
    """The parts of adasparse.json that are read."""

    made_by: dict[str, str]
    run: dict[str, Any]
    label: str
    model: dict[str, Any]
    settings: dict[str, Any]
    data: dict[str, Any]
    signature: dict[str, Any]
    input: dict[str, Any]
    fields: list[dict[str, Any]]
    domain: _Domain
    engines: dict[str, str | None]
    network: dict[str, Any] | None
    sub_networks: dict[str, Any]
    tolerance: dict[str, float]
    files: dict[str, str]


_HINT = "copy the whole folder again, or export the run again"


def is_artefact(folder: Path) -> bool:
    """Whether a folder was written by `adasparse export`."""
    return (folder / INDEX).is_file()


def vocabulary_file(field: str) -> str:
    """The file of a field's values."""
    return f"{VOCABULARIES}/{file_stem(field)}.json"


@dataclass(frozen=True)
class Artefact:
    """An exported model.

    Args:
        index: the content of adasparse.json.
    """

    folder: Path
    index: Mapping[str, Any]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields, in the order of a row's ids."""
        names = {field.name for field in dataclasses.fields(Field)}
        return tuple(
            Field(
                **{
                    **{key: value for key, value in field.items() if key in names},
                    "role": FieldRole(field["role"]),
                    "kind": FieldKind(field["kind"]),
                }
            )
            for field in self.index["fields"]
        )

    @cached_property
    def sealed(self) -> SealedFolder:
        """Its files, each checked before use."""
        # an earlier version listed the record of checked files, too
        files = {name: sha256 for name, sha256 in self.index["files"].items() if name != CHECKED}
        return SealedFolder(folder=self.folder, files=files, changed="was changed after the export", hint=_HINT)

    def path(self, name: str) -> Path:
        """The path of a file in the folder, after a check of its bytes.

        Raises:
            IntegrityError: it is missing or differs.
        """
        return self.sealed.path(name)

    def verify(self) -> None:
        """Read and check every file.

        Raises:
            IntegrityError: a file is missing or differs.
        """
        self.sealed.verify()

    def why_not(self, engine: str) -> str | None:
        """The reason why an engine cannot score this model; None if it can."""
        reason: str | None = self.index["engines"][engine]
        return reason

    def require(self, engine: str) -> None:
        """Check that an engine can score this model.

        Raises:
            UsageError: it cannot; the message has the reason.
        """
        if (reason := self.why_not(engine)) is not None:
            able = [name for name in ENGINES if self.why_not(name) is None]
            raise UsageError(f"--engine {engine}: {reason}", hint=f"choose one of: {', '.join(able)}")

    @cached_property
    def encoder(self) -> RowEncoder:
        """The encoder from raw values to ids."""
        rules = rules_of(self.index["input"])
        vocabularies: dict[str, Vocabulary | Buckets] = {}
        combination, combinations = self.index["domain"]["combination"], []
        for field, described in zip(self.fields, self.index["fields"], strict=True):
            found = read_json(self.path(vocabulary_file(field.name)))
            if field.name == combination:
                combinations = found["values"]
            elif field.kind is FieldKind.numeric:
                vocabularies[field.name] = Buckets(found["lower"], found["missing"], rules)
            else:
                vocabularies[field.name] = Vocabulary(found["values"], ValueType(described["type"]), rules)
        return RowEncoder(
            self.fields,
            vocabularies,
            combination=combination,
            combinations=combinations,
            domain=self.index["domain"]["fields"],
            keys=read_json(self.path(DOMAINS))["keys"],
        )

    def tensors(self, name: str) -> Tensors:
        """A file of tensors, after a check of its bytes."""
        return Tensors(self.path(name))

    @cached_property
    def network(self) -> Network:
        """The full network in NumPy.

        Raises:
            UsageError: NumPy cannot score this model.
        """
        self.require("numpy")
        return Network(shape_from(self.index["network"]), self.fields, self.tensors(WEIGHTS).all())

    def numpy_engine(self) -> NumpyEngine:
        """The engine that needs neither torch nor ONNX Runtime."""
        network = self.network
        if SUB_NETWORKS not in self.index["files"]:
            return NumpyEngine(network)
        tensors = self.tensors(SUB_NETWORKS)
        keys = [condition_key(one["key"]) for one in self.index["sub_networks"]["conditions"]]
        widths = self.index["sub_networks"]["gate_widths"]
        factors = np.split(tensors[FACTORS], np.cumsum(widths)[:-1], axis=1)
        stored: dict[Key, Callable[[], SubNetwork]] = {
            key: partial(self._sub_network, tensors, place) for place, key in enumerate(keys)
        }
        known = {key: [part[place : place + 1] for part in factors] for place, key in enumerate(keys)}
        return NumpyEngine(network, stored, known)

    def sub_networks(self) -> list[SubNetwork]:
        """All exported sub-networks, in the order of their numbers."""
        if SUB_NETWORKS not in self.index["files"]:
            return []
        tensors = self.tensors(SUB_NETWORKS)
        return [self._sub_network(tensors, place) for place in range(len(self.index["sub_networks"]["conditions"]))]

    def _sub_network(self, tensors: Tensors, place: int) -> SubNetwork:
        return SubNetwork.from_tensors(tensors.below(f"{place}."), self.network.shape)


class Tensors:
    """A safetensors file, read tensor by tensor.

    Raises:
        IntegrityError: it is not a safetensors file.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            opened: Any = safe_open
            self._file = opened(path, framework="np")
        except (SafetensorError, ValueError, TypeError) as error:
            raise IntegrityError(f"{path} is not a file of tensors: {error}", hint=_HINT) from None
        self._names: dict[str, list[str]] = {}
        for name in self._file.keys():  # noqa: SIM118  # not a mapping
            self._names.setdefault(name.split(".")[0] + ".", []).append(name)

    def __getitem__(self, name: str) -> np.ndarray:
        found: np.ndarray = self._file.get_tensor(name)
        return found

    def all(self) -> dict[str, np.ndarray]:
        """Every tensor."""
        return {name: self[name] for names in self._names.values() for name in names}

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """Tensors whose name starts with `prefix` and a point, by the rest of their name."""
        return {name.removeprefix(prefix): self[name] for name in self._names[prefix]}


def condition_key(values: Any) -> Key:
    """A condition as it is written in JSON."""
    return tuple(tuple(one) if isinstance(one, list) else int(one) for one in values)


def open_artefact(folder: Path) -> Artefact:
    """Open an exported model. Its files are checked when they are used.

    Raises:
        IntegrityError: adasparse.json is missing or damaged, or has a newer format.
    """
    path = folder / INDEX
    try:
        index = read_sealed(path, "format_version", unsealed=object())
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=_HINT) from None
    version = index.get("format_version")
    if version != FORMAT_VERSION:
        made_by = index.get("made_by")
        writer = made_by.get("adasparse-cli") if isinstance(made_by, dict) else None
        release = "the version that wrote it" if writer is None else f"version {writer}, which wrote it"
        raise IntegrityError(
            f"{folder} has artefact format {version}; this version reads format {FORMAT_VERSION}",
            hint=f"install {release}, or export the run again with this version",
        )
    require_types(index, Index, path, hint=_HINT)
    return Artefact(folder=folder, index=index)
