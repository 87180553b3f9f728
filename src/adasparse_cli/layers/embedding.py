"""One embedding table for all fields of a row; multi-valued fields are pooled."""

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
    """The embeddings of a batch.

    Args:
        all_fields: [e_a ; e_d] of each row: the domain-agnostic fields, then the domain-aware fields.
        agnostic_width: width of e_a.
    """

    all_fields: Float[Tensor, "rows width"]
    agnostic_width: int

    def parts(self) -> tuple[Float[Tensor, "rows agnostic_width"], Float[Tensor, "rows aware_width"]]:
        """e_a and e_d."""
        return _cut(self.all_fields, self.agnostic_width, dim=1)

    @property
    def agnostic(self) -> Float[Tensor, "rows agnostic_width"]:
        """Only e_a. If e_d is needed too, the gradient of `parts` is cheaper."""
        return self.parts()[0]


@dataclass(frozen=True, slots=True)
class AgnosticRows:
    """The table rows that the domain-agnostic fields of a batch look up.

    Args:
        singles: for the single-valued fields.
        values: for the bags of the multi-valued fields, by row, within a row by field, concatenated.
        first_value: index in `values` of the start of each bag. lengths: number of values of each bag.
    """

    singles: Int[Tensor, "rows single_fields"]
    values: Int[Tensor, " values"]
    first_value: Int[Tensor, " bags"]
    lengths: Int[Tensor, " bags"]


class FieldEmbedding(nn.Module):
    """Looks up every field of a row in one table; field f's ids start at row offset_f.

    e_f = T[offset_f + id_f] for a single-valued field, the mean (or sum) over the bag's ids for a
    multi-valued one; an empty bag gives zeros. Id 0 of every field (unseen or rare) starts at zero,
    so that an unseen value contributes nothing unless rare values have trained id 0;
    all other rows start from N(0, std²).

    A sparse gradient has only the rows that were looked up, which `training.optimiser.TouchedRowsAdam` requires.

    Args:
        fields: in the manifest's order, domain-agnostic before domain-aware.
        bags: per multi-valued field its bags.
        width: embedding width of one field.
        std: standard deviation of the initial values.
        pooling: how the values of a bag become one embedding.
        sparse: whether the gradient is sparse; a dense one is cheaper for a small table.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        bags: Mapping[str, Bags],
        *,
        width: int,
        std: float,
        pooling: Pooling,
        sparse: bool = True,
    ) -> None:
        super().__init__()
        self.width = width
        self.pooling = str(pooling)
        self.sparse = sparse
        offsets = [0]
        for field in fields:
            offsets.append(offsets[-1] + field.size)
        self.num_ids = offsets[-1]
        self.weight = nn.Parameter(torch.empty(self.num_ids, width).normal_(0.0, std))
        with torch.no_grad():
            self.weight[torch.tensor(offsets[:-1], dtype=torch.long)] = 0.0

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

        # These buffers describe the data and are rebuilt from them, so they are not part of a checkpoint.
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
        """Replace the bags, for example by the stored bags followed by the bags of a new file."""
        # The bags of all multi-valued fields are in one list; a field's first bag is its offset there.
        bag_offsets = [0]
        starts = [torch.zeros(1, dtype=torch.long, device="cpu")]
        # as int32, since logs have many distinct bags; a batch's values are converted
        values = [torch.zeros(0, dtype=torch.int32, device="cpu")]
        for name, first_id in self._multi_fields:
            own = bags[name]
            bag_offsets.append(bag_offsets[-1] + len(own.starts) - 1)
            starts.append(own.starts[1:].long() + sum(len(earlier) for earlier in values))
            values.append(own.values.int() + first_id)
        device = self.weight.device
        self.multi_offsets = torch.tensor(bag_offsets[:-1], dtype=torch.long, device=device)
        self.bag_starts = torch.cat(starts).to(device)
        self.bag_values = torch.cat(values).to(device)

    def columns_of(self, names: Sequence[str]) -> list[int]:
        """The columns of these domain-agnostic fields in e_a, in the order of `names`.

        Raises:
            KeyError: a name is not a domain-agnostic field.
        """
        return [self._first_column[name] + k for name in names for k in range(self.width)]

    single_columns: Tensor
    single_offsets: Tensor
    multi_columns: Tensor
    multi_offsets: Tensor
    bag_starts: Tensor
    bag_values: Tensor

    def forward(
        self, field_ids: Int[Tensor, "rows fields"], bag_values: int | None = None
    ) -> Float[Tensor, "rows width"]:
        """Embed the rows: single-valued before multi-valued within the domain-agnostic fields, then in the same way the domain-aware fields.

        Args:
            bag_values: number of values of the multi-valued fields; None makes the host wait for it.
        """
        if len(self.multi_columns) == 0:
            return self._look_up(field_ids)
        singles = self._look_up(field_ids.index_select(1, self.single_columns))
        multis = self._pooled(field_ids.index_select(1, self.multi_columns), bag_values)
        agnostic, aware = _cut(singles, self.agnostic_singles * self.width, dim=1)
        agnostic_multis, aware_multis = _cut(multis, self.agnostic_multis * self.width, dim=1)
        return torch.cat([agnostic, agnostic_multis, aware, aware_multis], dim=1)

    def _look_up(self, ids: Tensor) -> Tensor:
        """Single-valued fields."""
        found = functional.embedding((ids + self.single_offsets).flatten(), self.weight, sparse=self.sparse)
        return found.view(len(ids), len(self.single_offsets) * self.width)

    def agnostic_rows(self, field_ids: Int[Tensor, "rows fields"]) -> AgnosticRows:
        """The table rows that the domain-agnostic fields look up."""
        singles, multis = self.single_columns[: self.agnostic_singles], self.multi_columns[: self.agnostic_multis]
        offsets = self.single_offsets[: self.agnostic_singles]
        bags = field_ids.index_select(1, multis) + self.multi_offsets[: self.agnostic_multis]
        return AgnosticRows(field_ids.index_select(1, singles) + offsets, *self._values_of(bags.flatten()))

    def _pooled(self, ids: Tensor, number: int | None) -> Tensor:
        """Multi-valued fields."""
        values, first_value, _ = self._values_of((ids + self.multi_offsets).flatten(), number)
        pooled = functional.embedding_bag(values, self.weight, first_value, mode=self.pooling, sparse=self.sparse)
        return pooled.view(len(ids), len(self.multi_offsets) * self.width)

    def _values_of(self, bags: Tensor, number: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The concatenated values of these bags, the index of each bag's first value, and the number of values in each."""
        starts = self.bag_starts.index_select(0, bags)
        lengths = self.bag_starts.index_select(0, bags + 1) - starts
        ends = lengths.cumsum(0)
        first_value = ends - lengths
        shifts = torch.repeat_interleave(starts - first_value, lengths, output_size=number)
        values = self.bag_values.index_select(0, shifts + torch.arange(len(shifts), device=shifts.device))
        return values.long(), first_value, lengths


def _cut(x: Tensor, first: int, *, dim: int) -> tuple[Tensor, Tensor]:
    """Split a dimension after the first entries. Two slices would give two zero-filled gradients."""
    head, rest = torch.split(x, [first, x.shape[dim] - first], dim=dim)
    return head, rest
