"""Sub-networks are exact: against a reference written row by row, and against the trained model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adasparse_cli.errors import UsageError
from adasparse_cli.exporting.describe import shape_of
from adasparse_cli.exporting.write import write_artefact
from adasparse_cli.layers.context import Context
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.numpy_engine.cut import kept_neurons, sub_network, why_not_cut
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.engine import CUT_FROM, SMALL_GROUP, NumpyEngine
from adasparse_cli.numpy_engine.network import Network
from adasparse_cli.numpy_engine.values import Bags
from adasparse_cli.schema import Field
from adasparse_cli.serving.torch_engine import TorchEngine
from tests.numpy_engine import reference
from tests.serving import made

FORMS = {
    "fusion": (),
    "binarization": ("model.mode=binarization",),
    "scaling": ("model.mode=scaling",),
    "dcnv2": ("model.backbone=dcnv2",),
    "dcnv2 of low rank": ("model.backbone=dcnv2", "model.cross.rank=3"),
    "learnable": ("model.sharpness.rule=learnable", "model.threshold.rule=learnable"),
    "pruner of low rank": ("model.pruner.rank=2",),
    "input not gated": ("model.pruner.input_layer=false",),
    "no normalisation": ("network.normalisation=none",),
    "normalised context": ("network.context.normalisation=layer", "network.context.gain=0.7"),
    "gelu": ("network.activation=gelu",),
    "silu": ("network.activation=silu", "network.pooling=sum"),
    "leaky": ("network.activation=leaky_relu",),
    "one layer": ("network.hidden=[9]",),
}
# Forms without sub-networks, and models without weight factors: scored uncut.
UNCUT = {
    "both inputs": ("model.pruner.inputs=[hidden,domain]",),
    "layer normalisation": ("network.normalisation=layer",),
    "dnn": ("model=dnn",),
    "dcnv2 model": ("model=dcnv2", "model.cross.rank=4"),
    "adasparse-paper": ("model=adasparse-paper",),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.prepare(tmp_path_factory.mktemp("prepared"))


def drawn(fields: tuple[Field, ...], count: int = 240, conditions: int = 6, seed: int = 3) -> EncodedRows:
    """Random ids, unseen ones and empty bags among them; rows of few conditions, some large, some small."""
    draw = np.random.default_rng(seed)
    ids = np.stack([draw.integers(0, field.size, count) for field in fields], axis=1).astype(np.int32)
    aware = [k for k, field in enumerate(fields) if field.role == "domain_aware"]
    known = ids[:conditions, aware].copy()
    known[0] = 0
    ids[:, aware] = known[np.minimum(draw.geometric(0.5, count) - 1, conditions - 1)]
    bags = {}
    for place, field in enumerate(fields):
        if field.kind == "multi_valued":
            lengths = [0, 1, 3, 2, 5]
            ids[:, place] = draw.integers(0, 5, count)
            bags[field.name] = Bags(draw.integers(0, field.size, 11), np.cumsum([0, *lengths]), ids[:, place])
    return EncodedRows(ids=ids, bags=bags, domains=np.zeros(count, dtype=np.int64))


def listed(rows: EncodedRows) -> dict[str, list[tuple[int, ...]]]:
    return {
        name: [tuple(bag.values[bag.starts[n] : bag.starts[n + 1]].tolist()) for n in bag.of_row]
        for name, bag in rows.bags.items()
    }


def network_of(model: AdaSparse, fields: tuple[Field, ...]) -> Network:
    shape = shape_of(model)
    assert shape is not None
    return Network(shape, fields, {name: value.numpy() for name, value in model.state_dict().items()})


@pytest.mark.parametrize("form", [*FORMS, *UNCUT])
def test_numpy_and_torch_give_the_score_of_the_equations(data: Path, form: str) -> None:
    model, source = made.random_model(data, *{**FORMS, **UNCUT}[form])
    fields, rows = source.manifest.fields, drawn(source.manifest.fields)
    expected = reference.logits(model, fields, rows.ids, listed(rows))
    assert expected.std() > 0.1
    network = network_of(model, fields)
    np.testing.assert_allclose(TorchEngine(model, fields).logits(rows), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(network.logits(rows), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(NumpyEngine(network).logits(rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_sub_network_of_a_condition_is_exact_and_no_larger(data: Path, form: str) -> None:
    model, source = made.random_model(data, *FORMS[form])
    fields, rows = source.manifest.fields, drawn(source.manifest.fields)
    expected = reference.logits(model, fields, rows.ids, listed(rows))
    network = network_of(model, fields)
    assert why_not_cut(network.shape) is None
    for place in range(0, len(rows), 7):
        own = rows.take(slice(place, place + 1))
        factors = network.factors(own)
        cut = sub_network(network, own, factors)
        found = cut.logits(network.agnostic(own))
        assert abs(found[0] - expected[place]) <= 1e-5 * max(1.0, abs(expected[place]))
        kept = kept_neurons(factors)
        assert [len(layer.bias) for layer in cut.layers[:-1]] == kept[-len(cut.layers) + 1 :]
        if form == "scaling":
            assert cut.multiply_adds() < network.multiply_adds()  # by the domain's own fields alone
        elif form != "input not gated":
            assert 0 < len(cut.inputs) == kept[0] < network.agnostic.width
            assert cut.multiply_adds() < 0.8 * network.multiply_adds()


@pytest.mark.parametrize("form", ["fusion", "dcnv2"])
def test_a_domain_whose_neurons_are_all_pruned_has_one_score(data: Path, form: str) -> None:
    model, source = made.random_model(data, *FORMS[form])
    assert isinstance(model, AdaSparse)
    model.pruners["2"].bias.data.fill_(-100.0)
    model.pruners["0"].bias.data.fill_(-100.0)
    fields, rows = source.manifest.fields, drawn(source.manifest.fields)
    network = network_of(model, fields)
    found = NumpyEngine(network).logits(rows)
    np.testing.assert_allclose(found, reference.logits(model, fields, rows.ids, listed(rows)), rtol=1e-5, atol=1e-5)


def test_a_score_does_not_depend_on_what_is_scored_with_it(data: Path) -> None:
    """Rows alone, in small groups, in large ones and in any order: whichever way they take."""
    model, source = made.random_model(data)
    rows = drawn(source.manifest.fields, count=400, conditions=40)
    network = network_of(model, source.manifest.fields)
    together = NumpyEngine(network).logits(rows)
    sizes = np.unique(rows.ids[:, [k for k, _ in network.aware_fields]], axis=0, return_counts=True)[1]
    assert sizes.min() < SMALL_GROUP < CUT_FROM < sizes.max()
    engine = NumpyEngine(network)
    alone = np.concatenate([engine.logits(rows.take(slice(k, k + 1))) for k in range(len(rows))])
    np.testing.assert_allclose(alone, together, atol=2e-6)
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_allclose(NumpyEngine(network).logits(rows.take(order)), together[order], atol=2e-6)
    assert len(NumpyEngine(network).logits(rows.take(slice(0, 0)))) == 0


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("both inputs", "pruners read the layer's neurons"),
        ("layer normalisation", "pruned neurons enter its mean"),
        ("dnn", "prunes nothing"),
    ],
)
def test_what_cannot_be_cut_out_is_refused_with_its_reason(data: Path, tmp_path: Path, form: str, reason: str) -> None:
    _, source = made.random_model(data, *UNCUT[form])
    with pytest.raises(UsageError, match=reason):
        write_artefact(source, tmp_path / "a", ["all"])
    assert not list(tmp_path.iterdir())
    report = write_artefact(source, tmp_path / "a", None)
    assert reason in str(report.refused)
    assert not report.domains


@pytest.mark.parametrize("form", ["fusion", "binarization", "both inputs", "scaling", "dnn"])
def test_the_margin_is_the_distance_of_the_nearest_neuron_from_the_threshold(
    data: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against |v_out − ε| of what the model's own pruners give."""
    model, source = made.random_model(data, *{**FORMS, **UNCUT}[form])
    fields, rows = source.manifest.fields, drawn(source.manifest.fields, count=12)
    margins = network_of(model, fields).margin(rows)
    if form in ("scaling", "dnn"):
        assert np.isinf(margins).all()
        return
    seen: list[np.ndarray] = []
    whole = AdaSparse._gated

    def gated(self: AdaSparse, v: torch.Tensor, h: torch.Tensor, context: Context, *rest: Any) -> Any:
        scale = 1.0 if form == "binarization" else 2.0
        out = scale * torch.sigmoid(self.sharpness * v.double())
        least = (out - 0.25).abs().amin(dim=1)
        seen.append((least if self.per_row else least[context.of_row]).detach().numpy())
        return whole(self, v, h, context, *rest)

    monkeypatch.setattr(AdaSparse, "_gated", gated)
    TorchEngine(model, fields).logits(rows)
    np.testing.assert_allclose(margins, np.min(seen, axis=0), rtol=1e-3, atol=1e-6)
    assert margins.std() > 0
