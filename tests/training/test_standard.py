"""The standard loop: it learns, it stops where it should, and it resumes to the same bytes."""

from __future__ import annotations

import itertools
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adasparse_cli.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from adasparse_cli.choices import EpochsRule, MatmulPrecision, Metric, Normalisation, RowSteps
from adasparse_cli.errors import DataError, IntegrityError, InterruptedRun, NumericError
from adasparse_cli.rows.dataset import PermutedSteps
from adasparse_cli.training.evaluate import score
from adasparse_cli.training.loop import BEST, LAST
from adasparse_cli.training.standard import StandardLoop
from tests.small import loop_settings, model, rows


def loop_in(folder: Path, name: str = "adasparse", on_step: Any = None, **changes: Any) -> StandardLoop:
    network = {key: changes.pop(key) for key in ("dropout", "normalisation") if key in changes}
    folder.mkdir(exist_ok=True)
    return StandardLoop(
        model=model(name, 0, **network),
        train=rows(500, 1),
        valid=rows(300, 2),
        num_domains=6,
        settings=loop_settings(**changes),
        seed=3,
        folder=folder,
        **({"on_step": on_step} if on_step else {}),
    )


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


@pytest.mark.parametrize("name", ["dnn", "adasparse"])
def test_it_learns_what_can_be_learnt(tmp_path: Path, name: str) -> None:
    loop_in(tmp_path, name, epochs=12).run()
    assert max(line["auc"] for line in lines(tmp_path, "valid")) > 0.75


@pytest.mark.parametrize("precision", list(MatmulPrecision))
def test_steps_have_the_precision_asked_for_and_scores_the_highest(tmp_path: Path, precision: MatmulPrecision) -> None:
    loop = loop_in(tmp_path, matmul_precision=precision)
    seen: dict[bool | str, set[str]] = {True: set(), False: set(), "backward": set()}

    def look(part: torch.nn.Module, _: Any, prediction: Any) -> None:
        seen[part.training].add(torch.get_float32_matmul_precision())
        if part.training:
            prediction.logits.register_hook(lambda _: seen["backward"].add(torch.get_float32_matmul_precision()))

    loop.model.register_forward_hook(look)
    loop.run()
    assert seen == {True: {precision.value}, False: {"highest"}, "backward": {precision.value}}


def test_an_epoch_sees_every_row_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    loop = loop_in(tmp_path)
    seen: list[list[int]] = [[], []]
    per_epoch = loop.steps_per_epoch
    for step, chosen in loop.batches():
        seen[step // per_epoch] += chosen.tolist()
        loop.state.step = step + 1
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(500))
    assert seen[0] != seen[1] != list(range(500))


def test_a_last_batch_of_one_row_joins_the_one_before() -> None:
    sizes = {rows: list(map(len, PermutedSteps(torch.arange(rows), 32))) for rows in (65, 66, 1, 64, 33)}
    assert sizes == {65: [32, 33], 66: [32, 32, 2], 1: [1], 64: [32, 32], 33: [33]}
    assert [len(step) for step in PermutedSteps(torch.arange(66), 32)[1:]] == [32, 2]


def test_max_steps_ends_the_run_and_its_schedules(tmp_path: Path) -> None:
    loop = loop_in(tmp_path, max_steps=7)
    result = loop.run()
    assert result.steps == 7
    assert load_checkpoint(tmp_path / LAST)[0]["model.sharpness"].item() == pytest.approx(5.0)


def test_the_kept_weights_are_those_of_the_best_evaluation(tmp_path: Path) -> None:
    """Truth: the evaluations' own lines."""
    loop = loop_in(tmp_path, "dnn", epochs=6, select=Metric.log_loss, learning_rate=0.1)
    result = loop.run()
    best = min(lines(tmp_path, "valid"), key=lambda line: line["log_loss"])
    assert result.best_step == best["step"]
    logits = score(loop.model, loop.valid, batch_size=64).logits.astype(np.float64)
    labels = loop.valid.labels.numpy()  # type: ignore[union-attr]
    loss = np.mean(np.logaddexp(0, logits) - labels * logits)
    assert loss == pytest.approx(best["log_loss"], abs=1e-9)


def test_patience_stops_the_run(tmp_path: Path) -> None:
    result = loop_in(tmp_path, epochs=40, learning_rate=0.3, patience=3).run()
    assert result.stopped_early
    found = lines(tmp_path, "valid")
    assert found[-4]["best"]
    assert not any(line["best"] for line in found[-3:])


def test_learning_rates_rise_and_fall_as_set(tmp_path: Path) -> None:
    loop_in(tmp_path, max_steps=20, warmup_share=0.25, final_share=0.1, log_steps=1).run()
    shares = [line["learning_rate"] / 0.01 for line in lines(tmp_path, "train")]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shares[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(shares[4:]))


@pytest.mark.parametrize(("patience", "expected"), [(None, 2), (3, 3)])
def test_auto_ends_after_the_first_epoch_once_the_metric_no_longer_improves(
    tmp_path: Path, patience: int | None, expected: int
) -> None:
    """The model's schedules have ended with the first epoch, and stay."""
    loop = loop_in(tmp_path, epochs=EpochsRule.auto, max_epochs=40, evaluations=4, learning_rate=0.1, patience=patience)
    result = loop.run()
    found = lines(tmp_path, "valid")
    assert result.stopped_early
    assert result.steps > loop.steps_per_epoch
    assert result.steps < loop.total_steps
    assert found[-expected - 1]["best"]
    assert not any(line["best"] for line in found[-expected:])
    assert load_checkpoint(tmp_path / LAST)[0]["model.sharpness"].item() == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"epochs": 3}, 3.0), ({}, 1.5), ({"patience": 8}, 3.0), ({"patience": 80}, 5.0)],
)
def test_a_forecast_of_auto_expects_the_first_epoch_and_its_patience(changes: dict[str, Any], expected: float) -> None:
    settings = loop_settings(**{"epochs": EpochsRule.auto, "evaluations": 4, "max_epochs": 5, **changes})
    assert settings.likely_epochs == expected


def test_auto_takes_no_more_epochs_than_it_may_and_no_less_than_one(tmp_path: Path) -> None:
    """At a learning rate of next to nothing, the metric hardly moves; at a high one the first evaluation is the best."""
    few: dict[str, Any] = {"epochs": EpochsRule.auto, "evaluations": 8, "select": Metric.log_loss}
    slow = loop_in(tmp_path / "slow", "dnn", max_epochs=3, learning_rate=1e-4, patience=100, **few)
    assert slow.run().steps == 3 * slow.steps_per_epoch
    wild = loop_in(tmp_path / "wild", "dnn", max_epochs=3, learning_rate=0.5, patience=1, **few)
    assert wild.run().steps >= wild.steps_per_epoch


def test_kept_weights_lie_inside_the_sparsity_interval_where_any_do(tmp_path: Path) -> None:
    """Early evaluations have a higher metric here: the sparsity comes late. Truth: the weights kept, scored anew."""
    loop = loop_in(tmp_path, epochs=12, learning_rate=0.02, evaluations=4)
    result = loop.run()
    low, high = loop.model.sparsity_interval  # type: ignore[misc]
    found = lines(tmp_path, "valid")
    inside = [line for line in found if all(low <= share <= high for share in line["sparsity"])]
    assert inside
    assert max(line["auc"] for line in found) > max(line["auc"] for line in inside)
    assert result.best_value == max(line["auc"] for line in inside)
    pruned = score(loop.model, loop.valid, batch_size=64).pruned
    assert pruned is not None
    assert ((pruned.mean(0) >= low) & (pruned.mean(0) <= high)).all()


def test_a_loss_that_is_not_finite_stops_at_once_and_names_step_and_layer(tmp_path: Path) -> None:
    loop = loop_in(tmp_path, max_steps=30)

    def spoil(count: int, figures: dict[str, float]) -> None:
        if loop.state.step == 20:
            with torch.no_grad():
                loop.model.get_parameter("blocks.1.linear.weight")[0, 0] = float("nan")

    loop.on_step = spoil
    with pytest.raises(NumericError, match=r"step 21, first in blocks\.1\.linear\.weight") as caught:
        loop.run()
    assert caught.value.exit_code == 7
    kept, _ = load_checkpoint(tmp_path / LAST)
    assert all(torch.isfinite(tensor).all() for name, tensor in kept.items() if tensor.is_floating_point())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_first_and_says_so_in_the_exit_code(tmp_path: Path, number: int) -> None:
    loop = loop_in(tmp_path)
    loop.on_step = lambda count, figures: os.kill(os.getpid(), number) if loop.state.step == 4 else None
    with pytest.raises(InterruptedRun) as caught:
        loop.run()
    assert caught.value.exit_code == 128 + number
    assert load_checkpoint(tmp_path / LAST)[1]["step"] == 4


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("adasparse", {}),
        ("adasparse", {"dropout": 0.3}),
        ("adasparse", {"normalisation": Normalisation.batch}),
        ("adasparse", {"matmul_precision": MatmulPrecision.medium}),
        ("adasparse", {"epochs": EpochsRule.auto, "learning_rate": 0.1, "row_steps": RowSteps.own}),
        ("star", {}),
        ("sarnet", {}),
    ],
    ids=["plain", "dropout", "batch", "medium", "auto", "star", "sarnet"],
)
def test_a_run_stopped_at_any_step_ends_with_the_same_bytes(tmp_path: Path, name: str, network: dict[str, Any]) -> None:
    """Truth: a run that was never stopped. The stopped one forgets all that it did after its last checkpoint."""
    changes = {"epochs": 2, "patience": 3, **network}
    whole = loop_in(tmp_path / "whole", name, **changes)
    whole.run()

    class Killed(Exception):  # noqa: N818  # stands for a kill, no error
        pass

    folder = tmp_path / "stopped"
    draw = np.random.default_rng(0)
    for _ in range(12):
        torch.manual_seed(int(draw.integers(1000)))  # whatever the process did before must not matter
        loop = loop_in(folder, name, checkpoint_seconds=0 if draw.random() < 0.5 else 1e9, **changes)
        loop.resume()
        fatal = loop.state.step + int(draw.integers(1, 8))

        def die(count: int, figures: dict[str, float], loop: StandardLoop = loop, fatal: int = fatal) -> None:
            if loop.state.step == fatal:
                raise Killed

        loop.on_step = die
        try:
            loop.run()
        except Killed:
            continue
        break
    else:
        loop = loop_in(folder, name, **changes)
        loop.resume()
        loop.run()
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    for which in (LAST, BEST):
        ours, theirs = load_checkpoint(folder / which)[0], load_checkpoint(tmp_path / "whole" / which)[0]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    ours, theirs = (score(run.model, run.valid, batch_size=64) for run in (loop, whole))
    assert ours.logits.tobytes() == theirs.logits.tobytes()


def test_the_placebo_feeds_another_rows_domain_to_the_pruner_and_leaves_the_rows_alone(tmp_path: Path) -> None:
    loop, plain = loop_in(tmp_path / "a", placebo=True), loop_in(tmp_path / "b")
    assert torch.equal(loop.train.field_ids, plain.train.field_ids)
    assert not torch.equal(loop.train.condition_ids, plain.train.condition_ids)
    assert torch.equal(loop.train.condition_ids.sort().values, plain.train.condition_ids.sort().values)
    assert np.array_equal(loop.train.domains, plain.train.domains)


def test_metrics_are_rebuilt_from_the_checkpoint_whatever_a_crash_left_of_the_file(tmp_path: Path) -> None:
    """Truth: the lines of a run that was never stopped."""
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    loop_in(whole, "dnn").run()
    for content in (b"", b"{", None, b"\0" * 5000):
        loop = loop_in(torn, "dnn")
        if loop.state.step == 0 and not (torn / LAST).exists():
            loop.on_step = lambda count, figures, loop=loop: (  # type: ignore[misc]
                os.kill(os.getpid(), signal.SIGTERM) if loop.state.step == 20 else None
            )
            with pytest.raises(InterruptedRun):
                loop.run()
            kept = (torn / LAST, {path.name: path.read_bytes() for path in (torn / LAST).iterdir()})
        else:
            for path in (torn / LAST).iterdir():
                path.unlink()
            for name, held in kept[1].items():
                (torn / LAST / name).write_bytes(held)
        if content is None:
            (torn / "metrics.jsonl").unlink()
        else:
            (torn / "metrics.jsonl").write_bytes(content)
        loop = loop_in(torn, "dnn")
        loop.resume()
        loop.run()
        assert (torn / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_checkpoint_of_an_earlier_version_resumes_with_its_metrics(tmp_path: Path) -> None:
    """It held the length of metrics.jsonl, not its lines."""
    whole, early = tmp_path / "whole", tmp_path / "early"
    loop_in(whole, "dnn").run()
    loop = loop_in(early, "dnn")
    loop.on_step = lambda count, figures: os.kill(os.getpid(), signal.SIGTERM) if loop.state.step == 20 else None
    with pytest.raises(InterruptedRun):
        loop.run()
    tensors, state = load_checkpoint(early / LAST)
    text = "".join(f"{line}\n" for line in state.pop("lines"))
    save_checkpoint(early / LAST, tensors, {**state, "metrics_bytes": len(text.encode())}, step=20)
    (early / "metrics.jsonl").write_text(text + "torn")
    loop = loop_in(early, "dnn")
    loop.resume()
    loop.run()
    assert (early / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_best_checkpoint_of_another_step_is_refused(tmp_path: Path) -> None:
    result = loop_in(tmp_path, "dnn").run()
    tensors, _ = load_checkpoint(tmp_path / BEST)
    save_checkpoint(tmp_path / BEST, tensors, {"step": 1}, step=1)
    loop = loop_in(tmp_path, "dnn")
    loop.resume()
    with pytest.raises(IntegrityError, match=f"has step 1, but the best step of this run is {result.best_step}"):
        loop.run()


@pytest.mark.parametrize("select", list(Metric))
def test_a_metric_that_the_valid_rows_cannot_have_is_refused_before_the_first_step(
    tmp_path: Path, select: Metric
) -> None:
    negative, mixed = rows(300, 2), rows(300, 2)
    assert negative.labels is not None
    assert mixed.labels is not None
    negative = replace(negative, labels=torch.zeros_like(negative.labels))
    # every domain has one class, all rows together have both
    mixed = replace(mixed, labels=torch.from_numpy((mixed.domains % 2).astype(np.float32)))
    empty = replace(negative, **{name: getattr(negative, name)[:0] for name in ("field_ids", "domain_ids", "condition_ids", "labels", "domains", "users", "sources", "lines")})  # fmt: skip
    refused = {
        "negative": select is not Metric.log_loss,
        "mixed": select is Metric.gauc_domain,
        "empty": True,
    }
    for name, valid in (("negative", negative), ("mixed", mixed), ("empty", empty)):
        settings = loop_settings(select=select, epochs=1)
        made = {"model": model("dnn"), "train": rows(200, 1), "num_domains": 6, "seed": 3, "folder": tmp_path}
        if refused[name]:
            with pytest.raises(DataError) as caught:
                StandardLoop(valid=valid, settings=settings, **made)  # type: ignore[arg-type]
            assert name == "empty" or "loop.select=log_loss" in caught.value.hint
        else:
            StandardLoop(valid=valid, settings=settings, **made)  # type: ignore[arg-type]
