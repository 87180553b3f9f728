"""All training loops by their name on the command line and in conf/loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adasparse_cli.config.settings_source import imported_settings
from adasparse_cli.lazily import LazyClasses
from adasparse_cli.training.settings import LoopSettings

if TYPE_CHECKING:
    from adasparse_cli.training.loop import Loop

LOOPS: LazyClasses[Loop] = LazyClasses(
    "adasparse_cli.training", {"maml": "maml:MamlLoop", "standard": "standard:StandardLoop"}
)


def settings_of_loop(name: str) -> type[LoopSettings]:
    """The `Settings` of a loop, without importing the loop, which loads torch."""
    found: type[LoopSettings] = imported_settings(LOOPS.place(name)[0])
    return found
