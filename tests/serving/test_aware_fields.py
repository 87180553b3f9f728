"""Domain-aware fields that are not of the domain: sub-networks are cut out when they are needed, and are as exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adasparse_cli.errors import UsageError
from adasparse_cli.exporting.write import write_artefact
from adasparse_cli.numpy_engine.engine import CUT_FROM
from adasparse_cli.serving.artefact import SUB_NETWORKS, open_artefact
from adasparse_cli.serving.check import golden_rows, run_check
from adasparse_cli.serving.torch_engine import torch_engine
from tests.serving import made


@pytest.mark.parametrize("aware", ["[country,device,tags]", "[item]", "[country,price]"])
def test_lists_and_other_fields_may_tell_the_domain(tmp_path: Path, aware: str) -> None:
    data = made.prepare(tmp_path, f"data.domain_aware={aware}")
    _, source = made.random_model(data)
    report = write_artefact(source, tmp_path / "model", None, graph=True)
    assert report.refused is None
    assert not report.domains
    assert not (tmp_path / "model" / SUB_NETWORKS).exists()
    checked = run_check(tmp_path / "model")
    assert [one.engine for one in checked if one.skipped is None] == ["torch", "numpy", "onnx"]
    artefact = open_artefact(tmp_path / "model")
    columns, _ = golden_rows(artefact)
    # a row repeated often enough to be cut out, among others that are not
    often = {name: [values[0]] * (2 * CUT_FROM) + values for name, values in columns.items()}
    rows, faults = artefact.encoder.encode(often)
    assert not faults
    engine = artefact.numpy_engine()
    np.testing.assert_allclose(engine.logits(rows), torch_engine(artefact).logits(rows), rtol=1e-5, atol=1e-5)
    own = engine.sub_network(rows.take(slice(0, 1)))
    assert own.multiply_adds() < engine.network.multiply_adds()
    again = artefact.numpy_engine().logits(rows.take(slice(0, 1)))
    np.testing.assert_allclose(engine.logits(rows)[:1], again, atol=2e-6)
    with pytest.raises(UsageError, match="a domain does not tell its sub-network"):
        write_artefact(source, tmp_path / "other", ["all"])
