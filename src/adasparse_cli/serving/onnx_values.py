"""What stands for a missing value in a graph's inputs, where JSON has null."""

from __future__ import annotations

# Of an input of integers; fills up lists too.
MISSING_INTEGER = -(2**63)
# Of an input of texts; fills up lists too. A value of a field is never empty.
MISSING_TEXT = ""
