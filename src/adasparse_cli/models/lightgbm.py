"""Gradient-boosted trees of LightGBM, a baseline without a neural network.

    logit = Σ_m leaf_m(x)      m = 1 … best round; the leaf values of the first tree include the log-odds of the base rate

x has these numbers. None depends on labels:

- a field with at most `largest_categorical` ids: the id, as a category; trees split categories into two sets;
- a field with more ids: the id as a number. The ids of a vocabulary are ranks by the number of training rows: 1 is the most frequent
  value, and 0 stands for unseen and rare values. A split therefore separates more frequent from less frequent values;
- a numeric field: the number of its bucket;
- a multi-valued field: the number of its values, and the smallest and largest of their ids (missing for an empty list).

The fields of the domain are included. A domain that is not in the training split has id 0 in its fields.

Trees are stored in LightGBM's text format: as bytes in the checkpoint, and as `lightgbm.txt` in the run's folder.

Source: Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 2017; the package lightgbm. Differences: no target
encoding, because it leaks labels without held-out rows; early stopping by `loop.select` (training/boosting.py).
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
        nn.Module.__init__(self)  # skips Model.__init__, which makes the parts of networks
        self.settings, self.network, self.num_domains = settings, network, shape.num_domains
        self.features = Features(shape.fields, shape.bags, largest_categorical=settings.largest_categorical)
        self.register_buffer("text", torch.zeros(0, dtype=torch.uint8))
        self._booster: Any = None

    @staticmethod
    def require_installed() -> None:
        """Check that the package lightgbm is installed.

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
        """Device of the stored trees. Scores are always computed on the CPU."""
        return self.text.device

    def set_trees(self, text: str) -> None:
        """Set the trees.

        Args:
            text: trees in LightGBM's text format.
        """
        self.text = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(self.device)
        self._booster = None

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Resize the buffer to the saved trees, whose text may have any length."""
        if "text" in weights and weights["text"].dtype == torch.uint8 and weights["text"].dim() == 1:
            self.text = torch.empty_like(weights["text"], device=self.device)
            self._booster = None

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows on the CPU."""
        values = self.trees().predict(self.features(batch), raw_score=True, num_threads=torch.get_num_threads())
        logits = torch.from_numpy(np.asarray(values, dtype=np.float32)).to(batch.field_ids.device)
        return Prediction(logits, no_penalty(logits))

    def trees(self) -> Any:
        """The `lightgbm.Booster`.

        Raises:
            IntegrityError: LightGBM cannot read the saved text.
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
        """Does nothing, because the first tree includes the base rate."""

    def set_bags(self, bags: Mapping[str, Bags]) -> None:
        """Replace the bags."""
        self.features.set_bags(bags)

    def row_tables(self) -> dict[str, nn.Parameter]:
        """Trees have no tables."""
        return {}

    def cost(self) -> Cost:
        """All zeros: trees have no parameters of a network and no matrix products."""
        return Cost(
            embedding_parameters=0,
            backbone_parameters=0,
            domain_parameters=0,
            backbone_multiply_adds=0,
            domain_multiply_adds=0,
        )


class Features:
    """Turns the ids of a batch into the numbers x of the module's docstring.

    Args:
        fields: fields in the order of the manifest.
        bags: bags by multi-valued field.
        largest_categorical: largest number of ids of a field that is read as categories.
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
        """The numbers of a batch: float32, rows × features; NaN if missing."""
        ids = batch.field_ids.cpu().numpy()
        columns = []
        for column, field in enumerate(self._fields):
            own = ids[:, column]
            columns.append(self._of_bags[field.name][own] if field.name in self._of_bags else own[:, None])
        return np.concatenate(columns, axis=1, dtype=np.float32)


def numbers_of(bags: Bags) -> np.ndarray:
    """The numbers of each bag: number of values, smallest id, largest id.

    Returns:
        float32, bags × 3; the ids of an empty bag are NaN.
    """
    starts, values = bags.starts.cpu().numpy(), bags.values.cpu().numpy()
    lengths = np.diff(starts)
    found = np.full((len(lengths), 3), np.nan, dtype=np.float32)
    found[:, 0] = lengths
    full = np.flatnonzero(lengths)
    if len(full):
        found[full, 1] = np.minimum.reduceat(values, starts[full])
        found[full, 2] = np.maximum.reduceat(values, starts[full])
    return found
