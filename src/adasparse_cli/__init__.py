"""Multi-domain click and conversion prediction: AdaSparse and its baselines, from the command line and from Python.

`adasparse --help` lists the commands; `adasparse_cli.api` documents the functions.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adasparse_cli.api import (
        ExportedModel,
        PreparedData,
        Run,
        Study,
        compare,
        list_data,
        list_models,
        list_runs,
        load_artefact,
        load_data,
        load_run,
        load_study,
        prepare,
        sweep,
        train,
    )

__version__ = "0.1.0"
__all__ = [
    "ExportedModel",
    "PreparedData",
    "Run",
    "Study",
    "__version__",
    "compare",
    "list_data",
    "list_models",
    "list_runs",
    "load_artefact",
    "load_data",
    "load_run",
    "load_study",
    "prepare",
    "sweep",
    "train",
]

# What a program that only scores needs.
_WITHOUT_TORCH = ("ExportedModel", "load_artefact")


def __getattr__(name: str) -> Any:
    """The interface is loaded when it is first used, since it loads torch and polars."""
    if name in _WITHOUT_TORCH:
        from adasparse_cli.serving import exported_model

        return getattr(exported_model, name)
    if name in __all__:
        from adasparse_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
