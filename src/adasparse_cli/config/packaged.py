"""The packaged values, as Hydra reads them, and the names that their groups offer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf.basecontainer import BaseContainer

PACKAGE = "adasparse_cli.conf"


@contextlib.contextmanager
def composing() -> Iterator[None]:
    """Hydra with the packaged values and without any resolver: however `${name:…}` is spelled, there is nothing to call."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(PACKAGE, version_base="1.3"):
            resolvers = BaseContainer._resolvers  # no public function lists them
            held = dict(resolvers)
            resolvers.clear()
            try:
                yield
            finally:
                resolvers.update(held)
    finally:
        GlobalHydra.instance().clear()


def choices_in(group: str) -> list[str]:
    """The names that a group of conf/ offers, such as the data sets of `data`."""
    with composing():
        loader = GlobalHydra.instance().config_loader()
        return sorted(name for name in loader.get_group_options(group) if name != "common")
