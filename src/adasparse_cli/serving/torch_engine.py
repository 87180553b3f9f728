"""The torch engine: the full trained model, for every kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from adasparse_cli.batches import Batch
from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.layers.embedding import Bags
from adasparse_cli.models.base import DataShape, Model, NetworkSettings
from adasparse_cli.models.named import model_named
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.schema import Field
from adasparse_cli.serving.artefact import WEIGHTS, Artefact
from adasparse_cli.typed import typed

PASS_ROWS = 8192


class TorchEngine:
    """Scores rows of ids with a model.

    Args:
        model: on the CPU or a GPU.
    """

    name = "torch"

    def __init__(self, model: Model, fields: Sequence[Field]) -> None:
        self.model = model.eval()
        self._aware = [place for place, field in enumerate(fields) if field.role is FieldRole.domain_aware]

    def logits(self, rows: EncodedRows) -> np.ndarray:
        """Logits, float32, one per row."""
        self.model.set_bags(
            {
                name: Bags(torch.from_numpy(bags.values), torch.from_numpy(np.asarray(bags.starts, dtype=np.int64)))
                for name, bags in rows.bags.items()
            }
        )
        found = [np.zeros(0, dtype=np.float32)]
        with torch.no_grad():
            for start in range(0, len(rows), PASS_ROWS):
                batch = self.batch(rows.take(slice(start, start + PASS_ROWS)))
                found.append(self.model(batch).logits.float().cpu().numpy())
        return np.concatenate(found)

    def batch(self, rows: EncodedRows) -> Batch:
        """The rows as a batch for the model."""
        conditions, of_row = np.unique(rows.ids[:, self._aware], axis=0, return_inverse=True)

        def tensor(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=self.model.device)

        return Batch(
            field_ids=tensor(rows.ids, torch.int32),
            domain_ids=tensor(rows.domains, torch.long),
            condition_ids=tensor(of_row.ravel(), torch.long),
            conditions=tensor(conditions, torch.long),
        )


def torch_engine(artefact: Artefact) -> TorchEngine:
    """The artefact's model, built again."""
    index = artefact.index
    kind: Any = model_named(index["model"]["name"])
    settings = typed(index["model"], kind.Settings, "model")
    network = typed(index["settings"]["network"], NetworkSettings, "network")
    empty = Bags(values=torch.zeros(0, dtype=torch.long), starts=torch.zeros(2, dtype=torch.long))
    multi = [field.name for field in artefact.fields if field.kind is FieldKind.multi_valued]
    shape = DataShape(
        fields=artefact.fields, bags=dict.fromkeys(multi, empty), num_domains=int(index["domain"]["num_domains"])
    )
    with torch.random.fork_rng(devices=[]):
        model: Model = kind(settings, network, shape)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in artefact.tensors(WEIGHTS).all().items()})
    return TorchEngine(model, artefact.fields)
