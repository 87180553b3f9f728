"""Latency and throughput of `adasparse serve`, and whether anything is lost when it stops.

    python benchmarks/serving_load.py DIR [--seconds N]

DIR is an exported model. 1, 8 and 64 clients with a connection each send golden rows one request after the other, as JSON and as
Arrow batches in turns; then SIGTERM arrives while they go on. Clients run on the same cores as the server. The server's own
processor time per request does not depend on what else runs.
"""

from __future__ import annotations

import http.client
import io
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
import polars as pl

from adasparse_cli.server.formats import ArrowFormat, JsonFormat
from adasparse_cli.serving.artefact import open_artefact
from adasparse_cli.serving.check import golden_rows

CLIENTS, ROWS, TURNS = (1, 8, 64), (1, 64, 1024), 3
JSON, ARROW = JsonFormat.media_type, ArrowFormat.media_type


@dataclass
class Seen:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    processor: float = 0.0
    busy: int = 0
    lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def started(folder: Path) -> tuple[subprocess.Popen[str], int]:
    words = [sys.executable, "-m", "adasparse_cli", "serve", str(folder), "--port", "0", "--most-waiting", "128"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "127.0.0.1:" in line, line
    return process, int(line.split("127.0.0.1:")[1].split("/")[0])


def client(port: int, bodies: list[bytes], kind: str, seen: Seen, stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    turn = 0
    while not stop.is_set():
        turn += 1
        begun, sent = time.perf_counter(), False
        try:
            connection.request("POST", "/predict", bodies[turn % len(bodies)], {"content-type": kind})
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


def processor_seconds(process: subprocess.Popen[str]) -> float:
    """What a process has used, in user and kernel mode."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stream_of(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_ipc_stream(file)
    return file.getvalue()


def loaded(
    port: int,
    bodies: list[bytes],
    kind: str,
    clients: int,
    seconds: float,
    process: subprocess.Popen[str] | None = None,
) -> Seen:
    """Clients for some seconds; at their end SIGTERM, if there is a process, while they are still sending."""
    seen, stop = Seen(), threading.Event()
    threads = [threading.Thread(target=client, args=(port, bodies, kind, seen, stop)) for _ in range(clients)]
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
    frame = pl.DataFrame(columns, strict=False)
    print(f"{common.machine()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, engine numpy")
    print(
        "| rows a request | clients | format | p50 ms | p99 ms | rows/s | server's ms of processor a request | 503 |\n|"
        + " --- |" * 8
    )
    process, port = started(folder)
    answered = 0
    for size in ROWS:
        draw = np.random.default_rng(0)
        chosen = [draw.integers(0, len(rows), size).tolist() for _ in range(50)]
        bodies = {
            JSON: [json.dumps({"rows": [rows[k] for k in own]}).encode() for own in chosen],
            ARROW: [stream_of(frame[own]) for own in chosen],
        }
        for clients in CLIENTS:
            seen: dict[str, Seen] = {JSON: Seen(), ARROW: Seen()}
            for _ in range(TURNS):
                for kind, own in bodies.items():
                    before = processor_seconds(process)
                    found = loaded(port, own, kind, clients, seconds / TURNS)
                    seen[kind].processor += processor_seconds(process) - before
                    seen[kind].seconds += found.seconds
                    seen[kind].busy += found.busy
            for kind, one in seen.items():
                answered += len(one.seconds) * size
                p50, p99 = (float(np.percentile(one.seconds, q)) * 1e3 for q in (50, 99))
                rate = len(one.seconds) / seconds
                name = "JSON" if kind == JSON else "Arrow"
                print(
                    f"| {size:,} | {clients} | {name} | {p50:.1f} | {p99:.1f} | {rate * size:,.0f} | "
                    f"{one.processor / len(one.seconds) * 1e3:.2f} | {one.busy} |"
                )
    last = [json.dumps({"rows": rows[:64]}).encode()]
    answered += len(loaded(port, last, JSON, 8, 1.0, process).seconds) * 64
    output, errors = process.communicate(timeout=60)
    scored = int(output.split()[0].replace(",", ""))
    print(
        f"stopped under load with exit code {process.returncode}: {scored:,} rows scored there, {answered:,} answers arrived"
        f"{errors and ' ' + errors}"
    )


if __name__ == "__main__":
    main()
