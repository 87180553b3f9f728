"""Shapes in signatures are checked in the tests of layers and models; at run time they cost nothing.

Checking doubles the time of a training step, so tests that train for long run without it.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest
from jaxtyping import config, install_import_hook

# workers of a parallel run get the width of the terminal; outputs that are read here are piped, and not folded
os.environ.pop("COLUMNS", None)
if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# what commands keep in the user's cache folder is of this test run alone
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="adasparse-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
install_import_hook(["adasparse_cli.batches", "adasparse_cli.layers", "adasparse_cli.models"], "beartype.beartype")
config.update("jaxtyping_disable", True)
# an example may take long on a busy machine; that is not a fault
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


@contextlib.contextmanager
def checked_shapes(checked: bool = True) -> Iterator[None]:
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", not checked)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True)
def shapes(request: pytest.FixtureRequest) -> Iterator[None]:
    with checked_shapes(request.path.parent.name in ("layers", "models")):
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="run a small sample of each attack of the fault matrix")
