"""What a training step of each model costs against the DNN's, and STAR against its public form.

    python benchmarks/models.py [--quick]

21 fields × 16 of 200,000 ids, hidden [512, 256, 128], 300 domains with a long tail, batch 2,048, each model with its
packaged settings; forward, backward and update, through the loop that `adasparse train` runs.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from torch import Tensor, nn

from adasparse_cli.config.compose import compose
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import DataShape, NetworkSettings
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.typed import typed

IDS = 200_000
MODERATE = ("apg", "m2m", "epnet", "ppnet", "sarnet")


def rows_of(domains: int, count: int) -> Rows:
    """Random rows whose domains have a long tail, all of them present."""
    rows = common.rows_of_size(count, IDS)
    draw = np.random.default_rng(1)
    shares = 1.0 / np.arange(1, domains + 1)
    drawn = draw.choice(domains, count, p=shares / shares.sum())
    conditions = np.stack([np.arange(domains) % 20, np.arange(domains) // 20 % 20, np.arange(domains) // 400], axis=1)
    field_ids = rows.field_ids.clone()
    field_ids[:, -3:] = torch.from_numpy(conditions[drawn])
    return Rows(
        field_ids=field_ids,
        domain_ids=torch.from_numpy(drawn),
        condition_ids=torch.from_numpy(drawn),
        conditions=torch.from_numpy(conditions),
        labels=rows.labels,
        domains=drawn,
        users=None,
        sources=rows.sources,
        lines=rows.lines,
    )


class Training:
    """Steps of a model's loop, evaluation and checkpoints left out."""

    def __init__(self, name: str, *, domains: int, hidden: list[int], batch: int, steps: int, count: int = 0) -> None:
        words = ["model=dnn", "loop=maml"] if name == "maml" else [f"model={name}"]
        tree = compose("train", [*words, f"loop.batch_size={batch}"])
        model_class: Any = MODELS[tree["model"]["name"]]
        network = typed(
            {**tree["network"], "hidden": hidden, "embedding_width": common.WIDTH}, NetworkSettings, "network"
        )
        settings = typed(tree["model"], model_class.Settings, "model")
        torch.manual_seed(0)
        shape = DataShape(fields=common.fields_of(IDS), bags={}, num_domains=domains)
        loop_class = LOOPS[tree["loop"]["name"]]
        rows = rows_of(domains, count or batch * steps)
        self.folder = tempfile.TemporaryDirectory()
        self.loop = loop_class(
            model=model_class(settings, network, shape),
            train=rows,
            valid=rows,
            num_domains=domains,
            settings=typed(tree["loop"], loop_class.Settings, "loop"),
            seed=0,
            folder=Path(self.folder.name),
        )
        self.loop.model.train()
        self.count, self.batches = steps, iter(())

    def steps(self) -> None:
        """A number of steps, going on where the last call stopped."""
        for _ in range(self.count):
            found = next(self.batches, None)
            if found is None:
                self.loop.state.step = 0
                self.batches = self.loop.batches()
                found = next(self.batches)
            step, rows = found
            self.loop.step(step, rows)
            self.loop.state.step = step + 1


class PublicStar(nn.Module):
    """STAR's towers as public code writes them: every tower runs on every row, a mask keeps the row's own.

    It computes what ours does, layer by layer: partitioned normalisation, factors and biases of one's own, batch
    normalisation, an auxiliary network.
    """

    def __init__(self, domains: int, hidden: list[int]) -> None:
        super().__init__()
        self.table = nn.Embedding(IDS, common.WIDTH)
        inputs = common.FIELDS * common.WIDTH
        self.shapes = list(itertools.pairwise([inputs, *hidden, 1]))
        self.shared = self._tower(inputs, scale=True)
        self.own = nn.ModuleList(self._tower(inputs, scale=False) for _ in range(domains))
        self.norms = nn.ModuleList(nn.ModuleList(map(nn.BatchNorm1d, hidden)) for _ in range(domains))
        self.auxiliary = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 1))

    def _tower(self, inputs: int, *, scale: bool) -> nn.ParameterList:
        """Scale and shift of the input, then weight and bias of each layer."""
        layers = [(torch.randn(k, n) * k**-0.5 if scale else torch.ones(k, n), torch.zeros(n)) for k, n in self.shapes]
        return nn.ParameterList([torch.ones(inputs), torch.zeros(inputs), *itertools.chain(*layers)])

    def forward(self, field_ids: Tensor, domains: Tensor) -> Tensor:
        x = self.table(field_ids.long()).flatten(1)
        found = torch.zeros(len(x), 1)
        scale, shift, *shared = self.shared
        for domain, (tower, norms) in enumerate(zip(self.own, self.norms, strict=True)):
            own_scale, own_shift, *own = tower
            h = nn.functional.batch_norm(x, None, None, scale * own_scale, shift + own_shift, training=True)
            for layer in range(len(self.shapes)):
                weight, bias = shared[2 * layer] * own[2 * layer], shared[2 * layer + 1] + own[2 * layer + 1]
                h = h @ weight + bias
                if layer < len(norms):
                    h = torch.relu(norms[layer](h))
            found = torch.where((domains == domain).unsqueeze(1), h, found)
        return (found + self.auxiliary(x)).squeeze(1)


class PublicTraining:
    """One step of it, with dense Adam."""

    def __init__(self, *, domains: int, hidden: list[int], batch: int) -> None:
        self.rows = rows_of(domains, batch)
        self.model = PublicStar(domains, hidden)
        self.adam = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def step(self) -> None:
        """One step."""
        loss = nn.functional.binary_cross_entropy_with_logits(
            self.model(self.rows.field_ids, self.rows.domain_ids), self.rows.labels
        )
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


def main() -> None:
    """Print the ratios."""
    rounds = 3 if "--quick" in sys.argv else 5
    print(common.machine())
    at = {"domains": 300, "hidden": common.HIDDEN, "batch": common.BATCH}
    names = sorted({*MODELS, "adasparse-paper"} - {"star"})
    seconds = common.by_turns({name: Training(name, **at, steps=5).steps for name in names}, rounds=rounds)
    for name in names:
        target = "  (target at most 3)" if name in MODERATE else "  (target at most 1.3)" if name == "adasparse" else ""
        print(f"{name} step over dnn: {common.ratios(seconds, name, 'dnn'):.2f}×{target}")

    epoch = {"domains": 300, "hidden": common.HIDDEN, "batch": common.BATCH, "steps": 30}
    seconds = common.by_turns({name: Training(name, **epoch).steps for name in ("dnn", "maml")}, rounds=rounds)
    print(f"first-order maml epoch over dnn: {common.ratios(seconds, 'maml', 'dnn'):.2f}×  (target at most 6)")

    for batch, target in ((common.BATCH, 12), (8192, 5)):
        both = {name: Training(name, **{**at, "batch": batch}, steps=3).steps for name in ("dnn", "star")}
        seconds = common.by_turns(both, rounds=rounds)
        print(
            f"star step over dnn, batch {batch:,}: {common.ratios(seconds, 'star', 'dnn'):.1f}×  (target at most {target})"
        )

    sizes = {
        f"{domains:,}": Training("star", domains=domains, hidden=[128, 64], batch=common.BATCH, steps=3).steps
        for domains in (300, 5000)
    }
    seconds = common.by_turns(sizes, rounds=rounds)
    print(
        f"star at 5,000 domains over 300, widths [128, 64]: {common.ratios(seconds, '5,000', '300'):.2f}×  (target at most 3)"
    )

    steps = 10  # of ours for one of the other's, so that what a change of hands costs in memory is not measured
    both = {"ours": Training("star", **at, steps=steps).steps, "public": PublicTraining(**at).step}
    seconds = common.by_turns(both, rounds=rounds)
    times = common.ratios(seconds, "public", "ours") * steps
    print(f"star over towers on all rows: 1/{times:.0f}  (target at most 1/20)")


if __name__ == "__main__":
    main()
