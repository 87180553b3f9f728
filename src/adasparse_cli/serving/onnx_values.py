"""Names and values of the graphs' inputs."""

from __future__ import annotations

# Of an input of integers; fills up lists too.
MISSING_INTEGER = -(2**63)
# Of an input of texts; fills up lists too. A value of a field is never empty.
MISSING_TEXT = ""
# The input of `domains.onnx` that chooses a sub-network.
NUMBER = "domain"
