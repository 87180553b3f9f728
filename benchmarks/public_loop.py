"""A training loop as public code commonly writes it, to measure against: a Dataset that yields one row at a time, a
DataLoader, an embedding table per field with dense gradients, dense Adam over everything, `.item()` in each step."""

from __future__ import annotations

import common
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from adasparse_cli.rows.dataset import Rows


class RowDataset(Dataset[dict[str, Tensor]]):
    """One row as a dict of small tensors."""

    def __init__(self, rows: Rows) -> None:
        assert rows.labels is not None
        self.ids, self.labels = rows.field_ids.numpy(), rows.labels.numpy()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        found = {f"field_{k}": torch.tensor(int(self.ids[row, k])) for k in range(self.ids.shape[1])}
        found["label"] = torch.tensor(float(self.labels[row]))
        return found


class PublicModel(nn.Module):
    """The same network from standard parts: the pruner reads a concatenation for every row."""

    def __init__(self, ids: int) -> None:
        super().__init__()
        fields = common.fields_of(ids)
        self.tables = nn.ModuleDict({field.name: nn.Embedding(field.size, common.WIDTH) for field in fields})
        self.aware = [field.name for field in fields if field.role.value == "domain_aware"]
        agnostic = (common.FIELDS - common.AWARE) * common.WIDTH
        told = common.AWARE * common.WIDTH
        widths = [agnostic, *common.HIDDEN]
        self.layers = nn.ModuleList(
            nn.Linear(k, n) for k, n in zip([agnostic + told, *common.HIDDEN[:-1]], common.HIDDEN, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in common.HIDDEN)
        self.pruners = nn.ModuleList(nn.Linear(width + told, width) for width in widths)
        self.head = nn.Linear(common.HIDDEN[-1], 1)

    def forward(self, row: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and the penalty on sparsity."""
        found = {name: table(row[name]) for name, table in self.tables.items()}
        told = torch.cat([found[name] for name in self.aware], dim=1)
        h = torch.cat([value for name, value in found.items() if name not in self.aware], dim=1)
        penalty = torch.zeros(())
        for k, pruner in enumerate(self.pruners):
            out = 2 * torch.sigmoid(2.5 * pruner(torch.cat([h, told], dim=1)))
            kept = (out > 0.25).float()
            gap = (1 - kept.mean() - 0.2).abs()
            penalty = penalty + 0.1 * gap * gap / len(self.pruners)
            h = h * out * kept
            if k == 0:
                h = torch.cat([h, told], dim=1)
            if k < len(self.layers):
                h = torch.relu(self.norms[k](self.layers[k](h)))
        logits: Tensor = self.head(h).squeeze(1)
        return logits, penalty


class PublicLoop:
    """Step by step through a DataLoader."""

    def __init__(self, rows: Rows, ids: int) -> None:
        self.model = PublicModel(ids)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.loader = DataLoader(RowDataset(rows), batch_size=common.BATCH, shuffle=True)
        self.batches = iter(self.loader)
        self.losses: list[float] = []

    def step(self) -> None:
        """One step."""
        row = next(self.batches, None)
        if row is None:
            self.batches = iter(self.loader)
            row = next(self.batches)
        logits, penalty = self.model(row)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, row["label"]) + penalty
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.losses.append(loss.item())
