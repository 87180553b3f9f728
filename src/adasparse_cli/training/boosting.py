"""Trains the trees of LightGBM in rounds. Evaluation, selection and files are the same as in the other loops.

A round adds one tree, which is fitted to the gradient of the mean cross-entropy over all training rows. After each `evaluate_every`
rounds, the metric `loop.select` is computed on the valid split. The trees up to the best evaluation are kept.

There are no intermediate checkpoints. An interrupted run starts again from the first round. With the same rows, settings, seed and
number of threads, it ends with byte-identical trees.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adasparse_cli.checkpoints.checkpoint import save_checkpoint
from adasparse_cli.checkpoints.selection import Candidate
from adasparse_cli.checkpoints.state import LoopState, TrainingResult
from adasparse_cli.errors import DataError, InterruptedRun, NumericError, UsageError
from adasparse_cli.files import write_text
from adasparse_cli.models.lightgbm import Lightgbm
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.evaluate import Scores, metrics_of, require_selectable, score
from adasparse_cli.training.loop import BEST, METRICS
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.signals import StopWish

TREES = "lightgbm.txt"


@dataclass
class Boosting:
    """Trains trees, and writes the metrics and the best trees to `folder`. It has the interface of `Loop`.

    Args:
        on_step: receives the number of rows and the latest figures after each round.
        on_line: receives each line of metrics.jsonl.
    """

    model: Lightgbm
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
        if not (self.train.in_memory and self.valid.in_memory):
            raise UsageError(
                "model=lightgbm needs all rows in memory, and this train split is streamed", hint="use loop.rows=memory"
            )
        require_selectable(self.settings.select, self.valid, num_domains=self.num_domains)
        self.total_steps = self.scheduled_steps = self.model.settings.rounds

    def resume(self) -> None:
        """Does nothing: training starts again from the first round and ends with the same trees."""

    def rows_to_go(self) -> None:
        """No estimate: the number of rounds is not known."""

    def scores(self, rows: Rows) -> Scores:
        """Score rows with the best trees."""
        return score(self.model, rows, batch_size=self.settings.evaluation_batch_size)

    def run(self) -> TrainingResult:
        """Train until the valid metric has not improved for `model.patience` evaluations, and keep the best rounds.

        Raises:
            NumericError: a score is not finite.
            InterruptedRun: SIGINT or SIGTERM arrived.
        """
        import lightgbm

        entered, spent = time.monotonic(), 0.0
        write_text(self.folder / METRICS, "")
        own, features = self.model.settings, self.model.features
        assert self.train.labels is not None
        data = lightgbm.Dataset(
            self._matrix(self.train),
            label=self.train.labels.cpu().numpy(),
            feature_name=[
                f"f{k}" for k in range(len(features.names))
            ],  # column names may contain characters that its text format does not allow
            categorical_feature=features.categorical,
            params={"max_bin": own.bins, "min_data_in_leaf": own.min_rows, "verbosity": -1},
        )
        booster = lightgbm.Booster(parameters(self.model, self.seed), data)
        valid, logits, counted = self._matrix(self.valid), np.zeros(len(self.valid)), 0
        since_best = 0
        with StopWish() as stop:
            for number in range(1, own.rounds + 1):
                started = time.monotonic()
                exhausted = booster.update()  # True if no leaf can be split further
                spent += time.monotonic() - started
                self.state.step = number
                self.on_step(len(self.train), {"round": float(number)})
                if stop.number is not None:
                    raise InterruptedRun(
                        f"stopped at round {number} of at most {own.rounds}",
                        hint="run the same command with --resume; it starts again from the first round, because trees have no intermediate checkpoints",
                        exit_code=128 + stop.number,
                    )
                if number % own.evaluate_every and number < own.rounds and not exhausted:
                    continue
                logits += booster.predict(
                    valid, raw_score=True, start_iteration=counted, num_iteration=number - counted
                )
                counted = number
                since_best = 0 if self._is_best(number, logits) else since_best + 1
                if since_best >= own.patience or exhausted:
                    self.state.stopped_early = number < own.rounds
                    break
        assert self.state.best_step is not None
        assert self.state.best is not None
        text = booster.model_to_string(num_iteration=self.state.best_step)
        self.model.set_trees(text)
        write_text(self.folder / TREES, text)
        weights = {"model.text": self.model.text}
        save_checkpoint(self.folder / BEST, weights, asdict(self.state.best), step=self.state.best_step)
        self.state.elapsed_seconds = time.monotonic() - entered
        return TrainingResult(
            steps=self.state.step,
            best_step=self.state.best_step,
            best_value=self.state.best_value,
            stopped_early=self.state.stopped_early,
            elapsed_seconds=self.state.elapsed_seconds,
            rows_per_second=self.state.step * len(self.train) / spent if spent else None,
        )

    def _is_best(self, number: int, logits: np.ndarray) -> bool:
        if not np.isfinite(logits).all():
            raise NumericError(
                f"scores of the valid split are not finite at round {number}", hint="lower model.learning_rate"
            )
        scores = Scores(logits=logits.astype(np.float32), pruned=None)
        metrics = metrics_of(scores, self.valid, num_domains=self.num_domains).to_json()
        found = Candidate(step=number, value=metrics[self.settings.select])
        best = found.beats(self.state.best, self.settings.select)
        if best:
            self.state.keep(found)
        line = {"kind": "valid", "step": number, "best": best, **metrics}
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        self.on_line(line)
        return best

    def _matrix(self, rows: Rows) -> np.ndarray:
        found = np.empty((len(rows), len(self.model.features.names)), dtype=np.float32)
        step = self.settings.evaluation_batch_size
        for start in range(0, len(rows), step):
            part = slice(start, min(start + step, len(rows)))
            found[part] = self.model.features(rows.batch(part))
        return found


def parameters(model: Lightgbm, seed: int) -> dict[str, Any]:
    """The parameters for LightGBM: the settings by its names, and the parameters that make it deterministic."""
    own = model.settings
    return {
        "objective": "binary",
        "learning_rate": own.learning_rate,
        "num_leaves": own.leaves,
        "min_data_in_leaf": own.min_rows,
        "feature_fraction": own.feature_share,
        "lambda_l2": own.l2,
        "max_bin": own.bins,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": torch.get_num_threads(),
        "verbosity": -1,
    }


def require_boostable(loop: LoopSettings, device: str) -> None:
    """Check, before data are prepared, that trees can be trained with these settings.

    Raises:
        UsageError: the package is not installed, or the settings have another loop, a placebo, streamed rows or a GPU.
    """
    Lightgbm.require_installed()
    refused = {
        f"loop={loop.name}": (loop.name != "standard", "loop=standard; loops of gradient steps train networks"),
        "loop.placebo=true": (loop.placebo, "a network, such as model=dnn: trees read the fields of the row itself"),
        "loop.rows=stream": (loop.rows.value == "stream", "loop.rows=memory"),
        f"device={device}": (device not in ("auto", "cpu"), "device=cpu: trees are trained on the CPU"),
    }
    for asked, (given, instead) in refused.items():
        if given:
            raise UsageError(f"model=lightgbm cannot be trained with {asked}", hint=f"use {instead}")
