"""Finds the class of a model by its name: one of `MODELS`, or a custom model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adasparse_cli.choices import nearest
from adasparse_cli.config.settings_source import imported_settings
from adasparse_cli.errors import UsageError
from adasparse_cli.files import sha256_of
from adasparse_cli.foreign import foreign_model, import_model
from adasparse_cli.lazily import LazyClasses
from adasparse_cli.models import MODELS, TREE_MODELS

if TYPE_CHECKING:
    from adasparse_cli.models.base import Model

PACKAGED: LazyClasses[Model] = MODELS.with_others(TREE_MODELS)
FORM = "for example star, or my_package.my_model:MyModel for your own model"


def model_named(name: str) -> type[Model]:
    """The class that `model=NAME` means.

    Raises:
        UsageError: there is none, or it is not a model.
    """
    if name in PACKAGED:
        return PACKAGED[name]
    foreign = foreign_model(name)
    if foreign is None:
        close = nearest(name, PACKAGED)
        lead = f"did you mean {close}? " if close else ""
        raise UsageError(
            f"unknown model {name} (model.name)", hint=f"{lead}the models are {', '.join(sorted(PACKAGED))}"
        )
    from adasparse_cli.models.base import Model

    found = getattr(import_model(name, foreign), foreign.attribute, None)
    if not isinstance(found, type) or not issubclass(found, Model):
        raise UsageError(
            f"model={name}: {foreign.attribute} of {foreign.module} is not a class derived from adasparse_cli.models.base.Model",
            hint=FORM,
        )
    settings = getattr(found, "Settings", None)
    if not dataclasses.is_dataclass(settings) or "name" not in settings.__dataclass_fields__:
        raise UsageError(
            f"model={name}: the class has no Settings, a dataclass with a field `name`",
            hint="adasparse models new NAME writes a model to start from",
        )
    return found


def settings_of_model(name: str) -> type[Any]:
    """The `Settings` of the class that `model=NAME` means. A packaged model is not imported, because that would load torch.

    Raises:
        UsageError: as for `model_named`.
    """
    found: type[Any] = imported_settings(PACKAGED.place(name)[0]) if name in PACKAGED else model_named(name).Settings
    return found


def source_of(name: str) -> str | None:
    """The sha256 of the module of a custom model; None for a packaged model.

    A run stores it: with another source, the same settings are a different model.
    """
    foreign = None if name in PACKAGED else foreign_model(name)
    return None if foreign is None else sha256_of(Path(import_model(name, foreign).__file__ or ""))


def label_of(name: str) -> str:
    """A model's name in paths and tables."""
    return name.replace(":", ".")
