"""Names and values of the graphs' inputs."""

from __future__ import annotations

# Missing value of an integer input; also fills up lists.
MISSING_INTEGER = -(2**63)
# Missing value of a text input; also fills up lists. A value of a field is never empty.
MISSING_TEXT = ""
# The input of `domains.onnx` that selects a sub-network.
NUMBER = "domain"
