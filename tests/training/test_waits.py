"""What a GPU runs in a training step, on a CPU that is treated like one: no question that the host would wait for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adasparse_cli.errors import NumericError
from adasparse_cli.layers.waits import may_wait, without_waits
from adasparse_cli.rows.dataset import with_bag_values
from adasparse_cli.training import finite
from adasparse_cli.training.optimiser import TouchedRowsAdam, padded_sums, summed_by_row
from adasparse_cli.training.standard import StandardLoop
from tests import small

MODELS = {
    "dnn": (), "adasparse": (), "epnet": (), "ppnet": (), "dcnv2": (), "biasnet": (),
    "adasparse-domains": ("model.regulariser.per=domain",),
    "adasparse-learnt": ("model.threshold.rule=learnable", "model.threshold.window=0.1", "model.sharpness.rule=learnable"),
    "adasparse-both": ("model.pruner.inputs=[hidden,domain]",),
}  # fmt: skip
ASKS = {
    "_local_scalar_dense", "is_nonzero", "item", "nonzero", "nonzero_numpy", "masked_select", "_unique", "_unique2",
    "unique_dim", "unique_consecutive", "unique_dim_consecutive", "bincount", "histc", "equal", "_coalesce",
}  # fmt: skip
READS = ("tolist", "item", "cpu", "__bool__", "__int__", "__float__", "__index__")


class Recorded(TorchDispatchMode):  # type: ignore[misc]
    """Keeps the names of operators whose result, or its size, the host has to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        self.seen.add(name)
        by_mask = name in {"index", "index_put", "index_put_", "_index_put_impl_"} and any(
            isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in tree_leaves(args[1])
        )
        unsized = name == "repeat_interleave" and kwargs.get("output_size") is None
        if name in ASKS or by_mask or unsized:
            self.asked.append(str(func))
        return func(*args, **kwargs)


@contextlib.contextmanager
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    recorded = Recorded()
    with monkeypatch.context() as patch, without_waits(), recorded:
        for name in READS:
            old = getattr(Tensor, name)

            def read(self: Tensor, *args: Any, name: str = name, old: Any = old) -> Any:
                recorded.asked.append(f"Tensor.{name}")
                return old(self, *args)

            patch.setattr(Tensor, name, read)
        yield recorded


def loop_in(folder: Path, name: str, *words: str) -> StandardLoop:
    folder.mkdir(exist_ok=True)
    model = small.model(name.partition("-")[0], 0, *words)
    rows = with_bag_values(small.rows(500, 1), small.FIELDS, small.BAGS)
    return StandardLoop(model, rows, small.rows(300, 2), 6, small.loop_settings(epochs=1), 3, folder)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_asks_for_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = loop_in(tmp_path, name, *MODELS[name])
    steps = loop.epoch_batches(0)
    with recording(monkeypatch) as recorded:
        for number in range(4):
            loop.step(number, steps[number])
    assert not recorded.asked
    assert {"embedding_dense_backward", "_fused_adam_", "sort"} <= recorded.seen


@pytest.mark.parametrize("name", MODELS)
def test_the_steps_are_those_of_a_cpu_up_to_rounding(tmp_path: Path, name: str) -> None:
    one, other = (loop_in(tmp_path / which, name, *MODELS[name]) for which in ("one", "other"))
    for number, rows in enumerate(one.epoch_batches(0)):
        one.step(number, rows)
        with without_waits():
            other.step(number, rows)
    for (part, own), theirs in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(theirs, own, rtol=1e-3, atol=1e-5, msg=lambda text, part=part: f"{part}: {text}")


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(), lambda x: bool(x.any()), lambda x: x.tolist(), lambda x: x[x > 0], lambda x: x.unique(),
        lambda x: torch.repeat_interleave(x, x.long()), lambda x: x.nonzero(), lambda x: float(x[0]), lambda x: x.cpu(),
        lambda x: torch.masked_select(x, x > 0), lambda x: torch.unique_consecutive(x),
    ],
)  # fmt: skip
def test_what_waits_is_noticed(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording(monkeypatch) as recorded:
        ask(torch.tensor([1.0, 2.0, 0.0]))
    assert recorded.asked


def test_padded_sums_are_the_sums_and_repeat_the_first() -> None:
    ids = torch.tensor([7, 3, 7, 9, 3, 7])
    values = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    (rows, sums), (expected_rows, expected) = padded_sums(ids, values), summed_by_row(ids, values)
    assert rows.tolist() == [*expected_rows.tolist(), 3, 3, 3]
    torch.testing.assert_close(sums[:3], expected)
    assert torch.equal(sums[3:], sums[:1].expand(3, 4))
    assert padded_sums(ids[:0], values[:0])[0].tolist() == []


@pytest.mark.parametrize("own_steps", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_without_a_gradient_are_untouched(own_steps: bool, sparse: bool) -> None:
    start, draw = torch.randn(6, 3), torch.Generator().manual_seed(1)
    tables = [nn.Parameter(start.clone()) for _ in range(2)]
    adams = [TouchedRowsAdam(table, betas=(0.9, 0.99), eps=1e-8, own_steps=own_steps) for table in tables]
    for _ in range(3):
        ids, values = torch.tensor([[4, 1, 4, 2]]), torch.randn(4, 3, generator=draw)
        for table in tables:
            gradient = torch.sparse_coo_tensor(ids, values, (6, 3), check_invariants=False)
            table.grad = gradient if sparse else gradient.to_dense()
        adams[0].step(0.1)
        with without_waits():
            adams[1].step(0.1)
    torch.testing.assert_close(tables[1], tables[0])
    for name, own in adams[0].state().items():
        torch.testing.assert_close(adams[1].state()[name], own, msg=name)
    assert torch.equal(tables[1][[0, 3, 5]], start[[0, 3, 5]])


def test_a_loss_that_is_not_finite_is_named_by_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is noticed steps later, and its weights are never saved."""
    monkeypatch.setattr(finite, "EVERY", 4)
    watch = finite.LossWatch(lambda step, rows: NumericError(f"step {step}, {rows}", hint=""))
    with without_waits():
        for step in range(6):
            watch.look(torch.tensor(1.0), step, None)
        watch.look(torch.tensor(float("nan")), 6, None)
        with pytest.raises(NumericError, match="step 6, None"):
            watch.look(torch.tensor(float("inf")), 7, None)
        watch.settle()
    loop = loop_in(tmp_path, "dnn")
    loop.settings = small.loop_settings(epochs=1, learning_rate=1e30, checkpoint_seconds=0)
    with without_waits(), pytest.raises(NumericError, match="not finite"):
        loop.run()
    assert not (tmp_path / "checkpoints/last/checkpoint.json").exists()


def test_a_cpu_may_wait_and_other_devices_not() -> None:
    assert may_wait(torch.device("cpu"))
    assert not may_wait(torch.device("cuda"))
