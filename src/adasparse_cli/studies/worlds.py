"""Studies over several worlds: data sets generated with different values of `data.seed`, such as those of the twin.

The prepared data of a world are named NAME-worldSEED; the world of the given `data.seed` keeps NAME. All other settings of
the data are the same in every world.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adasparse_cli.config.as_words import data_words
from adasparse_cli.config.spelling import word
from adasparse_cli.errors import UsageError
from adasparse_cli.prep.recipe import DataSettings
from adasparse_cli.runs.train_job import TrainJob, plan_seeds
from adasparse_cli.typed import plain


def worlds_of(text: str | None) -> tuple[int, ...]:
    """The values of `--worlds 0,1,2`; empty without the option.

    Raises:
        UsageError: a value is not a whole number, or is repeated.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--worlds {text}: worlds are whole numbers of at least 0", hint="for example --worlds 0,1,2")
    worlds = tuple(map(int, parts))
    if len(set(worlds)) < len(worlds):
        raise UsageError(f"--worlds {text}: a world is named twice", hint="for example --worlds 0,1,2")
    return worlds


def plan_worlds(
    words: Sequence[str], seeds: int, worlds: Sequence[int], *, config_file: Path | None = None
) -> list[TrainJob]:
    """The same job in each world with each seed, in the order of seeds, then worlds.

    Args:
        words: settings as for `train`.
        worlds: values of `data.seed`; empty for one data set.

    Raises:
        UsageError: the data are not generated, or prepared data of a world have other settings.
    """
    own = plan_seeds(words, seeds, config_file=config_file)
    if not worlds:
        return own
    settings = own[0].data.settings
    _require_worlds(words, settings)
    jobs = []
    for world in worlds:
        if world == settings.seed:  # type: ignore[attr-defined]
            jobs.append(own)
            continue
        values = {**plain(settings), "seed": world, "name": f"{settings.name}-world{world}"}
        chosen = data_words(values)
        if chosen is None:
            raise UsageError(
                f"--worlds: the settings of {settings.name} cannot be expressed as key=value",
                hint="prepare each world under a separate name: adasparse prep data.seed=SEED data.name=NAME",
            )
        kept = [one for one in words if not _of_data(one)]
        found = plan_seeds([*chosen, *kept], seeds, config_file=config_file)
        _require_same(values, found[0].data.settings)
        jobs.append(found)
    return [job for turn in zip(*jobs, strict=True) for job in turn]


def _require_worlds(words: Sequence[str], settings: DataSettings) -> None:
    if not hasattr(settings, "seed"):
        raise UsageError(
            f"--worlds needs synthetic data, but {settings.name} (recipe {settings.recipe}) is not synthetic",
            hint="omit --worlds, or use data=twin",
        )
    if any(one.partition("=")[0] == "data.seed" for one in words):
        raise UsageError("--worlds and data.seed exclude each other", hint="omit data.seed")


def _require_same(asked: dict[str, Any], found: DataSettings) -> None:
    """Refuse existing prepared data of a world whose settings differ from those of the study."""
    for key, value in plain(found).items():
        if value != asked.get(key):
            raise UsageError(
                f"the prepared data {found.name} have {word(f'data.{key}', value)}, but this study needs "
                f"{word(f'data.{key}', asked.get(key))} in every world",
                hint="choose another name for the data of this study: data.name=NAME",
            )


def _of_data(one: str) -> bool:
    key = one.partition("=")[0]
    return key == "data" or key.startswith("data.")
