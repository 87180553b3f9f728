"""The notebook runs from its first cell to its last, and its figures hold what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not [cell for cell in cells if cell.get("outputs")], "outputs are not kept in the repository"
    names: dict[str, Any] = {}
    figures = []
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
            figures.append(names.pop("figure", None))
    drawn = [figure for figure in figures if isinstance(figure, go.Figure)]
    assert len(drawn) == 3
    assert len(drawn[0].data[0].y) == names["data"].domains.height
    assert len(drawn[1].data[0].z[0]) == 16  # the neurons of the last hidden layer
    assert list(drawn[2].data[0].y) == ["adasparse"]
    assert names["study"].table["gauc_domain_real"].dtype in (pl.Boolean, pl.Null)
    assert names["exported"].domains.height > 10
    found = names["exported"].predict(names["raw"].head(50))["logit"]
    np.testing.assert_allclose(found, names["adasparse"].predict(names["raw"].head(50))["logit"], atol=1e-5)
