"""Shapes in signatures are checked while the tests run; at run time they cost nothing."""

import atexit
import os
import shutil
import tempfile

import pytest
from jaxtyping import install_import_hook

# workers of a parallel run get the width of the terminal; outputs that are read here are piped, and not folded
os.environ.pop("COLUMNS", None)
if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# what commands keep in the user's cache folder is of this test run alone
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="adasparse-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
install_import_hook(["adasparse_cli.batches", "adasparse_cli.layers", "adasparse_cli.models"], "beartype.beartype")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="run a small sample of each attack of the fault matrix")
