"""One shared embedding table for all fields of a row, multi-valued ones pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.choices import FieldKind, FieldRole, Pooling
from adasparse_cli.schema import Field


@dataclass(frozen=True, slots=True)
class Bags:
    """The distinct bags of a multi-valued field: bag k holds `values[starts[k]:starts[k + 1]]`."""

    values: Int[Tensor, " values"]
    starts: Int[Tensor, " bags_and_one"]


@dataclass(frozen=True, slots=True)
class EmbeddedRows:
    """A batch after the table.

    Args:
        agnostic: e_a, the domain-agnostic fields of each row, concatenated.
        aware: e_d, the domain-aware fields of each row, concatenated.
        conditions: e_d of each distinct condition that the batch holds.
        condition_of_row: for each row, its row of `conditions`.
    """

    agnostic: Float[Tensor, "rows agnostic_width"]
    aware: Float[Tensor, "rows aware_width"]
    conditions: Float[Tensor, "distinct aware_width"]
    condition_of_row: Int[Tensor, " rows"]

    @property
    def all_fields(self) -> Float[Tensor, "rows width"]:
        """[e_a ; e_d] of each row."""
        return torch.cat([self.agnostic, self.aware], dim=1)


class FieldEmbedding(nn.Module):
    """Looks up every field of a row in one table; field f's ids start at row offset_f.

    e_f = T[offset_f + id_f] for a single-valued field, the mean (or sum) over the bag's ids for a
    multi-valued one; an empty bag gives zeros. Id 0 of every field (unseen or rare) starts at zero,
    so that a value never met in training adds nothing unless rare values have taught it otherwise;
    all other rows start from N(0, std²).

    The gradient is sparse: only rows that were looked up have one, which
    `training.optimiser.TouchedRowsAdam` relies on.

    Args:
        fields: in the manifest's order, domain-agnostic before domain-aware.
        bags: per multi-valued field its bags.
        width: embedding width of one field.
        std: standard deviation of the initial values.
        pooling: how the values of a bag become one embedding.
    """

    def __init__(
        self, fields: Sequence[Field], bags: Mapping[str, Bags], *, width: int, std: float, pooling: Pooling
    ) -> None:
        super().__init__()
        self.width = width
        self.pooling = str(pooling)
        offsets = [0]
        for field in fields:
            offsets.append(offsets[-1] + field.size)
        self.num_ids = offsets[-1]
        self.weight = nn.Parameter(torch.empty(self.num_ids, width).normal_(0.0, std))
        with torch.no_grad():
            self.weight[torch.tensor(offsets[:-1])] = 0.0

        aware = [k for k, field in enumerate(fields) if field.role is FieldRole.domain_aware]
        first_aware = len(fields) - len(aware)
        if aware != list(range(first_aware, len(fields))):
            raise ValueError("the domain-aware fields must come last")
        multi = [k for k, field in enumerate(fields) if field.kind is FieldKind.multi_valued]
        single = [k for k in range(len(fields)) if k not in multi]
        self.agnostic_width = first_aware * width
        self.aware_width = len(aware) * width
        self.agnostic_singles = sum(k < first_aware for k in single)
        self.agnostic_multis = sum(k < first_aware for k in multi)

        # All of this describes the data and is rebuilt from it, so it stands in no checkpoint.
        for name, value in {
            "single_columns": torch.tensor(single, dtype=torch.long),
            "single_offsets": torch.tensor([offsets[k] for k in single], dtype=torch.long),
            "multi_columns": torch.tensor(multi, dtype=torch.long),
        }.items():
            self.register_buffer(name, value, persistent=False)
        for name in ("multi_offsets", "bag_starts", "bag_values"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.long), persistent=False)
        agnostic = [k for k in [*single, *multi] if k < first_aware]
        self._first_column = {fields[k].name: place * width for place, k in enumerate(agnostic)}
        self._multi_fields = [(fields[k].name, offsets[k]) for k in multi]
        self.set_bags(bags)

    def set_bags(self, bags: Mapping[str, Bags]) -> None:
        """Put these bags in the place of those before, such as the stored ones and a new file's behind them."""
        # Bags of all multi-valued fields stand in one list; a field's first bag is its offset there.
        bag_offsets = [0]
        starts = [torch.zeros(1, dtype=torch.long, device="cpu")]
        values = [torch.zeros(0, dtype=torch.long, device="cpu")]
        for name, first_id in self._multi_fields:
            own = bags[name]
            bag_offsets.append(bag_offsets[-1] + len(own.starts) - 1)
            starts.append(own.starts[1:].long() + sum(len(earlier) for earlier in values))
            values.append(own.values.long() + first_id)
        device = self.weight.device
        self.multi_offsets = torch.tensor(bag_offsets[:-1], dtype=torch.long, device=device)
        self.bag_starts = torch.cat(starts).to(device)
        self.bag_values = torch.cat(values).to(device)

    def columns_of(self, names: Sequence[str]) -> list[int]:
        """Where the embeddings of these domain-agnostic fields stand in e_a, in the order of `names`.

        Raises:
            KeyError: a name is of no domain-agnostic field.
        """
        return [self._first_column[name] + k for name in names for k in range(self.width)]

    single_columns: Tensor
    single_offsets: Tensor
    multi_columns: Tensor
    multi_offsets: Tensor
    bag_starts: Tensor
    bag_values: Tensor

    def forward(
        self,
        field_ids: Int[Tensor, "rows fields"],
        condition_ids: Int[Tensor, " rows"],
        conditions: Int[Tensor, "conditions domain_fields"],
    ) -> EmbeddedRows:
        """Embed the rows, and each distinct condition among them once."""
        distinct, condition_of_row = torch.unique(condition_ids, return_inverse=True)
        condition_fields = conditions.index_select(0, distinct)
        of_rows, of_conditions = self._singles(field_ids, condition_fields)
        width, singles, multis = self.width, self.agnostic_singles, self.agnostic_multis
        if len(self.multi_columns) == 0:
            agnostic, aware = _cut(of_rows, self.agnostic_width, dim=1)
            return EmbeddedRows(agnostic, aware, of_conditions, condition_of_row)
        bags_of_rows, bags_of_conditions = self._multis(field_ids, condition_fields)
        parts = zip(_cut(of_rows, singles * width, dim=1), _cut(bags_of_rows, multis * width, dim=1), strict=True)
        agnostic, aware = (torch.cat(part, dim=1) for part in parts)
        return EmbeddedRows(agnostic, aware, torch.cat([of_conditions, bags_of_conditions], dim=1), condition_of_row)

    def _singles(self, field_ids: Tensor, condition_fields: Tensor) -> tuple[Tensor, Tensor]:
        """Single-valued fields of rows and of conditions, in one look-up."""
        columns, offsets, first = self.single_columns, self.single_offsets, self.agnostic_singles
        of_rows = field_ids if len(self.multi_columns) == 0 else field_ids.index_select(1, columns)
        own = columns[first:] - self.agnostic_singles - self.agnostic_multis
        of_conditions = condition_fields.index_select(1, own)
        ids = torch.cat([(of_rows + offsets).flatten(), (of_conditions + offsets[first:]).flatten()])
        found = functional.embedding(ids, self.weight, sparse=True)
        own_rows, own_conditions = _cut(found, of_rows.numel(), dim=0)
        return own_rows.view(len(of_rows), -1), own_conditions.view(len(of_conditions), -1)

    def _multis(self, field_ids: Tensor, condition_fields: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled multi-valued fields of rows and of conditions, in one look-up."""
        columns, offsets, first = self.multi_columns, self.multi_offsets, self.agnostic_multis
        of_rows = field_ids.index_select(1, columns)
        own = columns[first:] - self.agnostic_singles - self.agnostic_multis
        of_conditions = condition_fields.index_select(1, own)
        bags = torch.cat([(of_rows + offsets).flatten(), (of_conditions + offsets[first:]).flatten()])
        starts = self.bag_starts.index_select(0, bags)
        lengths = self.bag_starts.index_select(0, bags + 1) - starts
        ends = lengths.cumsum(0)
        first_value = ends - lengths
        shifts = torch.repeat_interleave(starts - first_value, lengths)
        ids = self.bag_values.index_select(0, shifts + torch.arange(len(shifts), device=shifts.device))
        pooled = functional.embedding_bag(ids, self.weight, first_value, mode=self.pooling, sparse=True)
        own_rows, own_conditions = _cut(pooled, of_rows.numel(), dim=0)
        return own_rows.view(len(of_rows), -1), own_conditions.view(len(of_conditions), -1)


def _cut(x: Tensor, first: int, *, dim: int) -> tuple[Tensor, Tensor]:
    """The first entries along a dimension, and the rest; the gradient of two slices would be filled with zeros twice."""
    head, rest = torch.split(x, [first, x.shape[dim] - first], dim=dim)
    return head, rest
