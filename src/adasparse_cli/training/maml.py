"""MAML: learn weights from which one gradient step on the rows of a domain gives good weights for that domain.

Batches are the same as in the standard loop. In each batch some domains are tasks: their rows are the query, and their
support is drawn from the other training rows of the domain:

    θ_d = θ − a ∇L(θ; support_d)                                         inner step, repeated `inner_steps` times
    θ  <- Adam(θ, (Σ_tasks n_d ∇L(θ_d; query_d) + n_0 ∇L(θ; others)) / n)   outer step, n the rows of the batch

First order uses ∇L(θ_d; query_d) at θ_d as the gradient at θ; second order differentiates through the inner step. L is
the mean cross-entropy plus the model's penalty. θ are the dense parameters. Tables (embeddings, private weights of
domains) change only in the outer step, because a task reads few of their rows. With a = 0 this is the standard loop.

Rules of this implementation: `tasks_per_step` tasks are drawn with probabilities proportional to the rows of their domain
in the batch. Rows of other domains are trained on without adaptation. A domain with fewer than `minimum_rows` training
rows is not a task, and neither is a domain whose training rows or drawn support are of one class. Moving statistics (for
example of batch normalisation) come from the other rows; tasks are normalised by them, as in evaluation. Before a test,
domains adapt only with `adapt_before_test`, each to `test_support_rows` of its training rows, drawn once.

Source: Finn et al., MAML, ICML 2017; domains as tasks as in Yu et al., Personalized Adaptive Meta Learning for Cold-start
(arXiv 2012.11842), and MAMDR (Luo et al., arXiv 2202.12524).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from adasparse_cli.batches import Batch, Prediction
from adasparse_cli.checkpoints.state import Gradients
from adasparse_cli.errors import UsageError
from adasparse_cli.models.base import Model
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.evaluate import Scores, score
from adasparse_cli.training.maml_settings import MamlSettings
from adasparse_cli.training.standard import StandardLoop


class MamlLoop(StandardLoop):
    """Trains any model so that one step on the rows of a domain adapts it to the domain."""

    Settings = MamlSettings

    def __post_init__(self) -> None:
        if self.own_settings.second_order and not self.model.twice_differentiable:
            raise UsageError(
                "loop.second_order=true: this model does not support second derivatives",
                hint="use loop.second_order=false, or a model such as dnn",
            )
        super().__post_init__()
        assert self.train.labels is not None
        # on the CPU, so that the choice of tasks does not wait for the GPU
        self._domains = self.train.domain_ids.cpu().numpy()
        self._labels = self.train.labels.cpu().numpy()
        self.adapting = adapting_domains(self.train, self.own_settings.minimum_rows)
        self._rows_of = dict(_rows_by_domain(self.train))
        self._statistics = self.model.moving_statistics()

    @property
    def own_settings(self) -> MamlSettings:
        """The settings with their type."""
        assert isinstance(self.settings, MamlSettings)
        return self.settings

    def add_gradients(self, rows: Any) -> Gradients:
        nothing = torch.zeros((), device=rows.device)
        sums = _Sums(len(rows), nothing, nothing)
        others, tasks = self.tasks_of(rows)
        if len(others):
            # first, because this pass updates the statistics that tasks are normalised by
            with _resting(self._statistics if len(others) < 2 else ()):
                self._add(self.train.batch(others), {}, sums)
        with _resting(self._statistics):
            for support, query in tasks:
                adapted = adapt(
                    self.model,
                    self.dense,
                    self.train.batch(support),
                    self.own_settings,
                    through=self.own_settings.second_order,
                )
                self._add(self.train.batch(query), adapted, sums)
        return Gradients(sums.loss, sums.penalty, sums.pruned)

    def tasks_of(self, rows: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """The rows that are trained on without adaptation, and support and query of each task."""
        draw = np.random.default_rng([self.seed, self.state.step, 1])
        batch = rows.cpu().numpy()
        domains, place, counts = np.unique(self._domains[batch], return_inverse=True, return_counts=True)
        able = np.flatnonzero(self.adapting[domains])
        number = min(self.own_settings.tasks_per_step, len(able))
        chosen = draw.choice(able, number, replace=False, p=counts[able] / counts[able].sum()) if number else able
        tasks = []
        is_task = np.zeros(len(domains), dtype=bool)
        for k in np.sort(chosen):
            query = batch[place == k]
            known, wanted = self._rows_of[int(domains[k])], self.own_settings.support_rows
            drawn = known[draw.choice(len(known), min(wanted + len(query), len(known)), replace=False)]
            support = drawn[~np.isin(drawn, query)][:wanted]
            if len(support) and self._labels[support].min() < self._labels[support].max():
                is_task[k] = True
                tasks.append((self._placed(support), self._placed(query)))
        return self._placed(batch[~is_task[place]]), tasks

    def _placed(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows).to(self.train.device)

    def _add(self, batch: Batch, weights: Mapping[str, Tensor], sums: _Sums) -> None:
        prediction, loss = loss_of(self.model, weights, batch)
        share = len(batch) / sums.rows
        torch.autograd.backward((loss + prediction.penalty) * share)
        sums.add(prediction, loss, share)

    @classmethod
    def scores_of(cls, model: Model, rows: Rows, train: Callable[[], Rows], settings: Any) -> Scores:
        """Score rows; with `adapt_before_test`, the rows of each domain with its adapted weights."""
        if not settings.adapt_before_test:
            return super().scores_of(model, rows, train, settings)
        support = train()
        known = adapting_domains(support, settings.minimum_rows)
        rows_of = dict(_rows_by_domain(support))
        scores = score(model, rows, batch_size=settings.evaluation_batch_size)
        logits, pruned = scores.logits.copy(), None if scores.pruned is None else scores.pruned.copy()
        tables = model.row_tables()
        dense = {name: part for name, part in model.named_parameters() if name not in tables}
        was_training = model.training
        model.eval()  # also while adapting: no dropout, fixed statistics
        for domain, indices in _rows_by_domain(rows):
            if domain >= len(known) or not known[domain]:
                continue
            drawn = np.random.default_rng(domain).permutation(rows_of[domain])[: settings.test_support_rows]
            batch = support.batch(torch.from_numpy(drawn).to(rows.device))
            adapted = adapt(model, dense, batch, settings, through=False)
            with torch.no_grad():
                for part in torch.split(torch.from_numpy(indices), settings.evaluation_batch_size):
                    prediction = functional_call(model, dict(adapted), (rows.batch(part.to(rows.device)),))
                    logits[part.numpy()] = prediction.logits.float().cpu().numpy()
                    if pruned is not None:
                        assert prediction.pruned is not None
                        pruned[part.numpy()] = prediction.pruned.cpu().numpy()
        model.train(was_training)
        return Scores(logits, pruned)


@contextmanager
def _resting(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Use the moving statistics of modules without updating them."""
    for part in parts:
        part.eval()
    try:
        yield
    finally:
        for part in parts:
            part.train()


@dataclass
class _Sums:
    """Means over the rows of a step, accumulated over tasks."""

    rows: int
    loss: Tensor
    penalty: Tensor
    pruned: Tensor | None = None

    def add(self, prediction: Prediction, loss: Tensor, share: float) -> None:
        self.loss = self.loss + share * loss.detach()
        self.penalty = self.penalty + share * prediction.penalty.detach()
        if prediction.pruned is not None:
            pruned = share * prediction.pruned.mean(0)
            self.pruned = pruned if self.pruned is None else self.pruned + pruned


def adapting_domains(train: Rows, minimum_rows: int) -> np.ndarray:
    """Whether each domain id can be a task: it has enough rows, and rows of both classes."""
    assert train.labels is not None
    domains, labels = train.domain_ids.cpu().numpy(), train.labels.cpu().numpy()
    rows = np.bincount(domains)
    positives = np.bincount(domains, weights=labels)
    adapts: np.ndarray = (rows >= minimum_rows) & (positives > 0) & (positives < rows)
    return adapts


def adapt(
    model: Model, dense: Mapping[str, Tensor], support: Batch, settings: MamlSettings, *, through: bool
) -> dict[str, Tensor]:
    """θ after the inner steps on `support`. Its gradient reaches θ; with `through`, also through the inner gradients."""
    adapted = dict(dense)
    for _ in range(settings.inner_steps):
        prediction, loss = loss_of(model, adapted, support)
        gradients = torch.autograd.grad(
            loss + prediction.penalty, list(adapted.values()), create_graph=through, allow_unused=True
        )
        adapted = {
            name: value if gradient is None else value - settings.inner_learning_rate * gradient
            for (name, value), gradient in zip(adapted.items(), gradients, strict=True)
        }
    return adapted


def loss_of(model: Model, weights: Mapping[str, Tensor], batch: Batch) -> tuple[Prediction, Tensor]:
    """The model's prediction and mean loss with the given weights instead of its parameters."""
    prediction: Prediction = functional_call(model, dict(weights), (batch,))
    assert batch.labels is not None
    return prediction, model.loss(prediction.logits, batch.labels)


def _rows_by_domain(rows: Rows) -> Iterator[tuple[int, np.ndarray]]:
    domains = rows.domain_ids.cpu().numpy()
    order = np.argsort(domains, kind="stable")
    present, starts = np.unique(domains[order], return_index=True)
    yield from zip(present.tolist(), np.split(order, starts[1:]), strict=True)
