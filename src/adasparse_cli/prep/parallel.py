"""Processes several blocks in parallel, with results in the blocks' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_order(work: Callable[..., T], items: Iterable[tuple[Any, ...]], *, workers: int = 2) -> Iterator[T]:
    """Process some items ahead of the one that is needed, and yield the results in the items' order.

    Parsing releases Python's lock for most of its time, so two blocks at once keep two cores busy.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[T]] = deque()
        for item in items:
            waiting.append(pool.submit(work, *item))
            # one more than the number of workers, so that no worker waits while the results are used
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
