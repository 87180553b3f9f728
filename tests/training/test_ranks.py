"""Several processes against one, on the same batches in float64; and what they agree on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

# Three processes are groups of two, three, two and one in turn, so that each loads torch once.
CHILD = """
import json, os, shutil, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from adasparse_cli.choices import Normalisation
from adasparse_cli.command_line import LISTENING
from adasparse_cli.errors import InterruptedRun
from adasparse_cli.layers import ranks
from adasparse_cli.training.loop import LAST
from adasparse_cli.training.process_group import joined_group
from adasparse_cli.training.standard import StandardLoop
from tests import small

torch.set_num_threads(1)
home, number = Path(sys.argv[1]), int(sys.argv[2])
# processes, port, the socket that listens there, model -> words, whether to stop half-way, where to resume from
groups = json.loads(sys.argv[3])
EPOCHS, STOP = int(sys.argv[4]), 5

class Watched(StandardLoop):
    def add_gradients(self, rows):
        shares = super().add_gradients(rows)
        losses[self.state.step] = [float(shares.loss), float(shares.penalty)]
        sums[self.state.step] = float(sum(one.detach().abs().sum() for one in self.model.parameters()))
        return shares

for size, port, listening, models, stops, origin in groups:
    if number >= size:
        continue
    if number == 0:
        os.environ[LISTENING] = str(listening)
    os.environ |= {"RANK": str(number), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    found = {}
    with joined_group("cpu"):
        for name, words in models.items():
            torch.set_default_dtype(torch.float64)
            model = small.model(words[0], 0, *words[1:], normalisation=Normalisation.batch)
            torch.set_default_dtype(torch.float32)
            model = model.double()
            rows = small.rows(500)
            rows = replace(rows, labels=rows.labels.double())
            folder = home / f"{port}-{number}-{name}"
            folder.mkdir()
            if origin:  # every process reads the checkpoint, and the first one writes
                shutil.copytree(home / f"{origin}-0-{name}" / LAST, folder / LAST)
            losses, sums = {}, {}
            loop = Watched(
                model=model, train=rows, valid=rows, num_domains=8, folder=folder, seed=0,
                settings=small.loop_settings(batch_size=41, epochs=EPOCHS, evaluations=1, patience=None),
            )
            if stops and number == size - 1:  # one process alone gets a signal
                loop.on_step = lambda rows, figures: loop.state.step == STOP and signal.raise_signal(signal.SIGTERM)
            loop.resume()
            try:
                loop.run()
            except InterruptedRun:
                assert stops
            else:
                assert not stops
            found[name] = {
                "losses": losses,  # this rank's share of them
                "lines": [line for line in loop.state.lines if '"valid"' in line],
                "weights": sums,
                "files": sorted(path.name for path in folder.rglob("*") if path.is_file() and not origin),
            }
    (home / f"found-{port}-{number}.json").write_text(json.dumps(found))
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
EPOCHS = 1
FEW = ("dnn", "adasparse-domains", "sarnet")
Found = list[dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What each process of each group found: groups of 3, 2 and 1, and runs that 2 stopped and 3, 2 and 1 resumed."""
    home, few = tmp_path_factory.mktemp("ranks"), {name: MODELS[name] for name in FEW}
    groups = {"stopped": (2, few, True), "3": (3, few, False), "resumed 3": (3, few, False), "2": (2, MODELS, False),
              "resumed 2": (2, few, False), "1": (1, MODELS, False), "resumed 1": (1, few, False)}  # fmt: skip
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in groups}
        ports = {name: one.getsockname()[1] for name, one in sockets.items()}
        plan = [
            (size, ports[name], sockets[name].fileno(), models, stops, ports["stopped"] if "resumed" in name else None)
            for name, (size, models, stops) in groups.items()
        ]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, str(home), str(k), json.dumps(plan), str(EPOCHS)],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                pass_fds=[] if k else [one.fileno() for one in sockets.values()],
            )
            for k in range(3)
        ]
    assert [one.wait(600) for one in processes] == [0] * 3
    return {
        name: [json.loads((home / f"found-{ports[name]}-{k}.json").read_text()) for k in range(size)]
        for name, (size, *_) in groups.items()
    }


def assert_like(one: dict[str, Any], ranks: Sequence[dict[str, Any]]) -> None:
    """The steps of some ranks have the losses and weights of one process."""
    first, *others = ranks
    assert first["losses"]
    for step in first["losses"]:
        summed = [sum(rank["losses"][step][k] for rank in ranks) for k in range(2)]
        assert summed == pytest.approx(one["losses"][step], rel=1e-12, abs=1e-12), step
        assert first["weights"][step] == pytest.approx(one["weights"][step], rel=1e-11), step
    for other in others:  # every rank takes the same step, to the bit, and only the first one writes
        for what in ("lines", "weights"):
            assert other[what] == first[what]
        assert not other["files"]


@pytest.mark.parametrize(("size", "name"), [*((2, name) for name in MODELS), *((3, name) for name in FEW)])
def test_steps_have_the_losses_of_one_process(found: dict[str, Found], name: str, size: int) -> None:
    (one,) = found["1"]
    assert len(one[name]["losses"]) >= 12 * EPOCHS
    assert_like(one[name], [rank[name] for rank in found[str(size)]])
    assert found[str(size)][0][name]["files"] == one[name]["files"]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", FEW)
def test_a_run_that_two_processes_saved_is_resumed_by_any_number(found: dict[str, Found], name: str, size: int) -> None:
    """One process, which never stopped, is the reference: equal up to rounding; the same number of processes to the bit."""
    (one,), resumed = found["1"], [rank[name] for rank in found[f"resumed {size}"]]
    before, after = found["stopped"][0][name]["losses"], resumed[0]["losses"]
    assert 5 <= len(before) <= 6
    assert [*before, *after] == list(one[name]["losses"])
    assert_like(one[name], resumed)
    if size == 2:
        for rank, whole in zip(resumed, found["2"], strict=True):
            for what in ("losses", "weights"):
                assert rank[what] == {step: whole[name][what][step] for step in after}
            assert rank["lines"] == whole[name]["lines"]
