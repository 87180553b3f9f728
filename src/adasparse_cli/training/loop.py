"""The base of all training loops: steps, evaluations and checkpoints within an epoch, and exact resume.

`checkpoints/last` has the complete state of a run: weights, moments, random generators, position, best checkpoint so far,
sums since the last log line, and the lines of metrics.jsonl. An interrupted run that resumes from it produces the same
bytes as an uninterrupted run.
"""

from __future__ import annotations

import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch

from adasparse_cli.checkpoints.checkpoint import load_checkpoint, load_weights, remove_other_tensors, save_checkpoint
from adasparse_cli.checkpoints.saving import BestWeights, SaveClock
from adasparse_cli.checkpoints.selection import Candidate, lies_inside
from adasparse_cli.checkpoints.state import Gradients, LoopState, TrainingResult
from adasparse_cli.choices import RowSteps
from adasparse_cli.distributed.process_group import is_lost_process, lost_process
from adasparse_cli.errors import DataError, IntegrityError, InterruptedRun, NumericError
from adasparse_cli.files import write_text
from adasparse_cli.layers import ranks
from adasparse_cli.machine.resources import matmul_precision
from adasparse_cli.models.base import CONTEXT, EMBEDDING, Model
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.evaluate import Scores, held_sparsity, metrics_of, require_selectable, score
from adasparse_cli.training.finite import LossWatch, first_bad_layer, first_not_finite
from adasparse_cli.training.length import Length
from adasparse_cli.training.optimiser import TouchedRowsAdam
from adasparse_cli.training.rank_steps import joined, seed_step, shared_scores
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.signals import StopWish
from adasparse_cli.training.training_tensors import TrainingTensors, named

_LOWER = "lower loop.learning_rate; the last checkpoint is from before this step"
_log = logging.getLogger("adasparse_cli")
LAST, BEST, METRICS = Path("checkpoints/last"), Path("checkpoints/best"), "metrics.jsonl"


@dataclass
class Loop(ABC):
    """Trains a model on rows, and writes metrics and checkpoints to `folder`.

    A subclass defines the order of the rows of an epoch and their gradients.

    Args:
        on_step: receives the number of rows of each step and the latest metrics.
        on_line: receives each line of metrics.jsonl.
    """

    Settings: ClassVar[type[LoopSettings]] = LoopSettings

    model: Model
    train: Rows
    valid: Rows
    num_domains: int
    settings: LoopSettings
    seed: int
    folder: Path
    on_step: Callable[[int, dict[str, float]], None] = lambda rows, figures: None
    on_line: Callable[[dict[str, Any]], None] = lambda line: None
    state: LoopState = field(default_factory=LoopState)

    def __post_init__(self) -> None:
        if len(self.train) == 0:
            raise DataError("the train split has no rows", hint="prepare the data with another split rule")
        settings, betas = self.settings, (self.settings.beta1, self.settings.beta2)
        if settings.placebo:
            self.train = self.train.with_another_rows_domain(self.seed)
            self.valid = self.valid.with_another_rows_domain(self.seed)
        tables = self.model.row_tables()
        self.dense = {name: part for name, part in self.model.named_parameters() if name not in tables}
        self._adam = torch.optim.Adam(
            self.dense.values(), lr=settings.learning_rate, betas=betas, eps=settings.eps, fused=True
        )
        self._table_adams = {
            name: TouchedRowsAdam(table, betas=betas, eps=settings.eps, own_steps=settings.row_steps is RowSteps.own)
            for name, table in tables.items()
        }
        rates = {EMBEDDING: settings.embedding_learning_rate, CONTEXT: settings.context_learning_rate}
        self._table_rates = {
            name: rates.get(name, settings.domain_learning_rate) or settings.learning_rate for name in tables
        }
        self.steps_per_epoch = self._steps_per_epoch()
        self.length = Length(settings, self.steps_per_epoch)
        self.total_steps, self.scheduled_steps = self.length.total_steps, self.length.scheduled_steps
        device = self.train.device
        self._loss_sum = torch.zeros((), device=device)
        self._penalty_sum = torch.zeros((), device=device)
        self._pruned_sum = torch.zeros(len(self.model.gated_layers), device=device)
        self._saved = TrainingTensors(
            dense=self._adam,
            parameters=len(self.dense),
            tables=self._table_adams,
            sums={"loss": self._loss_sum, "penalty": self._penalty_sum, "pruned": self._pruned_sum},
            device=device,
        )
        self._spans_ranks, self._leads = ranks.world_size() > 1, ranks.rank() == 0
        self._stop_wish = StopWish()
        self._agreed_stop: int | None = None
        self._figures: dict[str, float] = {}
        self._losses = LossWatch(self._not_finite)
        self._finite_step = 0
        self._clock = SaveClock(settings.checkpoint_seconds)
        self._best = BestWeights(self.folder / BEST, self._clock)
        require_selectable(settings.select, self.valid, num_domains=self.num_domains)

    @abstractmethod
    def _steps_per_epoch(self) -> int:
        """Number of steps per epoch, the same for each epoch."""

    @abstractmethod
    def epoch_batches(self, epoch: int) -> Sequence[Any]:
        """The rows of each step of an epoch, for example row indices. They depend only on seed and epoch."""

    @abstractmethod
    def add_gradients(self, rows: Any) -> Gradients:
        """Add the gradients of these rows of `train` to the parameters."""

    def scores(self, rows: Rows) -> Scores:
        """Score rows with the current weights."""
        return self.scores_of(self.model, rows, lambda: self.train, self.settings)

    @classmethod
    def scores_of(cls, model: Model, rows: Rows, train: Callable[[], Rows], settings: Any) -> Scores:
        """Score rows with a trained model. `train` returns its training rows, for loops that adapt to them."""
        return score(model, rows, batch_size=settings.evaluation_batch_size)

    def resume(self) -> None:
        """Resume from `checkpoints/last` if it exists.

        Raises:
            IntegrityError: it is damaged or does not match the model.
        """
        if not (self.folder / LAST / "checkpoint.json").exists():
            return
        tensors, state = load_checkpoint(self.folder / LAST)
        load_weights(self.model, tensors, where=self.folder / LAST)
        self._saved.restore(tensors)
        if "metrics_bytes" in state:  # earlier versions saved the length of metrics.jsonl instead of its lines
            lines = (self.folder / METRICS).read_bytes()[: state.pop("metrics_bytes")]
            state["lines"] = lines.decode().splitlines()
        for folder in (LAST, BEST):
            if self._leads and (self.folder / folder).exists():
                remove_other_tensors(self.folder / folder)
        self.state = LoopState(**state)
        self._finite_step = self.state.step

    def run(self) -> TrainingResult:
        """Train to the end, then load the best checkpoint into the model.

        Raises:
            NumericError: a loss is not finite. The checkpoints are from before it.
            InterruptedRun: SIGINT or SIGTERM arrived. The run is saved.
        """
        # after a crash the file may have lines beyond the checkpoint, or lack some
        if self._leads:
            write_text(self.folder / METRICS, "".join(f"{line}\n" for line in self.state.lines))
        entered, before = time.monotonic(), self.state.elapsed_seconds
        self.model.train()
        with StopWish() as self._stop_wish:
            try:
                rows_seen, stepping_seconds = self._train(entered - before)
            except NumericError:
                # weights that wait in memory were checked to be finite
                if self._leads:
                    self._best.write()
                raise
            except RuntimeError as error:
                if not (self._spans_ranks and is_lost_process(error)):
                    raise
                raise lost_process(f"at step {self.state.step + 1}") from None
        if self._leads:
            self._load_best()
        assert self.state.best_step is not None
        return TrainingResult(
            steps=self.state.step,
            best_step=self.state.best_step,
            best_value=self.state.best_value,
            stopped_early=self.state.stopped_early,
            elapsed_seconds=before + time.monotonic() - entered,
            rows_per_second=rows_seen / stepping_seconds if stepping_seconds else None,
        )

    def _train(self, since: float) -> tuple[int, float]:
        """Train the remaining steps.

        Args:
            since: start time of the run, as if it had not been interrupted.

        Returns:
            Number of rows, and seconds spent in steps.
        """
        stepping_seconds, rows_seen = 0.0, 0
        for step, rows in self.batches():
            started = time.monotonic()
            self.step(step, rows)
            self.state.step = step + 1
            now = time.monotonic()
            stepping_seconds += now - started
            rows_seen += len(rows)
            self.state.elapsed_seconds = now - since
            if self.state.step % self.settings.log_steps == 0:
                self._log()
            epoch = {"epoch": self.state.step / self.steps_per_epoch} if self.settings.finds_epochs else {}
            self.on_step(len(rows), epoch | self._figures)
            evaluating = self.length.evaluates_after(self.state.step)
            # before the evaluation, which may write the best checkpoint and so restart the clock
            due = self._clock.due(soon=evaluating)
            if evaluating:
                self._evaluate(may_save=due)
            ended = self.state.stopped_early or self.state.step == self.total_steps
            stop = self._agreed_stop if self._spans_ranks else self._stop_wish.number
            if self._leads and (due or ended or stop is not None):
                self._save()
            if stop is not None:
                raise InterruptedRun(
                    f"stopped at step {self.state.step} of {self.total_steps}, saved in {self.folder}",
                    hint="run the same command with --resume to continue",
                    exit_code=128 + stop,
                )
        return rows_seen, stepping_seconds

    def _load_best(self) -> None:
        best, state = load_checkpoint(self.folder / BEST)
        saved = Candidate.of_json(state)
        step = saved.step
        if step != self.state.best_step and saved.beats(self.state.best, self.settings.select):
            # an earlier sitting was killed between its best checkpoint and its last checkpoint, and this sitting did not
            # reach the same weights, because it has another device or number of threads
            _log.warning(
                "the best step is %d, from an earlier sitting; this sitting found step %s", step, self.state.best_step
            )
            self.state.keep(saved)
        if step != self.state.best_step:
            raise IntegrityError(
                f"{self.folder / BEST} has step {state['step']}, but the best step of this run is {self.state.best_step}",
                hint="the folder was copied or restored in parts; remove the run and train it again",
            )
        load_weights(self.model, best, where=self.folder / BEST)

    def rows_to_go(self) -> int | None:
        """Number of training rows in the remaining steps, without early stopping; None with `epochs: auto`."""
        if self.settings.finds_epochs:
            return None
        return round((self.total_steps - self.state.step) * len(self.train) / self.steps_per_epoch)

    def batches(self) -> Iterator[tuple[int, Any]]:
        """The remaining steps with their rows."""
        epoch, batches = -1, cast("Sequence[Any]", ())
        while self.state.step < self.total_steps and not self.state.stopped_early:
            step = self.state.step
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                batches = self.epoch_batches(epoch)
            yield step, batches[step % self.steps_per_epoch]

    def step(self, number: int, rows: Any) -> None:
        """Train on the rows of step `number`, 0 at first. It checks, saves and evaluates nothing; `run` does."""
        self.model.schedule(self.length.progress(number))
        with matmul_precision(self.settings.matmul_precision), ranks.together():
            if ranks.are_joined():
                seed_step(self.seed, number)
            gradients = self.add_gradients(rows)
        if self._spans_ranks:
            gradients, self._agreed_stop = joined(
                gradients, list(self.dense.values()), self.model.row_tables(), self._stop_wish
            )
        self._losses.look(gradients.loss + gradients.penalty, number, rows)
        share = self.length.learning_rate_share(number)
        self._adam.param_groups[0]["lr"] = self.settings.learning_rate * share
        self._adam.step()
        self._adam.zero_grad()
        for name, adam in self._table_adams.items():
            adam.step(self._table_rates[name] * share)
        self._loss_sum += gradients.loss
        self._penalty_sum += gradients.penalty
        if gradients.pruned is not None:
            self._pruned_sum += gradients.pruned

    def _not_finite(self, step: int, rows: Any) -> NumericError:
        # on a GPU, steps were taken since, and all weights followed
        where = "" if rows is None else f", first in {first_bad_layer(self.model, self.train.batch(rows))}"
        return NumericError(f"the loss is not finite at step {step + 1}{where}", hint=_LOWER)

    def _evaluate(self, *, may_save: bool) -> None:
        self._losses.settle()
        self._require_finite_weights()
        if self.state.logged_steps < self.state.step:
            self._log()
        scores = shared_scores(self.model, self.valid, self.settings) if self._spans_ranks else self.scores(self.valid)
        if not np.isfinite(scores.logits).all():
            raise NumericError(f"scores of the valid split are not finite at step {self.state.step}", hint=_LOWER)
        metrics = metrics_of(scores, self.valid, num_domains=self.num_domains).to_json()
        value = metrics[self.settings.select]
        sparsity = scores.sparsity()
        inside = lies_inside(held_sparsity(self.model, scores, self.valid), self.model.sparsity_interval)
        candidate = Candidate(step=self.state.step, value=value, inside=inside)
        if candidate.beats(self.state.best, self.settings.select):
            self.state.keep(candidate)
            self.state.evaluations_since_best = 0
            if self._leads:
                self._best.keep(self.model, candidate, may_save=may_save)
        else:
            self.state.evaluations_since_best += 1
            self.state.stopped_early = self.length.stops(self.state.step, self.state.evaluations_since_best)
        line = {"kind": "valid", "step": self.state.step, "best": self.state.best_step == self.state.step, **metrics}
        if sparsity is not None:
            line["sparsity"] = sparsity
        self._write(line)
        if value is not None:
            self._figures = {**self._figures, f"valid {self.settings.select}": value}

    def _log(self) -> None:
        self._losses.settle()
        count = self.state.step - self.state.logged_steps
        loss, penalty = float(self._loss_sum) / count, float(self._penalty_sum) / count
        if not math.isfinite(loss + penalty):  # the sum of finite losses can overflow
            raise NumericError(f"the sum of losses is not finite at step {self.state.step}", hint=_LOWER)
        line: dict[str, Any] = {"kind": "train", "step": self.state.step, "loss": loss, "penalty": penalty}
        if self.model.gated_layers:
            line["sparsity"] = self.state.last_sparsity = (self._pruned_sum / count).tolist()
        line["learning_rate"] = self.settings.learning_rate * self.length.learning_rate_share(self.state.step - 1)
        for sums in (self._loss_sum, self._penalty_sum, self._pruned_sum):
            sums.zero_()
        self.state.logged_steps = self.state.step
        self._figures = {**self._figures, "loss": loss}
        if self.model.gated_layers:
            self._figures["sparsity"] = float(np.mean(line["sparsity"]))
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, allow_nan=False)
        self.state.lines.append(text)
        if not self._leads:
            return
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")
        self.on_line(line)

    def _require_finite_weights(self) -> None:
        """Check all weights and moments before a save, because a gradient can be infinite with a finite loss."""
        if self._finite_step == self.state.step:
            return
        tensors = dict(self.model.state_dict())
        for name, adam in self._table_adams.items():
            tensors |= named(f"the optimiser's state of {name}: ", adam.state())
        for name, part in self.dense.items():
            tensors |= named(f"the optimiser's state of {name}: ", self._adam.state[part])
        bad = first_not_finite(tensors)
        if bad is not None:
            raise NumericError(
                f"{bad} is not finite at step {self.state.step}; it was finite at step {self._finite_step}",
                hint=_LOWER,
            )
        self._finite_step = self.state.step

    def _save(self) -> None:
        self._losses.settle()
        self._require_finite_weights()
        # the best checkpoint must exist before the last checkpoint refers to it
        self._best.write()
        tensors = named("model.", self.model.state_dict()) | self._saved.tensors()
        with self._clock.saving():
            save_checkpoint(self.folder / LAST, tensors, asdict(self.state), step=self.state.step)
