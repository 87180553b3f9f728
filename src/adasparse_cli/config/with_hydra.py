"""Composes values with Hydra, and explains what it rejects."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adasparse_cli.config.explain import explained
from adasparse_cli.config.packaged import composing


def composed(
    root: str, words: Sequence[str], own: Mapping[str, Mapping[str, Any]], typed: Sequence[str]
) -> dict[str, Any]:
    """The values of a command.

    Args:
        words: overrides; `++key=value` may add a key. own: values of custom models by name.
        typed: the overrides as the user typed them, for errors.

    Raises:
        UsageError: a key or a choice is unknown, or a value refers to another one (`${…}`).
    """
    for name, values in own.items():
        ConfigStore.instance().store(group="model", name=name, node=dict(values))
    try:
        with composing():
            tree = hydra_compose(root, overrides=list(words))
            return typing.cast("dict[str, Any]", OmegaConf.to_container(tree, resolve=False))
    except (HydraException, OmegaConfBaseException) as error:
        raise explained(error, root, typed) from None
