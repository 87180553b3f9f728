"""What the references of all models start from: a model with random weights, its weights and its embeddings in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adasparse_cli.batches import Batch
from adasparse_cli.models.base import Model
from tests import small
from tests.models import reference

UNSEEN = 6  # small.SHAPE has domains 0 to 5


@dataclass(frozen=True)
class Parts:
    """A model, rows that it scores, and the same in NumPy, row by row."""

    model: Model
    rows: Batch
    weights: dict[str, np.ndarray]
    agnostic: np.ndarray
    own: np.ndarray  # e_d of the row's own fields
    told: np.ndarray  # the domain context c of the row's condition: what gates and generators read

    @property
    def x(self) -> np.ndarray:
        return np.concatenate([self.agnostic, self.own], axis=1)

    @property
    def domains(self) -> list[int]:
        return [int(domain) for domain in self.rows.domain_ids]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        bias = self.weights.get(f"{name}.bias", 0.0)
        return np.asarray(x @ self.weights[f"{name}.weight"].T + bias)

    def tower(self, x: np.ndarray, layers: int, after: Callable[[int, np.ndarray], np.ndarray] | None = None) -> Any:
        for layer in range(layers):
            x = relu(self.linear(f"blocks.{layer}.linear", x))
            x = x if after is None else after(layer, x)
        return x

    def mlp(self, name: str, x: np.ndarray) -> np.ndarray:
        """A `plain_mlp` with one hidden layer."""
        return self.linear(f"{name}.2", relu(self.linear(f"{name}.0", x)))

    def agrees_with(self, expected: np.ndarray) -> None:
        found = self.model(self.rows).logits.detach().numpy()
        assert found.std() > 0.05
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.01 * x)


def softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max())
    return raised / raised.sum()


def parts_of(name: str, *words: str, training: bool = False, count: int = 30, unseen: int = 4) -> Parts:
    """`unseen` of the rows are of a domain not seen in training; some are told another row's condition."""
    model = small.model(name, 0, *words).double().train(training)
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) * 0.3)
    rows = small.rows(count, 5).batch(slice(0, count))
    domains, told = rows.domain_ids.clone(), rows.condition_ids.clone()
    domains[:unseen] = torch.tensor([UNSEEN, 99, UNSEEN, 7])[:unseen]
    told[-5:] = (told[-5:] + 1) % 6
    rows = replace(rows, domain_ids=domains, condition_ids=told)
    weights = {key: value.detach().numpy().copy() for key, value in model.state_dict().items()}
    ids = rows.field_ids.numpy()
    seen = rows.conditions.numpy()[told.numpy()]
    return Parts(
        model,
        rows,
        weights,
        reference.embed(weights, small.FIELDS, small.BAGS, ids[:, :3], [0, 1, 2]),
        reference.embed(weights, small.FIELDS, small.BAGS, ids[:, 3:], [3]),
        weights["context.table.weight"][seen[:, 0]] if "context.table.weight" in weights else np.empty((count, 0)),
    )
