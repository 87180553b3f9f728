"""Latency and throughput of `adasparse serve`, and whether anything is lost when it stops.

    python benchmarks/serving_load.py DIR [--seconds N]

DIR is an exported model. 1, 8 and 64 clients with a connection each send golden rows one request after the other; then
SIGTERM arrives while they go on. Clients run on the same cores as the server.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import common
import numpy as np

from adasparse_cli.serving.artefact import open_artefact
from adasparse_cli.serving.check import golden_rows

CLIENTS, ROWS = (1, 8, 64), (1, 64)


@dataclass
class Seen:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    busy: int = 0
    lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def started(folder: Path) -> tuple[subprocess.Popen[str], int]:
    words = [sys.executable, "-m", "adasparse_cli", "serve", str(folder), "--port", "0", "--most-waiting", "128"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    return process, int(process.stderr.readline().split("127.0.0.1:")[1].split("/")[0])


def client(port: int, bodies: list[bytes], seen: Seen, stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    turn = 0
    while not stop.is_set():
        turn += 1
        begun, sent = time.perf_counter(), False
        try:
            connection.request("POST", "/predict", bodies[turn % len(bodies)], {"content-type": "application/json"})
            sent = True
            response = connection.getresponse()
            response.read()
        except (http.client.RemoteDisconnected, ConnectionError):
            # a kept connection that the server closed before it took the request; whatever it took is counted there
            seen.lost += sent and not stop.is_set()
            return
        with seen.lock:
            seen.busy += response.status == 503
            if response.status == 200:
                seen.seconds.append(time.perf_counter() - begun)
    connection.close()


def loaded(
    port: int, bodies: list[bytes], clients: int, seconds: float, process: subprocess.Popen[str] | None = None
) -> Seen:
    """Clients for some seconds; at their end SIGTERM, if there is a process, while they are still sending."""
    seen, stop = Seen(), threading.Event()
    threads = [threading.Thread(target=client, args=(port, bodies, seen, stop)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    if process is not None:
        process.send_signal(signal.SIGTERM)
        time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    return seen


def main() -> None:
    words = sys.argv[1:]
    seconds = float(words[words.index("--seconds") + 1]) if "--seconds" in words else 8.0
    folder = Path(words[0])
    columns, _ = golden_rows(open_artefact(folder))
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    print(f"{common.machine()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, engine numpy")
    print(
        "| rows a request | clients | p50 ms | p99 ms | requests/s | rows/s | 503 |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    process, port = started(folder)
    answered = 0
    for size in ROWS:
        draw = np.random.default_rng(0)
        bodies = [
            json.dumps({"rows": [rows[int(k)] for k in draw.integers(0, len(rows), size)]}).encode() for _ in range(200)
        ]
        for clients in CLIENTS:
            seen = loaded(port, bodies, clients, seconds)
            answered += len(seen.seconds) * size
            p50, p99 = (float(np.percentile(seen.seconds, q)) * 1e3 for q in (50, 99))
            rate = len(seen.seconds) / seconds
            print(f"| {size} | {clients} | {p50:.1f} | {p99:.1f} | {rate:,.0f} | {rate * size:,.0f} | {seen.busy} |")
    bodies = [json.dumps({"rows": rows[:64]}).encode()]
    seen = loaded(port, bodies, 8, 1.0, process)
    answered += len(seen.seconds) * 64
    output, errors = process.communicate(timeout=60)
    scored = int(output.split()[0].replace(",", ""))
    print(
        f"stopped under load with exit code {process.returncode}: {scored:,} rows scored there, {answered:,} answers arrived"
        f"{errors and ' ' + errors}"
    )


if __name__ == "__main__":
    main()
