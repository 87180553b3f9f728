"""What every training loop does: steps, evaluation and checkpoints inside an epoch, and exact resume.

Everything a stopped run needs to resume exactly (weights, moments, generators, position, best so far,
sums since the last log line, the lines of metrics.jsonl) is in `checkpoints/last`; a run that
resumes from it ends with the same bytes as one that was never stopped.
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

from adasparse_cli.choices import RowSteps
from adasparse_cli.errors import DataError, IntegrityError, InterruptedRun, NumericError
from adasparse_cli.files import write_text
from adasparse_cli.layers import ranks
from adasparse_cli.models.base import CONTEXT, EMBEDDING, Model
from adasparse_cli.training.checkpoint import load_checkpoint, load_weights, remove_other_tensors, save_checkpoint
from adasparse_cli.training.dataset import Rows
from adasparse_cli.training.evaluate import Scores, held_sparsity, metrics_of, require_selectable, score
from adasparse_cli.training.finite import LossWatch, first_bad_layer, first_not_finite
from adasparse_cli.training.length import Length
from adasparse_cli.training.machine import matmul_precision
from adasparse_cli.training.optimiser import TouchedRowsAdam
from adasparse_cli.training.process_group import is_lost_process, lost_process
from adasparse_cli.training.rank_steps import joined, seed_step, shared_scores
from adasparse_cli.training.saving import BestWeights, SaveClock
from adasparse_cli.training.selection import Candidate, lies_inside
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.signals import StopWish
from adasparse_cli.training.state import Gradients, LoopState, TrainingResult
from adasparse_cli.training.training_tensors import TrainingTensors, named

_LOWER = "lower loop.learning_rate; the checkpoint before this step is kept"
_log = logging.getLogger("adasparse_cli")
LAST, BEST, METRICS = Path("checkpoints/last"), Path("checkpoints/best"), "metrics.jsonl"


@dataclass
class Loop(ABC):
    """Trains a model on rows, writing metrics and checkpoints below `folder`.

    A subclass says in which order an epoch's rows come and what their gradients are.

    Args:
        on_step: told the number of rows after each step, and the latest figures.
        on_line: told each line of metrics.jsonl.
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
        """Steps of an epoch, the same for each."""

    @abstractmethod
    def epoch_batches(self, epoch: int) -> Sequence[Any]:
        """What each step of an epoch takes, such as numbers of rows; it depends on seed and epoch alone."""

    @abstractmethod
    def add_gradients(self, rows: Any) -> Gradients:
        """Add the gradients of these rows of `train` to the parameters."""

    def scores(self, rows: Rows) -> Scores:
        """Score rows with the model as it stands."""
        return self.scores_of(self.model, rows, lambda: self.train, self.settings)

    @classmethod
    def scores_of(cls, model: Model, rows: Rows, train: Callable[[], Rows], settings: Any) -> Scores:
        """Score rows with a trained model; `train` brings the rows it was trained on, for loops that adapt to them."""
        return score(model, rows, batch_size=settings.evaluation_batch_size)

    def resume(self) -> None:
        """Go on from `checkpoints/last` if there is one.

        Raises:
            IntegrityError: it is damaged or does not fit.
        """
        if not (self.folder / LAST / "checkpoint.json").exists():
            return
        tensors, state = load_checkpoint(self.folder / LAST)
        load_weights(self.model, tensors, where=self.folder / LAST)
        self._saved.restore(tensors)
        if (
            "metrics_bytes" in state
        ):  # of an earlier version, which kept the length of metrics.jsonl instead of its lines
            held = (self.folder / METRICS).read_bytes()[: state.pop("metrics_bytes")]
            state["lines"] = held.decode().splitlines()
        for folder in (LAST, BEST):
            if self._leads and (self.folder / folder).exists():
                remove_other_tensors(self.folder / folder)
        self.state = LoopState(**state)
        self._finite_step = self.state.step

    def run(self) -> TrainingResult:
        """Train to the end, then put the best weights into the model.

        Raises:
            NumericError: a loss is not finite; the checkpoints hold what was good before it.
            InterruptedRun: SIGINT or SIGTERM came; saved before.
        """
        # whatever a crash left of the file, it holds the lines up to the checkpoint that the run resumes from
        if self._leads:
            write_text(self.folder / METRICS, "".join(f"{line}\n" for line in self.state.lines))
        entered, before = time.monotonic(), self.state.elapsed_seconds
        self.model.train()
        with StopWish() as self._stop_wish:
            try:
                rows_seen, stepping_seconds = self._train(entered - before)
            except NumericError:
                # weights that wait in memory were finite when they were found
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
        """The steps still to be done.

        Args:
            since: when the run would have started without a pause.

        Returns:
            Rows seen, and seconds spent in steps.
        """
        stepping_seconds, rows_seen = 0.0, 0
        for step, rows in self.batches():
            started = time.monotonic()
            self._step(step, rows)
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
            # asked first, since the best checkpoint that an evaluation may write counts as a save
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
                    hint="the same command with --resume continues from here",
                    exit_code=128 + stop,
                )
        return rows_seen, stepping_seconds

    def _load_best(self) -> None:
        best, state = load_checkpoint(self.folder / BEST)
        found = Candidate.of_json(state)
        step = found.step
        if step != self.state.best_step and found.beats(self.state.best, self.settings.select):
            # an earlier sitting was killed before its last checkpoint knew of it, and this one, on another device or
            # number of threads, did not get there again
            _log.warning(
                "the best step is %d, of an earlier sitting; this one found step %s", step, self.state.best_step
            )
            self.state.keep(found)
        if step != self.state.best_step:
            raise IntegrityError(
                f"{self.folder / BEST} is of step {state['step']}; the best step of this run is {self.state.best_step}",
                hint="the folder was copied or restored in parts; remove the run and train it again",
            )
        load_weights(self.model, best, where=self.folder / BEST)

    def rows_to_go(self) -> int | None:
        """Training rows in the steps that are still to be done, if nothing stops them early; None with `epochs: auto`."""
        if self.settings.finds_epochs:
            return None
        return round((self.total_steps - self.state.step) * len(self.train) / self.steps_per_epoch)

    def batches(self) -> Iterator[tuple[int, Any]]:
        """Steps still to be done, each with its rows."""
        epoch, batches = -1, cast("Sequence[Any]", ())
        while self.state.step < self.total_steps and not self.state.stopped_early:
            step = self.state.step
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                batches = self.epoch_batches(epoch)
            yield step, batches[step % self.steps_per_epoch]

    def _step(self, step: int, rows: Any) -> None:
        self.model.schedule(self.length.progress(step))
        with matmul_precision(self.settings.matmul_precision), ranks.together():
            if ranks.are_joined():
                seed_step(self.seed, step)
            found = self.add_gradients(rows)
        if self._spans_ranks:
            found, self._agreed_stop = joined(
                found, list(self.dense.values()), self.model.row_tables(), self._stop_wish
            )
        self._losses.look(found.loss + found.penalty, step, rows)
        share = self.length.learning_rate_share(step)
        self._adam.param_groups[0]["lr"] = self.settings.learning_rate * share
        self._adam.step()
        self._adam.zero_grad()
        for name, adam in self._table_adams.items():
            adam.step(self._table_rates[name] * share)
        self._loss_sum += found.loss
        self._penalty_sum += found.penalty
        if found.pruned is not None:
            self._pruned_sum += found.pruned

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
        found = Candidate(step=self.state.step, value=value, inside=inside)
        if found.beats(self.state.best, self.settings.select):
            self.state.keep(found)
            self.state.evaluations_since_best = 0
            if self._leads:
                self._best.keep(self.model, found, may_save=may_save)
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
        if not math.isfinite(loss + penalty):  # each was finite, their sum is not
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
        """Look at all weights and moments before anything is saved: a gradient can be infinite where the loss is not."""
        if self._finite_step == self.state.step:
            return
        tensors = dict(self.model.state_dict())
        for name, adam in self._table_adams.items():
            tensors |= named(f"the optimiser's state of {name}: ", adam.state())
        for name, part in self.dense.items():
            tensors |= named(f"the optimiser's state of {name}: ", self._adam.state[part])
        found = first_not_finite(tensors)
        if found is not None:
            raise NumericError(
                f"{found} is not finite at step {self.state.step}; it was finite at step {self._finite_step}",
                hint=_LOWER,
            )
        self._finite_step = self.state.step

    def _save(self) -> None:
        self._losses.settle()
        self._require_finite_weights()
        # before the checkpoint that knows of it
        self._best.write()
        tensors = named("model.", self.model.state_dict()) | self._saved.tensors()
        with self._clock.saving():
            save_checkpoint(self.folder / LAST, tensors, asdict(self.state), step=self.state.step)
