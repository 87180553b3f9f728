"""Checkpoints are whole or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from adasparse_cli.checkpoints.checkpoint import load_checkpoint, load_weights, save_checkpoint
from adasparse_cli.errors import IntegrityError, ResourceError
from tests import small


def test_what_was_saved_comes_back_to_the_bit(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(5, 3), "b": torch.tensor([1, 2], dtype=torch.uint8)}
    save_checkpoint(tmp_path, tensors, {"step": 3, "best": 0.1 + 0.2}, step=3)
    found, state = load_checkpoint(tmp_path)
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert state == {"step": 3, "best": 0.1 + 0.2}


def test_a_newer_checkpoint_replaces_the_older_one(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"a": torch.full((2,), float(step))}, {"step": step}, step=step)
    found, state = load_checkpoint(tmp_path)
    assert state["step"] == 2
    assert found["a"].tolist() == [2.0, 2.0]
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """Neither safetensors nor JSON would notice most of them."""
    save_checkpoint(tmp_path, {"a": torch.randn(4)}, {"step": 1}, step=1)
    for path in (next(tmp_path.glob("*.safetensors")), tmp_path / "checkpoint.json"):
        good = path.read_bytes()
        for position in range(0, len(good), 7):
            bad = bytearray(good)
            bad[position] ^= 0x04
            path.write_bytes(bytes(bad))
            if path.suffix == ".json" and _same_json(good, bytes(bad)):
                continue
            with pytest.raises(IntegrityError):
                load_checkpoint(tmp_path)
        path.write_bytes(good)
    load_checkpoint(tmp_path)


def test_a_missing_file_is_an_integrity_error(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        load_checkpoint(tmp_path)


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    weights = {f"model.{name}": value for name, value in small.model("dnn").state_dict().items()}
    with pytest.raises(IntegrityError, match=r"head\.weight"):
        load_weights(small.model("dnn"), weights | {"model.head.weight": torch.zeros(2, 4)}, where=tmp_path)
    with pytest.raises(IntegrityError, match="does not match the model"):
        load_weights(small.model("star"), weights, where=tmp_path)


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_a_full_disk_is_told_as_such_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, {"a": torch.ones(2)}, {"step": 1}, step=1)

    def full(*_: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("adasparse_cli.checkpoints.checkpoint.save_file", full)
    with pytest.raises(ResourceError, match="No space left"):
        save_checkpoint(tmp_path, {"a": torch.zeros(2)}, {"step": 2}, step=2)
    assert load_checkpoint(tmp_path)[1] == {"step": 1}
