"""Checks a model, by its name, against the contract of models."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from adasparse_cli.choices import Normalisation
from adasparse_cli.config.compose import compose
from adasparse_cli.foreign import imported_files
from adasparse_cli.models.base import Model, NetworkSettings
from adasparse_cli.models.named import model_named
from adasparse_cli.testing.contract import CHECKS, OF_PACKAGED, BrokenContractError, Make, NotApplicableError
from adasparse_cli.testing.sample import SHAPE
from adasparse_cli.typed import typed


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """A check, the problem (None if the check passes), and whether it applies to the model."""

    check: str
    broken: str | None = None
    applies: bool = True


def maker(words: Sequence[str], check: str) -> Make:
    """Builds the model that overrides choose for a check, on synthetic fields, always with the same weights.

    Most checks use a small network, hidden [16, 8] and embeddings with sd 0.5; checks in `OF_PACKAGED` use the packaged one.

    Raises:
        UsageError: the overrides choose no model.
    """
    tree = compose("train", words)
    model_class: Any = model_named(str(tree["model"]["name"]))
    settings = typed(tree["model"], model_class.Settings, "model")
    context = {**tree["network"]["context"], "width": 4, "std": 0.5}
    small = {"hidden": [16, 8], "embedding_width": 4, "embedding_std": 0.5, "context": context}
    packaged = check in OF_PACKAGED
    network = tree["network"] if packaged else {**tree["network"], **small}

    def make(normalisation: Normalisation) -> Model:
        torch.manual_seed(1)
        own = typed(
            network if packaged else {**network, "normalisation": str(normalisation)}, NetworkSettings, "network"
        )
        model: Model = model_class(settings, own, SHAPE)
        model.schedule(0.5)
        return model

    return make


def check_model(words: Sequence[str]) -> list[CheckResult]:
    """Run every check of the contract for the model that overrides such as `model=my_package.my_model:MyModel` choose.

    A failed check does not stop the others.
    """
    return [check_one(words, name) for name in CHECKS]


def check_one(words: Sequence[str], check: str) -> CheckResult:
    """Run one check of the contract, by its name in `CHECKS`."""
    return _result(check, maker(words, check))


def _result(name: str, make: Make) -> CheckResult:
    try:
        CHECKS[name](make)
    except NotApplicableError:
        return CheckResult(check=name, applies=False)
    except BrokenContractError as broken:
        return CheckResult(check=name, broken=str(broken))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        # the last line in the author's code is more helpful than the line of torch that failed
        own = [frame for frame in frames if frame.filename in imported_files().values()]
        where = (own or frames)[-1]
        return CheckResult(check=name, broken=f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    return CheckResult(check=name)
