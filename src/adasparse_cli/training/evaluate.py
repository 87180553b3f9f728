"""Scores of a model on a split, and their metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from adasparse_cli.choices import Metric
from adasparse_cli.errors import DataError
from adasparse_cli.metrics import BLOCK, Metrics, compute_metrics
from adasparse_cli.models.base import Model
from adasparse_cli.rows.dataset import Rows

SHARE_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Scores:
    """A model's output on rows.

    Args:
        logits: float32, one per row.
        pruned: float32, rows × gated layers, the share of pruned neurons; None for models without pruning.
    """

    logits: np.ndarray
    pruned: np.ndarray | None

    @property
    def probabilities(self) -> np.ndarray:
        """σ(logits), float64, in (0, 1)."""
        return np.exp(-np.logaddexp(0.0, -self.logits.astype(np.float64)))

    def sparsity(self) -> list[float] | None:
        """Share of pruned neurons (0–1) per gated layer, mean over rows; None for models without pruning."""
        return None if self.pruned is None else [float(share) for share in self.pruned.mean(axis=0, dtype=np.float64)]


def score(model: Model, rows: Rows, *, batch_size: int, between: tuple[int, int] | None = None) -> Scores:
    """Score all rows in order, or the rows of a range. The model is not changed."""
    first, end = between or (0, len(rows))
    was_training = model.training
    model.eval()
    logits = torch.empty(end - first, device=model.device, dtype=torch.float32)
    pruned = None
    with torch.no_grad():
        for start in range(first, end, batch_size):
            chosen = slice(start, min(start + batch_size, end))
            prediction, place = model(rows.batch(chosen)), slice(chosen.start - first, chosen.stop - first)
            logits[place] = prediction.logits
            if prediction.pruned is not None:
                if pruned is None:
                    pruned = prediction.pruned.new_empty(end - first, prediction.pruned.shape[1])
                pruned[place] = prediction.pruned
    model.train(was_training)
    return Scores(logits=logits.cpu().numpy(), pruned=None if pruned is None else pruned.cpu().numpy())


def held_sparsity(model: Model, scores: Scores, rows: Rows) -> list[float] | None:
    """The sparsity per gated layer that the regulariser keeps in its interval: a mean over rows or over domains."""
    if scores.pruned is None or not model.sparsity_by_domain:
        return scores.sparsity()
    _, condition, counts = np.unique(rows.condition_ids.cpu().numpy(), return_inverse=True, return_counts=True)
    shares = 1.0 / (len(counts) * counts[condition])
    return [float(share) for share in shares @ scores.pruned.astype(np.float64)]


def metrics_of(scores: Scores, rows: Rows, *, num_domains: int) -> Metrics:
    """The metrics of scored, labelled rows."""
    assert rows.labels is not None
    labels = rows.labels.cpu().numpy()
    return compute_metrics(labels, scores.logits, rows.domains, num_domains, rows.users)


def require_selectable(select: Metric, rows: Rows, *, num_domains: int) -> None:
    """Refuse a metric that the valid rows cannot have, before the first step is taken.

    Raises:
        DataError: they cannot.
    """
    nothing = Scores(logits=np.zeros(len(rows), dtype=np.float32), pruned=None)
    found = metrics_of(nothing, rows, num_domains=num_domains)
    if getattr(found, select) is not None:
        return
    if not len(rows):
        raise DataError(
            "the valid split has no rows, so no checkpoint can be chosen",
            hint="prepare the data with another split rule, or with data.valid_share above 0",
        )
    why = "no domain has both classes" if select is Metric.gauc_domain else "all rows have the same label"
    raise DataError(
        f"loop.select={select} is not available on the valid split: {why}",
        hint="loop.select=log_loss is available there; or prepare the data with another split",
    )


def context_shares(model: Model, rows: Rows) -> dict[str, float] | None:
    """For each layer that reads the domain context, the share (0–1) of its output variance explained by the context.

    At most SHARE_ROWS evenly spaced rows are used. None for models without such layers. See `layers.context`.
    """
    if not model.reads_context:
        return None
    chosen = torch.linspace(0, len(rows) - 1, min(len(rows), SHARE_ROWS)).round().long().to(rows.device)
    return {name: round(share, 6) for name, share in model.context_shares(rows.batch(chosen)).items()}


def sparsity_by_domain(scores: Scores, rows: Rows, *, num_domains: int) -> np.ndarray | None:
    """Mean share of pruned neurons per domain and gated layer; NaN for domains without rows."""
    if scores.pruned is None:
        return None
    counts, sums = np.zeros(num_domains), np.zeros((scores.pruned.shape[1], num_domains))
    np.add.at(counts, rows.domains, 1.0)
    for start in range(0, len(rows.domains), BLOCK):
        part = slice(start, start + BLOCK)
        for layer, own in zip(sums, scores.pruned[part].T.astype(np.float64), strict=True):
            np.add.at(layer, rows.domains[part], own)
    with np.errstate(invalid="ignore"):
        return np.stack(list(sums / counts), axis=1)
