"""Gradient-boosted trees of LightGBM, a baseline that is no network.

    logit = Σ_m leaf_m(x)      m = 1 … trees of the best round; the first leaf values include the log-odds of the base rate

x has these numbers, none of which depends on labels:

- a field with at most `largest_categorical` ids: the id, as a category; trees split categories into two sets;
- a field with more ids: the id as a number. Ids of a vocabulary are ranks by the number of training rows, 1 the most frequent and 0 for
  unseen and rare values, so a split asks "is the value at least as frequent as …";
- a numeric field: the number of its bucket;
- a multi-valued field: the number of its values, and the smallest and largest of their ids (missing for an empty list).

The fields of the domain are among them. A domain that is unseen in training has id 0 in its fields.

Trees are stored as LightGBM's own text, as bytes in the checkpoint and as `lightgbm.txt` in the run's folder.

Source: Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 2017; the package lightgbm. Differences: no target
encoding, which needs held-out rows to be free of leaks; early stopping by `loop.select` (training/boosting.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.choices import FieldKind
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.layers.embedding import Bags
from adasparse_cli.models.base import Cost, DataShape, Model
from adasparse_cli.models.settings.lightgbm import LightgbmSettings
from adasparse_cli.models.settings.network import NetworkSettings
from adasparse_cli.schema import Field


class Lightgbm(Model):
    """Gradient-boosted trees (needs the extra `lightgbm`; comparisons include it only if `--models` names it)."""

    Settings = LightgbmSettings
    text: Tensor

    def __init__(self, settings: LightgbmSettings, network: NetworkSettings, shape: DataShape) -> None:
        nn.Module.__init__(self)  # it has none of the parts that networks share
        self.settings, self.network, self.num_domains = settings, network, shape.num_domains
        self.features = Features(shape.fields, shape.bags, largest_categorical=settings.largest_categorical)
        self.register_buffer("text", torch.zeros(0, dtype=torch.uint8))
        self._booster: Any = None

    @staticmethod
    def require_installed() -> None:
        """Refuse to go on without the package.

        Raises:
            UsageError: it is not installed.
        """
        if find_spec("lightgbm") is None:
            raise UsageError(
                "model=lightgbm needs the package lightgbm, which is not installed",
                hint="python -m pip install 'adasparse-cli[lightgbm]'",
            )

    @property
    def device(self) -> torch.device:
        """Where its text is; trees are computed on the CPU."""
        return self.text.device

    def set_trees(self, text: str) -> None:
        """Take trees, as LightGBM writes them."""
        self.text = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(self.device)
        self._booster = None

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Saved trees may have any length."""
        if "text" in weights and weights["text"].dtype == torch.uint8 and weights["text"].dim() == 1:
            self.text = torch.empty_like(weights["text"], device=self.device)
            self._booster = None

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, on the CPU."""
        values = self.trees().predict(self.features(batch), raw_score=True, num_threads=torch.get_num_threads())
        logits = torch.from_numpy(np.asarray(values, dtype=np.float32)).to(batch.field_ids.device)
        return Prediction(logits, no_penalty(logits))

    def trees(self) -> Any:
        """The `lightgbm.Booster`.

        Raises:
            IntegrityError: the saved text is none of this package's.
        """
        if self._booster is None:
            self.require_installed()
            import lightgbm

            try:
                text = bytes(self.text.cpu().numpy()).decode()
                self._booster = lightgbm.Booster(model_str=text)
            except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
                raise IntegrityError(
                    f"the trees cannot be read: {error}", hint="restore the run from a copy, or train it again"
                ) from None
        return self._booster

    def start_at(self, rate: float) -> None:
        """The first tree includes the base rate."""

    def set_bags(self, bags: Mapping[str, Bags]) -> None:
        """Replace the bags."""
        self.features.set_bags(bags)

    def row_tables(self) -> dict[str, nn.Parameter]:
        """None."""
        return {}

    def cost(self) -> Cost:
        """No parameters and no matrix products."""
        return Cost(
            embedding_parameters=0,
            backbone_parameters=0,
            domain_parameters=0,
            backbone_multiply_adds=0,
            domain_multiply_adds=0,
        )


class Features:
    """Turns the ids of a batch into the numbers that trees read, as the module says.

    Args:
        fields: in the manifest's order. bags: of the multi-valued fields.
    """

    def __init__(self, fields: Sequence[Field], bags: Mapping[str, Bags], *, largest_categorical: int) -> None:
        self._fields = tuple(fields)
        self.names: list[str] = []
        self.categorical: list[int] = []
        for field in fields:
            if field.kind is FieldKind.multi_valued:
                self.names += [f"{field.name}: {part}" for part in ("values", "smallest id", "largest id")]
                continue
            if field.kind is FieldKind.categorical and field.size <= largest_categorical:
                self.categorical.append(len(self.names))
            self.names.append(field.name)
        self._of_bags: dict[str, np.ndarray] = {}
        if not any(one.starts.is_meta for one in bags.values()):
            self.set_bags(bags)

    def set_bags(self, bags: Mapping[str, Bags]) -> None:
        """Replace the bags."""
        self._of_bags = {name: numbers_of(one) for name, one in bags.items()}

    def __call__(self, batch: Batch) -> np.ndarray:
        """float32, rows × features; NaN is missing."""
        ids = batch.field_ids.cpu().numpy()
        columns = []
        for column, field in enumerate(self._fields):
            own = ids[:, column]
            columns.append(self._of_bags[field.name][own] if field.name in self._of_bags else own[:, None])
        return np.concatenate(columns, axis=1, dtype=np.float32)


def numbers_of(bags: Bags) -> np.ndarray:
    """float32, bags × 3: number of values, smallest id, largest id; NaN for the ids of an empty bag."""
    starts, values = bags.starts.cpu().numpy(), bags.values.cpu().numpy()
    lengths = np.diff(starts)
    found = np.full((len(lengths), 3), np.nan, dtype=np.float32)
    found[:, 0] = lengths
    full = np.flatnonzero(lengths)
    if len(full):
        found[full, 1] = np.minimum.reduceat(values, starts[full])
        found[full, 2] = np.maximum.reduceat(values, starts[full])
    return found
