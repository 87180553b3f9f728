"""Custom models as choices of `model=`. Their values are in a YAML file next to their module."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adasparse_cli.config.grammar import override_values
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import read_small_text
from adasparse_cli.foreign import foreign_model, import_model
from adasparse_cli.typed import from_yaml


def own_models(words: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The values of each custom model that `model=NAME` names.

    Raises:
        UsageError: the module cannot be imported, or has no YAML file next to it.
    """
    names = [override_values([word])["model"] for word in words if word.startswith("model=")]
    return {
        name: own_model_values(name)
        for name in names
        if isinstance(name, str) and name not in offered("model") and foreign_model(name) is not None
    }


def own_model_values(name: str) -> dict[str, Any]:
    """The values of a custom model, from the YAML file with the module's name next to the module.

    Raises:
        UsageError: the file does not exist, or contains no settings.
    """
    foreign = foreign_model(name)
    assert foreign is not None
    module = import_model(name, foreign)
    path = Path(module.__file__ or foreign.module).with_suffix(".yaml")
    try:
        values = from_yaml(read_small_text(path))
    except FileNotFoundError:
        raise UsageError(
            f"model={name}: {path} does not exist; it must hold the model's values",
            hint="adasparse models new NAME writes a model to start from",
        ) from None
    except (IntegrityError, ValueError) as error:
        said = getattr(error, "message", str(error))
        raise UsageError(f"model={name}: {path} cannot be used: {said}", hint="it must have key: value lines") from None
    return {**values, "name": name}
