"""On a GPU: the same mathematics, exact resume, and nothing bad kept. Run with `pytest -m gpu` where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adasparse_cli.checkpoints.checkpoint import load_checkpoint
from adasparse_cli.errors import NumericError
from adasparse_cli.layers.embedding import FieldEmbedding
from adasparse_cli.models import MODELS
from adasparse_cli.rows.dataset import Rows, with_bag_values
from adasparse_cli.training.evaluate import score
from adasparse_cli.training.loop import BEST, LAST
from adasparse_cli.training.standard import StandardLoop
from tests import small

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]


def on(device: str, rows: Rows) -> Rows:
    """Rows on a device, as they are loaded."""
    moved = {
        name: getattr(rows, name).to(device) for name in ("field_ids", "domain_ids", "condition_ids", "conditions")
    }
    assert rows.labels is not None
    moved_rows = replace(rows, **moved, labels=rows.labels.to(device))
    return with_bag_values(moved_rows, small.FIELDS, small.BAGS) if device == "cuda" else moved_rows


def loop_in(folder: Path, device: str, name: str = "adasparse", **changes: Any) -> StandardLoop:
    folder.mkdir(exist_ok=True)
    model = small.model(name).to(device)
    return StandardLoop(
        model,
        on(device, small.rows(500, 1)),
        on(device, small.rows(300, 2)),
        6,
        small.loop_settings(**changes),
        3,
        folder,
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_the_same_as_on_the_cpu(name: str) -> None:
    rows = small.rows(200, 3)
    one = score(small.model(name), rows, batch_size=64).logits
    other = score(small.model(name).to("cuda"), on("cuda", rows), batch_size=64).logits
    assert abs(one - other).max() < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_training_ends_where_it_ends_on_the_cpu_but_for_rounding(tmp_path: Path, name: str) -> None:
    ends = []
    for device in ("cpu", "cuda"):
        loop = loop_in(tmp_path / device, device, name, epochs=1)
        loop.run()
        ends.append(score(loop.model, loop.valid, batch_size=64).probabilities)
    assert abs(ends[0] - ends[1]).max() < 0.02


@pytest.mark.parametrize("name", ["dnn", "adasparse", "epnet", "ppnet", "dcnv2", "biasnet"])
def test_a_step_does_not_wait_for_the_device(tmp_path: Path, name: str) -> None:
    loop = loop_in(tmp_path, "cuda", name)
    steps = loop.epoch_batches(0)
    loop.step(0, steps[0])  # what is set up once may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in (1, 2, 3):
            loop.step(number, steps[number])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_bags_that_are_put_in_later_lie_on_the_models_device() -> None:
    embedding = FieldEmbedding(small.FIELDS, small.BAGS, width=4, std=0.1, pooling=small.network().pooling).to("cuda")
    embedding.set_bags(small.BAGS)
    assert embedding.bag_values.device.type == "cuda"


def test_a_run_stopped_goes_on_exactly(tmp_path: Path) -> None:
    whole = loop_in(tmp_path / "whole", "cuda", epochs=2)
    whole.run()
    stopped = loop_in(tmp_path / "stopped", "cuda", epochs=2, checkpoint_seconds=0)

    def stop(count: int, figures: dict[str, float]) -> None:
        if stopped.state.step == 7:
            raise KeyboardInterrupt

    stopped.on_step = stop
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    again = loop_in(tmp_path / "stopped", "cuda", epochs=2)
    again.resume()
    again.run()
    for which in (LAST, BEST):
        ours, theirs = (load_checkpoint(tmp_path / name / which)[0] for name in ("stopped", "whole"))
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


def test_nothing_that_is_not_finite_is_ever_kept(tmp_path: Path) -> None:
    loop = loop_in(tmp_path, "cuda", learning_rate=1e20, checkpoint_seconds=0, epochs=3)
    with pytest.raises(NumericError, match="not finite"):
        loop.run()
    folder = tmp_path / LAST
    if (folder / "checkpoint.json").exists():
        tensors, _ = load_checkpoint(folder)
        assert all(torch.isfinite(value).all() for name, value in tensors.items() if name.startswith("model."))
