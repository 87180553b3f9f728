"""Errors that a user can cause or encounter, each with the exit code that scripts can rely on.

Floor 0: imports nothing of the project. Every error has a `message` (what is wrong, and where) and a `hint` (what to do).
`app.py` prints them as two lines, without a traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar


class AdasparseError(Exception):
    """An error that is explained to the user in two lines: the problem and its location, then the remedy."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AdasparseError):
    """The command line or a setting is not valid (exit 2).

    Args:
        parts: the single errors, as (message, hint), if the error lists several.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str, parts: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, hint=hint)
        self.parts = tuple(parts) or ((message, hint),)


class UnknownSettingsError(UsageError):
    """Settings that do not exist are named (exit 2); `known` are the overrides of existing settings."""

    def __init__(
        self, message: str, *, hint: str, known: tuple[str, ...], parts: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, hint=hint, parts=parts)
        self.known = known


def at_once(*steps: Callable[[], Any]) -> list[Any]:
    """The results of independent steps; if several fail, one error lists all.

    Raises:
        UsageError: a step raised one.
    """
    results, errors = [], []
    for step in steps:
        try:
            results.append(step())
        except UsageError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        hints = dict.fromkeys(error.hint for error in errors)
        parts = [part for error in errors for part in error.parts]
        raise UsageError("; ".join(error.message for error in errors), hint="; ".join(hints), parts=parts)
    return results


class DataError(AdasparseError):
    """The data cannot be used: a missing file or column, too many rejected rows (exit 3)."""

    exit_code = 3


class TooManyRejectedError(DataError):
    """More rows were unreadable than allowed; `reasons` counts them by reason."""

    def __init__(self, message: str, *, hint: str, reasons: Mapping[str, int]) -> None:
        super().__init__(message, hint=hint)
        self.reasons = dict(reasons)


class IntegrityError(AdasparseError):
    """A file differs from what was written: wrong checksum, or a checkpoint that does not match (exit 4)."""

    exit_code = 4


class ResourceError(AdasparseError):
    """Not enough disk or memory (exit 5)."""

    exit_code = 5


class LostProcessError(AdasparseError):
    """Another process of the same training ended (exit 8); the launcher ends with the code of that one."""

    exit_code = 8


class DiskFullError(ResourceError):
    """The disk is full. Once there is space, the same command continues. `needed` is the minimum number of bytes."""

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
    """Stopped by the user (130) or by SIGTERM (143), after saving."""

    def __init__(self, message: str, *, hint: str, exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code  # type: ignore[misc]  # the one fault whose code depends on the signal
