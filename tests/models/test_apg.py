"""APG against its equation in NumPy, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adasparse_cli.config.compose import compose
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.context import Context
from adasparse_cli.models.apg import ApgLayer
from adasparse_cli.models.settings.apg import ApgSettings
from adasparse_cli.typed import typed
from tests import small
from tests.models.parts import Parts, parts_of, relu


def condition(parts: Parts, kind: str, k: int, x: np.ndarray) -> np.ndarray:
    return {"group": parts.told[k], "self": x, "mix": np.concatenate([parts.told[k], x])}[kind]


def product(parts: Parts, name: str) -> np.ndarray:
    own = [parts.weights[key] for key in sorted(parts.weights) if key.startswith(f"{name}.")]
    found = own[0]
    for matrix in own[1:]:
        found = found @ matrix
    return found


@pytest.mark.parametrize("kind", ["group", "self", "mix"])
@pytest.mark.parametrize("version", ["v1", "v4", "v5"])
def test_logits_equal_the_reference(version: str, kind: str) -> None:
    words = [f"model.version={version}", f"model.condition={kind}", "model.rank=3", "model.over_parameters=10"]
    if version == "v1" and kind != "group":
        with pytest.raises(UsageError, match="a full matrix for each row"):
            parts_of("apg", *words)
        return
    parts = parts_of("apg", *words)
    found = []
    for k in range(len(parts.x)):
        h = parts.x[k]
        for layer in range(2):
            name = f"layers.{layer}"
            z = condition(parts, kind, k, h)
            made = parts.mlp(f"{name}.generator", z)
            bias = parts.linear(f"{name}.bias", z)
            if version == "v1":
                h = relu(made.reshape(len(bias), len(h)) @ h + bias)
            else:
                up, down = product(parts, f"{name}.up"), product(parts, f"{name}.down")
                h = relu(up @ (made.reshape(3, 3) @ (down @ h)) + bias)
        found.append(parts.linear("head", h)[0])
    parts.agrees_with(np.array(found))


def test_over_parameters_are_those_of_version_5_alone() -> None:
    shapes = {
        version: [tuple(part.shape) for part in parts_of("apg", f"model.version={version}").model.layers[0].down]
        for version in ("v4", "v5")
    }
    assert shapes == {"v4": [(8, 16)], "v5": [(8, 64), (64, 16)]}


def test_what_is_generated_starts_near_the_identity() -> None:
    model = small.model("apg")
    context = model.context_of(small.rows(20).batch(slice(0, 20)))
    for layer in model.layers:
        made = layer.generator(context.values).view(-1, 8, 8)
        assert (made - torch.eye(8)).abs().max() < 0.5


@pytest.mark.parametrize("inputs", [7, 8, 9])
@pytest.mark.parametrize("version", ["v1", "v4", "v5"])
def test_a_layer_starts_with_the_variance_of_hes_rule_whatever_its_widths(version: str, inputs: int) -> None:
    """Also where an input is as wide as an inner factor."""
    words = [f"model.version={version}", "model.rank=6", "model.over_parameters=8", "model.generator_hidden=[16]"]
    settings = typed(compose("train", ["model=apg", *words])["model"], ApgSettings, "model")
    torch.manual_seed(0)
    found = []
    for _ in range(300):
        layer = ApgLayer(inputs, 20, 4, settings)
        x, told = torch.randn(16, inputs), torch.randn(16, 4) * 0.01
        context = Context(told, torch.arange(16))
        found.append((layer(x, context) - layer.bias(told)).square().mean().item())
    assert np.mean(found) == pytest.approx(2.0, rel=0.2)
