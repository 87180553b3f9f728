"""Checkpoints that are complete or absent: tensors in safetensors, the rest in JSON, both with checksums.

A checkpoint folder has one tensor file and `checkpoint.json`, which has its name and sha256. The JSON is replaced last and
atomically, so it always names a complete tensor file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adasparse_cli.errors import IntegrityError, ResourceError
from adasparse_cli.files import read_json, sha256_of, write_atomically, write_json
from adasparse_cli.models.base import Model
from adasparse_cli.models.earlier import weights_as_today

FORMAT_VERSION = 1
INDEX = "checkpoint.json"


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any], *, step: int) -> None:
    """Write a checkpoint. The previous checkpoint stays valid until the new one is complete.

    Raises:
        ResourceError: the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.safetensors"
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        write_atomically(path, lambda temporary: save_file(on_cpu, temporary))
    except SafetensorError as error:  # safetensors wraps errors of the operating system
        raise ResourceError(f"{path} could not be written: {error}", hint="free disk space") from None
    index = {"format_version": FORMAT_VERSION, "tensors": path.name, "sha256": sha256_of(path), "state": dict(state)}
    write_json(folder / INDEX, {**index, "index_sha256": tensors_digest(index)})
    remove_other_tensors(folder)


def remove_other_tensors(folder: Path) -> None:
    """Remove tensor files that the checkpoint does not name, which a killed process left behind.

    Without an index nothing is removed: the first save was killed, and the next save removes its tensors.
    """
    if not (folder / INDEX).exists():
        return
    index = read_json(folder / INDEX)
    named = index.get("tensors") if isinstance(index, dict) else None
    for path in folder.glob("*.safetensors") if (folder / str(named)).exists() else ():
        if path.name != named:
            path.unlink()


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint after its checksums were verified.

    Raises:
        IntegrityError: it is absent, damaged, or of another format version.
    """
    index = read_json(folder / INDEX)
    try:
        expected = index.pop("index_sha256")
        known = index["format_version"] == FORMAT_VERSION
        name, state = index["tensors"], dict(index["state"])
        # a name with a folder could point to a file outside the checkpoint
        path = folder / PurePath(name).name
        intact = (
            tensors_digest(index) == expected
            and path.name == name
            and path.exists()
            and sha256_of(path) == index["sha256"]
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        known, intact = True, False
    if not known:
        raise IntegrityError(
            f"{folder} has checkpoint format {index['format_version']}; this version reads format {FORMAT_VERSION}",
            hint="use the version of adasparse that wrote it, which is in environment.json of the run",
        )
    if not intact:
        raise IntegrityError(
            f"the checkpoint in {folder} is damaged: its checksum differs",
            hint="restore it from a copy, or run the command again to train a new run with the same settings",
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:  # such as a header that claims 2^60 bytes
        raise IntegrityError(
            f"{path} is not a valid safetensors file: {error}",
            hint="restore it from a copy, or run the command again to train a new run with the same settings",
        ) from None
    return tensors, state


def load_weights(model: Model, tensors: Mapping[str, Tensor], *, where: Path) -> None:
    """Load saved weights into a model. Weights of earlier versions are converted.

    Raises:
        IntegrityError: names, shapes or types differ from those of the model.
    """
    saved = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    weights = weights_as_today(model, saved)
    model.make_room(weights)
    expected = model.state_dict()
    wrong = sorted(
        name
        for name in expected.keys() | weights.keys()
        if name not in expected
        or name not in weights
        or (expected[name].shape, expected[name].dtype) != (weights[name].shape, weights[name].dtype)
    )
    if wrong:
        raise IntegrityError(
            f"the checkpoint in {where} does not match the model: {', '.join(wrong[:3])}"
            + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""),
            hint="it was written with other settings or other data; use the config.yaml of the run",
        )
    model.load_state_dict(weights)


def tensors_digest(index: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
