"""Shapes in signatures are checked while the tests run; at run time they cost nothing."""

import pytest
from jaxtyping import install_import_hook

install_import_hook(["adasparse_cli.batches", "adasparse_cli.layers", "adasparse_cli.models"], "beartype.beartype")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="run a small sample of each attack of the fault matrix")
