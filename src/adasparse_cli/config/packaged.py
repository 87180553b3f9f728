"""The packaged values, as Hydra reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hydra import initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf.basecontainer import BaseContainer

from adasparse_cli.config.private import private_folder

PACKAGE = "adasparse_cli.conf"


class _PrivateFolder(SearchPathPlugin):
    """Makes Hydra search the user's settings folder after the packaged one."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folder = private_folder()
        if folder is not None:
            search_path.append("adasparse", f"file://{folder}")


Plugins.instance().register(_PrivateFolder)


@contextlib.contextmanager
def composing() -> Iterator[None]:
    """Hydra with the packaged values and without resolvers: whatever the spelling of `${name:…}`, nothing can be called."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(PACKAGE, version_base="1.3"):
            resolvers = BaseContainer._resolvers  # there is no public function to list them
            held = dict(resolvers)
            resolvers.clear()
            try:
                yield
            finally:
                resolvers.update(held)
    finally:
        GlobalHydra.instance().clear()
