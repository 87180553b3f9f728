"""Several processes against one, on the same batches in float64; and what they agree on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

CHILD = """
import json, sys
from dataclasses import replace
from pathlib import Path
import torch
from adasparse_cli.choices import Normalisation
from adasparse_cli.layers import ranks
from adasparse_cli.models import MODELS
from adasparse_cli.training.process_group import joined_group
from adasparse_cli.training.standard import StandardLoop
from tests import small

torch.set_num_threads(1)
EPOCHS = int(sys.argv[3])
class Watched(StandardLoop):
    def add_gradients(self, rows):
        shares = super().add_gradients(rows)
        losses.append([float(shares.loss), float(shares.penalty)])
        sums.append(float(sum(one.detach().abs().sum() for one in self.model.parameters())))
        return shares
WORDS = json.loads(sys.argv[2])
with joined_group("cpu"):
    found = {}
    for name, words in WORDS.items():
        torch.set_default_dtype(torch.float64)
        model = small.model(words[0], 0, *words[1:], normalisation=Normalisation.batch)
        torch.set_default_dtype(torch.float32)
        model = model.double()
        rows = small.rows(500)
        rows = replace(rows, labels=rows.labels.double())
        folder = Path(sys.argv[1]) / f"{ranks.rank()}-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        losses, sums = [], []
        loop = Watched(
            model=model, train=rows, valid=rows, num_domains=8, folder=folder, seed=0,
            settings=small.loop_settings(batch_size=41, epochs=EPOCHS, evaluations=1, patience=None),
        )
        result = loop.run()
        found[name] = {
            "losses": losses,  # this rank's share of them
            "lines": [line for line in loop.state.lines if '"valid"' in line],
            "weights": sums,
            "files": sorted(path.name for path in folder.rglob("*") if path.is_file()),
        }
    Path(sys.argv[1], f"found-{ranks.rank()}.json").write_text(json.dumps(found))
"""
MODELS = {
    "dnn": ["dnn"], "adasparse": ["adasparse"], "adasparse-both": ["adasparse", "model.pruner.inputs=[hidden,domain]"],
    "adasparse-domains": ["adasparse", "model.regulariser.per=domain", "model.regulariser.start=10.0"],
    "adasparse-cross": ["adasparse", "model.backbone=dcnv2"], "dcnv2": ["dcnv2"], "deepfm": ["deepfm"], "lr": ["lr"],
    "biasnet": ["biasnet"], "epnet": ["epnet"], "ppnet": ["ppnet"], "apg": ["apg"], "apg-v1": ["apg", "model.version=v1"],
    "m2m": ["m2m"], "saml": ["saml"], "sarnet": ["sarnet"], "mmoe": ["mmoe"], "ple": ["ple"],
    "star": ["star", "model.partitioned_norm.enabled=false"],
}  # fmt: skip
# Of twelve steps each; with 8, a hundred steps (docs/scaling.md).
EPOCHS = 2
FEW = ("dnn", "adasparse-domains", "sarnet")


def run(folder: Path, size: int, names: Sequence[str]) -> list[dict[str, dict[str, Any]]]:
    """What each process found."""
    folder.mkdir()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    own = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", CHILD, str(folder), json.dumps({name: MODELS[name] for name in names}), str(EPOCHS)]
    processes = [subprocess.Popen(words, env={**os.environ, **own, "RANK": str(rank)}) for rank in range(size)]
    assert [one.wait(600) for one in processes] == [0] * size
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(size)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, dict[str, Any]]]]:
    folder = tmp_path_factory.mktemp("ranks")
    return {size: run(folder / str(size), size, FEW if size == 3 else list(MODELS)) for size in (1, 2, 3)}


@pytest.mark.parametrize(("size", "name"), [*((2, name) for name in MODELS), *((3, name) for name in FEW)])
def test_steps_have_the_losses_of_one_process(
    found: dict[int, list[dict[str, dict[str, Any]]]], name: str, size: int
) -> None:
    one, *_ = found[1]
    first, *others = found[size]
    assert len(one[name]["losses"]) >= 12 * EPOCHS
    for step, expected in enumerate(one[name]["losses"]):
        summed = [sum(rank[name]["losses"][step][k] for rank in found[size]) for k in range(2)]
        assert summed == pytest.approx(expected, rel=1e-12, abs=1e-12), step
    assert first[name]["weights"] == pytest.approx(one[name]["weights"], rel=1e-11)
    for other in others:  # every rank takes the same step, to the bit, and only the first one writes
        for what in ("lines", "weights"):
            assert other[name][what] == first[name][what]
        assert not other[name]["files"]
    assert first[name]["files"] == one[name]["files"]
