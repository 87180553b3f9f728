"""Weights saved before the domain context had embeddings of its own score as they did."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adasparse_cli.checkpoints.checkpoint import load_weights
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import CONTEXT
from adasparse_cli.models.earlier import weights_as_today
from tests import small
from tests.models import reference
from tests.models.parts import parts_of

READERS = sorted(name for name, kind in MODELS.items() if kind.reads_context)


def test_pruners_read_the_rows_that_the_tower_reads() -> None:
    """Truth: the equation of before in NumPy, whose pruners are told e_d."""
    words = ("model.mode=fusion", "model.pruner.inputs=[hidden,domain]")
    parts = parts_of("adasparse", *words)
    old = {name: torch.from_numpy(value) for name, value in parts.weights.items() if name != CONTEXT}
    model = small.model("adasparse", 1, *words).double()
    load_weights(model, {f"model.{name}": value for name, value in old.items()}, where=small.__file__)  # type: ignore[arg-type]
    told = parts.rows.conditions.numpy()[parts.rows.condition_ids.numpy()]
    before = {**parts.weights, CONTEXT: parts.weights["embedding.weight"][-7:]}  # `place` has 7 values
    logits, _ = reference.adasparse(
        before, small.FIELDS, small.BAGS, parts.rows.field_ids.numpy(), told, "fusion",
        layers=2, scale=2.0, sharpness=model.sharpness.item(), threshold=0.25,
    )  # fmt: skip
    np.testing.assert_allclose(model(parts.rows).logits.detach().numpy(), logits, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", READERS)
def test_weights_without_a_context_fit_every_model_that_reads_it(name: str) -> None:
    model = small.model(name)
    saved = {key: value.clone() for key, value in model.state_dict().items() if key != CONTEXT}
    if name == "saml":
        saved["branches"] = saved["branches"][..., : model.inputs]
    load_weights(model, {f"model.{key}": value for key, value in saved.items()}, where=small.__file__)  # type: ignore[arg-type]
    assert torch.equal(model.context.table.weight, model.embedding.weight[-7:])
    if name == "saml":
        rows = small.rows(30).batch(slice(0, 30))
        logits = model(rows).logits
        with torch.no_grad():
            model.context.table.weight.add_(1.0)
        assert torch.equal(model(rows).logits, logits)


def test_weights_of_today_stay_as_they_are() -> None:
    weights = small.model("epnet").state_dict()
    found = weights_as_today(small.model("epnet", 1), weights)
    assert all(found[name] is value for name, value in weights.items())
    assert len(found) == len(weights)
