"""The plain network against the NumPy reference."""

from __future__ import annotations

import numpy as np

from tests import small
from tests.models import reference


def test_logits_equal_the_reference() -> None:
    model = small.model("dnn").double()
    rows = small.rows(30).batch(slice(0, 30))
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    expected = reference.dnn(weights, small.FIELDS, small.BAGS, rows.field_ids.numpy(), layers=2)
    np.testing.assert_allclose(model(rows).logits.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
