"""Shapes in signatures are checked while the tests run; at run time they cost nothing."""

import os

import pytest
from jaxtyping import install_import_hook

# workers of a parallel run get the width of the terminal; outputs that are read here are piped, and not folded
os.environ.pop("COLUMNS", None)
if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")
install_import_hook(["adasparse_cli.batches", "adasparse_cli.layers", "adasparse_cli.models"], "beartype.beartype")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="run a small sample of each attack of the fault matrix")
