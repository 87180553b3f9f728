"""Studies over several worlds of a data set that is generated from `data.seed`, such as the twin.

Each world has prepared data of its own, named NAME-worldSEED; the world of the data's own seed keeps their name. All other
settings of the data are the same in every world.
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
    """The seeds that `--worlds 0,1,2` names; empty without it.

    Raises:
        UsageError: it names no seeds, or one twice.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--worlds {text}: worlds are whole numbers from 0 on", hint="such as --worlds 0,1,2")
    worlds = tuple(map(int, parts))
    if len(set(worlds)) < len(worlds):
        raise UsageError(f"--worlds {text}: a world is named twice", hint="such as --worlds 0,1,2")
    return worlds


def plan_worlds(
    words: Sequence[str], seeds: int, worlds: Sequence[int], *, config_file: Path | None = None
) -> list[TrainJob]:
    """The same job in each world with each seed: all worlds of the first seed before the next.

    Args:
        words: as for `train`. worlds: values of `data.seed`; empty for the data as they are.

    Raises:
        UsageError: the data are not generated, or prepared data of that name are of another kind.
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
                f"--worlds: the settings of {settings.name} cannot be written as overrides",
                hint="prepare each world under a name of its own with adasparse prep data.seed=…",
            )
        kept = [one for one in words if not _of_data(one)]
        found = plan_seeds([*chosen, *kept], seeds, config_file=config_file)
        _require_same(values, found[0].data.settings)
        jobs.append(found)
    return [job for turn in zip(*jobs, strict=True) for job in turn]


def _require_worlds(words: Sequence[str], settings: DataSettings) -> None:
    if not hasattr(settings, "seed"):
        raise UsageError(
            f"--worlds draws worlds by data.seed, and {settings.name} (recipe {settings.recipe}) is not synthetic",
            hint="leave --worlds out, or use data=twin",
        )
    if any(one.partition("=")[0] == "data.seed" for one in words):
        raise UsageError("--worlds sets data.seed, and the command sets it too", hint="leave data.seed out")


def _require_same(asked: dict[str, Any], found: DataSettings) -> None:
    """Prepared data of a world's name keep their settings, which must be those of the other worlds."""
    for key, value in plain(found).items():
        if value != asked.get(key):
            raise UsageError(
                f"the prepared data {found.name} have {word(f'data.{key}', value)}, and this study needs "
                f"{word(f'data.{key}', asked.get(key))} in every world",
                hint="data.name=NAME gives the worlds of this study other names",
            )


def _of_data(one: str) -> bool:
    key = one.partition("=")[0]
    return key == "data" or key.startswith("data.")
