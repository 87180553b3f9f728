"""The arguments of the command, unchanged: what starts the same command in other processes."""

from __future__ import annotations

from collections.abc import Sequence

# In the environment of processes that a launcher starts: when it was started, in seconds since 1970.
LAUNCHED = "ADASPARSE_LAUNCHED"
# In the environment of rank 0: the inherited descriptor of the socket that already listens at MASTER_PORT.
LISTENING = "ADASPARSE_LISTENING"

_words: tuple[str, ...] = ()


def remember(words: Sequence[str]) -> None:
    """Keep the words of this process's command."""
    global _words
    _words = tuple(words)


def typed_without(option: str) -> list[str]:
    """The words without an option and its value."""
    kept, rest = [], iter(_words)
    for word in rest:
        if word == option:
            next(rest, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
