"""Scores requests one after the other, with a limit on waiting requests; independent of HTTP."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from adasparse_cli.numpy_engine.dense import sigmoid
from adasparse_cli.server.formats import Format, Scores, WrongRequestError
from adasparse_cli.serving.artefact import Artefact
from adasparse_cli.serving.check import Engine

# Upper bounds of the latency histogram, seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class FullError(Exception):
    """The maximum number of requests is waiting."""


@dataclass(frozen=True)
class Answer:
    """The body of an answer, and its number of rows."""

    body: bytes
    rows: int


@dataclass
class Counts:
    """Counts of requests since the start."""

    requests: Counter[int] = field(default_factory=Counter)  # by status
    rows: int = 0
    seconds: float = 0.0
    by_bound: Counter[float] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: int, rows: int, seconds: float) -> None:
        """Count an answered request."""
        with self._lock:
            self.requests[status] += 1
            self.rows += rows
            self.seconds += seconds
            self.by_bound[next((bound for bound in BOUNDS if seconds <= bound), float("inf"))] += 1

    def text(self, waiting: int) -> str:
        """The counts in the text format of Prometheus."""
        with self._lock:
            requests, by_bound, rows, seconds = dict(self.requests), dict(self.by_bound), self.rows, self.seconds
        lines = ["# TYPE adasparse_requests_total counter"]
        lines += [
            f'adasparse_requests_total{{status="{status}"}} {count}' for status, count in sorted(requests.items())
        ]
        lines += ["# TYPE adasparse_rows_total counter", f"adasparse_rows_total {rows}"]
        lines += ["# TYPE adasparse_waiting_requests gauge", f"adasparse_waiting_requests {waiting}"]
        lines.append("# TYPE adasparse_request_seconds histogram")
        total = 0
        for bound in (*BOUNDS, float("inf")):
            total += by_bound.get(bound, 0)
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'adasparse_request_seconds_bucket{{le="{name}"}} {total}')
        lines += [f"adasparse_request_seconds_sum {seconds:.6f}", f"adasparse_request_seconds_count {total}"]
        return "\n".join(lines) + "\n"


class Service:
    """An exported model that answers requests.

    Args:
        most_waiting: largest number of requests that are waiting or being scored.
        most_rows: largest number of rows in a request.
    """

    def __init__(self, artefact: Artefact, engine: Engine, *, most_waiting: int, most_rows: int) -> None:
        self.artefact, self.engine = artefact, engine
        self.most_waiting, self.most_rows = most_waiting, most_rows
        self.counts = Counts()
        self.started = time.time()
        self._encoder = artefact.encoder
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Number of requests that are waiting or being scored."""
        return self._waiting

    def submit(self, body: bytes, form: Format) -> Future[Answer]:
        """Score a request after the ones before it.

        Raises:
            FullError: `most_waiting` requests are waiting.
        """
        with self._lock:
            if self._waiting >= self.most_waiting:
                raise FullError
            self._waiting += 1
        try:
            future = self._worker.submit(self.answer, body, form)
        except BaseException:
            self._done(None)
            raise
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        with self._lock:
            self._waiting -= 1

    def close(self) -> None:
        """Finish the waiting requests."""
        self._worker.shutdown(wait=True)

    def answer(self, body: bytes, form: Format) -> Answer:
        """The scores of a request in its format.

        Raises:
            WrongRequestError: the body does not have this format, or a value cannot be used.
        """
        encoded, faults = self._encoder.encode(form.columns(body, self._encoder.inputs, self.most_rows))
        if faults:
            first = faults[0]
            raise WrongRequestError(
                f"row {first.place}: {first.column} {first.reason}", row=first.place, column=first.column
            )
        logits = self.engine.logits(encoded)
        if not np.isfinite(logits).all():
            raise RuntimeError("a score is not finite")
        scores = Scores(
            run=self.artefact.index["run"],
            logits=logits,
            probabilities=sigmoid(logits.astype(np.float64)),
            domains=[self._encoder.name_of(domain) for domain in encoded.domains.tolist()],
            seen=encoded.domains < self.artefact.index["domain"]["num_domains"],
        )
        return Answer(form.answer(scores), len(encoded))
