"""A process killed inside a save, or between two saves: the run resumes, and no stray file is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adasparse_cli.checkpoints import checkpoint as checkpoint_module
from adasparse_cli.checkpoints.checkpoint import load_checkpoint
from adasparse_cli.files import write_json
from adasparse_cli.training import loop as loop_module
from adasparse_cli.training.loop import BEST, LAST
from tests.training.test_standard import loop_in


def test_tensors_that_a_killed_save_left_are_removed_when_the_run_resumes(tmp_path: Path) -> None:
    loop_in(tmp_path, "dnn").run()
    for which in (LAST, BEST):
        (tmp_path / which / "step-000000003.safetensors").write_bytes(b"of an earlier step")
    again = loop_in(tmp_path, "dnn")
    again.resume()
    again.run()
    for which in (LAST, BEST):
        assert len(list((tmp_path / which).glob("*.safetensors"))) == 1


def test_a_run_killed_inside_its_first_save_of_the_best_weights_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last checkpoint stands there, of best weights the tensors alone. Truth: a run that was never stopped."""
    loop_in(tmp_path / "whole", "dnn").run()
    stopped = loop_in(tmp_path / "stopped", "dnn", checkpoint_seconds=0)

    def killed(path: Path, index: object) -> None:
        if path.parent.name == "best":
            raise KeyboardInterrupt
        write_json(path, index)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_module, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            stopped.run()
    assert (tmp_path / "stopped" / LAST / "checkpoint.json").exists()
    assert list((tmp_path / "stopped" / BEST).glob("*.safetensors"))
    again = loop_in(tmp_path / "stopped", "dnn")
    again.resume()
    assert again.state.step > 0
    again.run()
    for which in (LAST, BEST):
        (ours,), (theirs,) = ((tmp_path / run / which).glob("*.safetensors") for run in ("stopped", "whole"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_best_checkpoint_that_only_an_earlier_sitting_found_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sitting is killed between its best and its last checkpoint; the second, as if on another device, is worse."""
    save = loop_module.save_checkpoint
    first = loop_in(tmp_path, "dnn", evaluations=1)

    def killed(folder: Path, *given: Any, **step: Any) -> None:
        if folder.name == "last" and first.state.step == first.total_steps:
            raise KeyboardInterrupt
        save(folder, *given, **step)

    with monkeypatch.context() as patched:
        patched.setattr(loop_module, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            first.run()
    second = loop_in(tmp_path, "dnn", evaluations=1)
    second.resume()
    assert second.state.best_step is not None
    assert second.state.best_step < first.total_steps
    scores_of = second.scores
    monkeypatch.setattr(second, "scores", lambda rows: replace(scores_of(rows), logits=-scores_of(rows).logits))
    assert second.run().best_step == first.total_steps
    kept, _ = load_checkpoint(tmp_path / BEST)
    assert torch.equal(kept["model.head.weight"], second.model.state_dict()["head.weight"])
