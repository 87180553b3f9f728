"""Tools to check a custom model: synthetic rows, and the contract that every model must fulfil."""
