"""The structure of prepared data: fields and the manifest. Floor 0: no torch, no polars.

`manifest.json` is written last, so its presence means that the data are complete.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Self

from adasparse_cli.choices import FieldKind, FieldRole, PlainName

# Manifests of version 1 have no checksum; otherwise the versions are equal.
FORMAT_VERSION, UNSEALED_VERSION = 2, 1
# Version of vocabularies and parts. It is part of the fingerprint, which does not change with the manifest's version.
ENCODING_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One feature of a row, as models receive it.

    Args:
        name: its name, the same in the manifest, the parts and every table shown.
        role: `domain_aware` or `domain_agnostic`.
        kind: `categorical` and `numeric` have one id per row (the id of a numeric value is its
            bucket); `multi_valued` has the row's index in the field's bags.
        size: number of ids, including id 0 (unseen or rarer than the minimum count).
        bags: number of distinct bags of a multi-valued field, else 0. Bag 0 is the empty bag.
    """

    name: str
    role: FieldRole
    kind: FieldKind
    size: int
    bags: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A raw file that was read. `modified_ns` makes it possible to recognise an unchanged file without reading it."""

    name: str
    path: str
    bytes: int
    sha256: str
    rows: int
    labelled: bool
    modified_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCounts:
    """Rows and positives of a split (positives is None without a label)."""

    rows: int
    positives: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The description of a prepared data set.

    Args:
        fields: in the order of the id columns in the parts: all domain-agnostic fields, then all
            domain-aware ones; single-valued before multi-valued within each group.
        num_domains: number of domains in training. Their ids are 0 … num_domains − 1, ordered by
            (−training rows, key); domains that appear only in other splits follow, up to `num_all_domains` − 1.
        unseen: per field, the share (0–1) of the test split's values with id 0.
        settings: the recipe's settings, as plain values.
        files: sha256 of every file of the folder except this one, by relative path.
        fingerprint: sha256 over recipe, settings, sources' sha256, fields and files.
        escaped_keys: whether the values of a field of `data.domain_id` are escaped (`prepared.key`); absent in earlier versions.
    """

    format_version: int
    name: str
    recipe: str
    settings: Mapping[str, Any]
    sources: tuple[Source, ...]
    label: str
    domain: tuple[str, ...]
    fields: tuple[Field, ...]
    num_domains: int
    num_all_domains: int
    splits: Mapping[str, SplitCounts]
    rejected: Mapping[str, int]
    duplicates: int
    unseen: Mapping[str, float]
    has_user: bool
    has_timestamp: bool
    files: Mapping[str, str]
    fingerprint: str
    escaped_keys: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `manifest.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        known = dict(values)
        known["sources"] = tuple(Source(**source) for source in known["sources"])
        known["fields"] = tuple(
            Field(**{**field, "role": FieldRole(field["role"]), "kind": FieldKind(field["kind"])})
            for field in known["fields"]
        )
        known["domain"] = tuple(known["domain"])
        _require_inside(known["name"], [*known["files"]])
        for key in ("settings", "rejected", "unseen", "files"):
            if not isinstance(known[key], Mapping):
                raise ValueError(f"{key} has no keys")
        known["splits"] = {name: SplitCounts(**counts) for name, counts in known["splits"].items()}
        return cls(**known)


def _require_inside(name: Any, files: Sequence[Any]) -> None:
    """Check that a name is a single folder, and that files are inside it, so that a manifest cannot refer to other places."""
    if not (isinstance(name, str) and PlainName().holds(name)):
        raise ValueError(f"{name!r} is not the name of a data set")
    for file in files:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\0" in file:
            raise ValueError(f"the file {file!r} is not in this folder")
