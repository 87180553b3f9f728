"""The faults a person can meet, each with the exit code that scripts may rely on.

Floor 0: imports nothing of the project. Every error carries what went wrong and where (`message`)
and what to do about it (`hint`); `app.py` prints them as two lines, without a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar


class AdasparseError(Exception):
    """A fault that is explained to the person in two lines: what and where, then what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AdasparseError):
    """The words typed, or a setting, cannot be used (exit 2)."""

    exit_code = 2


class UnknownSettingsError(UsageError):
    """Settings are named that do not exist (exit 2); `known` are the words that name others."""

    def __init__(self, message: str, *, hint: str, known: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint)
        self.known = known


def at_once(*steps: Callable[[], Any]) -> list[Any]:
    """What steps return that do not need one another; where several fail, one error names all faults.

    Raises:
        UsageError: a step raised one.
    """
    results, faults = [], []
    for step in steps:
        try:
            results.append(step())
        except UsageError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        hints = dict.fromkeys(error.hint for error in faults)
        raise UsageError("; ".join(error.message for error in faults), hint="; ".join(hints))
    return results


class DataError(AdasparseError):
    """The data cannot be used: a missing file or column, too many rejected rows (exit 3)."""

    exit_code = 3


class TooManyRejectedError(DataError):
    """More rows were unreadable than is allowed; `reasons` counts them by reason."""

    def __init__(self, message: str, *, hint: str, reasons: Mapping[str, int]) -> None:
        super().__init__(message, hint=hint)
        self.reasons = dict(reasons)


class IntegrityError(AdasparseError):
    """A file is not what was written: a checksum differs, a checkpoint does not fit (exit 4)."""

    exit_code = 4


class ResourceError(AdasparseError):
    """Not enough disk or memory (exit 5)."""

    exit_code = 5


class LostProcessError(ResourceError):
    """Another process of the same training ended."""


class DiskFullError(ResourceError):
    """The disk has no room; once it has, the same command continues. `needed` is the least number of bytes."""

    def __init__(self, message: str, *, hint: str, needed: int) -> None:
        super().__init__(message, hint=hint)
        self.needed = needed


class BusyError(AdasparseError):
    """Another process holds the folder (exit 6)."""

    exit_code = 6


class NumericError(AdasparseError):
    """A loss or a gradient is not finite (exit 7)."""

    exit_code = 7


class InterruptedRun(AdasparseError):  # noqa: N818  # an interrupt is no error
    """Stopped by the person (130) or by SIGTERM (143), after saving."""

    def __init__(self, message: str, *, hint: str, exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code  # type: ignore[misc]  # the one fault whose code depends on the signal
