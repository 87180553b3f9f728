"""MAML: learn weights from which one step on a domain's rows leads to good weights for that domain.

Each domain of a step is a task; its rows are cut into two halves A and B, each of which is support and
query in turn, so that every row is a query once per epoch:

    θ_A = θ − a ∇L(θ; A),  θ_B = θ − a ∇L(θ; B)                        inner step, repeated `inner_steps` times
    θ  <- Adam(θ, Σ_tasks (n_B ∇L(θ_A; B) + n_A ∇L(θ_B; A)) / n)       outer step, n the rows of the step

First order takes ∇L(θ_A; B) at θ_A as if it were that at θ; second order differentiates through the inner
step. L is the mean cross-entropy plus the model's penalty. θ are the dense parameters: tables (embeddings, a
domain's private weights) take part in the outer step alone, since a task reads few of their rows.

Rules of ours for small and for one-class domains: a domain with fewer than `minimum_rows` training rows does not
adapt, and neither does a domain whose training rows are of one class; in a step, a half of one class leaves
θ as it is. Rows that do not adapt are trained on together, as plain rows. Before a test, nothing
adapts unless `adapt_before_test` says so; then each domain that may adapts to `support_rows` of its training
rows, drawn once.

Source: Finn et al., MAML, ICML 2017; a domain as a task as in Yu et al., Personalized Adaptive Meta Learning for
Cold-start (arXiv 2012.11842), and MAMDR (Luo et al., arXiv 2202.12524).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from adasparse_cli.batches import Batch, Prediction
from adasparse_cli.choices import Between
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.grouped import group_rows
from adasparse_cli.models.base import Model
from adasparse_cli.training.dataset import Rows
from adasparse_cli.training.evaluate import Scores, score
from adasparse_cli.training.loop import Gradients, Loop
from adasparse_cli.training.settings import LoopSettings


@dataclass(frozen=True, kw_only=True)
class MamlSettings(LoopSettings):
    """MAML's own settings, beside those of the standard loop.

    Args:
        inner_learning_rate: a. inner_steps: steps from θ to a task's weights.
        second_order: whether the outer gradient passes through the inner step.
        task_rows: rows of one domain that are drawn together, at most (and at most `batch_size`).
        minimum_rows: training rows from which on a domain is a task of its own.
        adapt_before_test: whether a domain takes inner steps before its rows are scored.
        support_rows: training rows of a domain that it adapts to before a test, at most.
    """

    inner_learning_rate: Annotated[float, Between(0)]
    inner_steps: Annotated[int, Between(1)]
    second_order: bool
    task_rows: Annotated[int, Between(4)]
    minimum_rows: Annotated[int, Between(4)]
    adapt_before_test: bool
    support_rows: Annotated[int, Between(2)]


class MamlLoop(Loop):
    """Trains any model so that a domain's own step from it is a good one."""

    Settings = MamlSettings

    def __post_init__(self) -> None:
        if self.own_settings.second_order and not self.model.twice_differentiable:
            raise UsageError(
                "loop.second_order=true: this model's fast gradients cannot be differentiated once more",
                hint="use loop.second_order=false, or a model such as dnn",
            )
        super().__post_init__()
        adapting = torch.from_numpy(adapting_domains(self.train, self.own_settings.minimum_rows))
        self._adapting = adapting.to(self.train.domain_ids.device)

    @property
    def own_settings(self) -> MamlSettings:
        """The settings, as what they are."""
        assert isinstance(self.settings, MamlSettings)
        return self.settings

    def _steps_per_epoch(self) -> int:
        return max(len(self.train) // self.settings.batch_size, 1)

    def _epoch(self, epoch: int) -> list[Tensor]:
        """Each domain's rows, shuffled and cut into chunks; the chunks, shuffled and cut into steps of like size."""
        draw = np.random.default_rng([self.seed, epoch])
        domains = self.train.domain_ids.cpu().numpy()
        shuffled = draw.permutation(len(domains))
        order = shuffled[np.argsort(domains[shuffled], kind="stable")]
        ordered = domains[order]
        first = np.searchsorted(ordered, ordered)  # where each row's domain begins
        chunk = (np.arange(len(order)) - first) // min(self.own_settings.task_rows, self.settings.batch_size)
        starts = np.flatnonzero(np.diff(np.stack([ordered, chunk]), axis=1, prepend=-1).any(axis=0))
        chunks = np.split(order, starts[1:])
        draw.shuffle(chunks)
        begins = np.cumsum([0, *(len(rows) for rows in chunks[:-1])])
        # a chunk belongs to the step in whose stretch of the epoch it begins; no stretch is without one
        step = begins * self.steps_per_epoch // len(order)
        parts = np.split(np.concatenate(chunks), begins[np.searchsorted(step, np.arange(1, self.steps_per_epoch))])
        device = self.train.field_ids.device
        return [torch.from_numpy(part).to(device) for part in parts]

    def _add_gradients(self, rows: Tensor) -> Gradients:
        settings, nothing = self.own_settings, torch.zeros((), device=rows.device)
        sums = _Sums(len(rows), nothing, nothing)
        domains = self.train.domain_ids[rows]
        adapts = self._adapting[domains]
        plain = [rows[~adapts]]
        own = rows[adapts]
        groups = group_rows(domains[adapts])
        labels = self.train.labels
        assert labels is not None
        for start, end in zip(groups.bounds[:-1], groups.bounds[1:], strict=True):
            task = own[groups.order[start:end]]
            half = len(task) // 2
            halves = task[:half], task[half:]
            for support, query in (halves, halves[::-1]):
                if len(support) == 0 or labels[support].min() == labels[support].max():
                    plain.append(query)
                    continue
                adapted = adapt(
                    self.model,
                    self._dense,
                    self.train.batch(support),
                    settings,
                    through=settings.second_order,
                )
                self._add(self.train.batch(query), adapted, sums)
        rest = torch.cat(plain)
        if len(rest):
            self._add(self.train.batch(rest), {}, sums)
        return Gradients(sums.loss, sums.penalty, sums.pruned)

    def _add(self, batch: Batch, weights: Mapping[str, Tensor], sums: _Sums) -> None:
        prediction, loss = loss_of(self.model, weights, batch)
        share = len(batch) / sums.rows
        torch.autograd.backward((loss + prediction.penalty) * share)
        sums.add(prediction, loss, share)

    @classmethod
    def scores_of(cls, model: Model, rows: Rows, train: Callable[[], Rows], settings: Any) -> Scores:
        """Score rows, each domain's with the weights it adapts to if the settings say so."""
        if not settings.adapt_before_test:
            return super().scores_of(model, rows, train, settings)
        support = train()
        known = adapting_domains(support, settings.minimum_rows)
        found = score(model, rows, batch_size=settings.evaluation_batch_size)
        logits, pruned = found.logits.copy(), None if found.pruned is None else found.pruned.copy()
        tables = model.row_tables()
        dense = {name: part for name, part in model.named_parameters() if name not in tables}
        was_training = model.training
        model.eval()  # adapting too: no dropout, and no statistics that move
        for domain, own in _rows_by_domain(rows):
            if domain >= len(known) or not known[domain]:
                continue
            theirs = np.flatnonzero(support.domain_ids.cpu().numpy() == domain)
            drawn = np.random.default_rng(domain).permutation(theirs)[: settings.support_rows]
            batch = support.batch(torch.from_numpy(drawn).to(rows.field_ids.device))
            adapted = adapt(model, dense, batch, settings, through=False)
            with torch.no_grad():
                for part in torch.split(torch.from_numpy(own), settings.evaluation_batch_size):
                    prediction = functional_call(model, dict(adapted), (rows.batch(part.to(rows.field_ids.device)),))
                    logits[part.numpy()] = prediction.logits.float().cpu().numpy()
                    if pruned is not None:
                        assert prediction.pruned is not None
                        pruned[part.numpy()] = prediction.pruned.cpu().numpy()
        model.train(was_training)
        return Scores(logits, pruned)


@dataclass
class _Sums:
    """Means over the rows of a step, gathered task by task."""

    rows: int
    loss: Tensor
    penalty: Tensor
    pruned: Tensor | None = None

    def add(self, prediction: Prediction, loss: Tensor, share: float) -> None:
        self.loss = self.loss + share * loss.detach()
        self.penalty = self.penalty + share * prediction.penalty.detach()
        if prediction.pruned is not None:
            own = share * prediction.pruned.mean(0)
            self.pruned = own if self.pruned is None else self.pruned + own


def adapting_domains(train: Rows, minimum_rows: int) -> np.ndarray:
    """Per domain id whether it is a task: rows enough, and of both classes."""
    assert train.labels is not None
    domains, labels = train.domain_ids.cpu().numpy(), train.labels.cpu().numpy()
    rows = np.bincount(domains)
    positives = np.bincount(domains, weights=labels)
    found: np.ndarray = (rows >= minimum_rows) & (positives > 0) & (positives < rows)
    return found


def adapt(
    model: Model, dense: Mapping[str, Tensor], support: Batch, settings: MamlSettings, *, through: bool
) -> dict[str, Tensor]:
    """θ after the inner steps on `support`; the result's gradient reaches θ, and with `through` the steps as well."""
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
    """The model's prediction and mean cross-entropy with some of its weights put in the place of its own."""
    prediction: Prediction = functional_call(model, dict(weights), (batch,))
    assert batch.labels is not None
    return prediction, functional.binary_cross_entropy_with_logits(prediction.logits, batch.labels)


def _rows_by_domain(rows: Rows) -> Iterator[tuple[int, np.ndarray]]:
    domains = rows.domain_ids.cpu().numpy()
    order = np.argsort(domains, kind="stable")
    found, starts = np.unique(domains[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)
