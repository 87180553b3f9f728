"""`adasparse serve` over real HTTP, in a process of its own."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from adasparse_cli.exporting.write import write_artefact
from adasparse_cli.server.formats import FORMATS
from adasparse_cli.server.service import FullError, Service
from adasparse_cli.serving.artefact import open_artefact
from adasparse_cli.serving.check import golden_rows
from tests.commands.typing_in import ENVIRONMENT, adasparse
from tests.serving import made

ARROW = "application/vnd.apache.arrow.stream"
ROW = {"country": "DE", "device": "mobile", "item": "1", "price": 2.5, "tags": ["t1", "t2"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    _, source = made.random_model(made.prepare(folder))
    write_artefact(source, folder / "model", None)
    return folder / "model"


@dataclass
class Server:
    process: subprocess.Popen[str]
    port: int

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, sent, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        kind = response.headers.get("content-type", "")
        return response.status, json.loads(text) if "json" in kind else text, dict(response.headers.items())

    def arrow(self, body: bytes, **headers: str) -> tuple[int, Any]:
        """The answer to a stream: a frame, or the error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/predict", body, {"content-type": ARROW, **headers})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status != 200:
            return response.status, json.loads(content)["error"]
        assert response.headers["content-type"] == ARROW
        return 200, pl.read_ipc_stream(io.BytesIO(content))

    def predict(self, rows: list[Any]) -> tuple[int, Any, dict[str, str]]:
        return self.ask("POST", "/predict", {"rows": rows})


def started(model: Path, *words: str) -> Server:
    command = [sys.executable, "-m", "adasparse_cli", "serve", str(model), "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "http://127.0.0.1:" in line, line + process.stderr.read()
    return Server(process, int(line.split("127.0.0.1:")[1].split("/")[0]))


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    found = started(model, "--most-rows", "1000", "--most-bytes", "300000")
    yield found
    found.process.send_signal(signal.SIGTERM)
    output, errors = found.process.communicate(timeout=30)
    assert found.process.returncode == 0, errors
    assert "rows scored in" in output
    assert "Traceback" not in errors


def test_golden_rows_are_answered_with_their_scores(server: Server, model: Path) -> None:
    columns, expected = golden_rows(open_artefact(model))
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    status, found, _ = server.predict(rows)
    assert status == 200
    assert [one["logit"] for one in found["predictions"]] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert all(0 < one["probability"] < 1 for one in found["predictions"])
    domains = {one["domain"]: one["domain_seen_in_training"] for one in found["predictions"]}
    assert domains["DE/mobile"] is True
    assert domains[None] is False
    for row, logit in list(zip(rows, expected, strict=True))[:3]:  # alone, as in a batch
        assert server.predict([row])[1]["predictions"][0]["logit"] == pytest.approx(logit, rel=1e-5, abs=1e-5)
    assert server.predict([])[1]["predictions"] == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"rows": [ROW, {**ROW, "price": "cheap"}]}, "row 1: price is 'cheap', a finite number is needed"),
        ({"rows": [{key: ROW[key] for key in ROW if key != "item"}]}, "row 0 lacks the field item"),
        ({"rows": [ROW, 3]}, "row 1 is not an object"),
        ({"rows": {"a": 1}}, "a list of rows"),
        ([ROW], "a list of rows"),
        (b"{", "the body is not JSON"),
        (b'{"rows": [{"price": NaN}]}', "NaN is not a number"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        ({"rows": [ROW] * 1001}, "1,001 rows in one request"),
        (b'{"rows": [{"price": 1, "price": 2}]}', "row 0 has the key 'price' twice"),
    ],
)
def test_a_wrong_request_is_named(server: Server, body: Any, message: str) -> None:
    status, found, _ = server.ask("POST", "/predict", body)
    assert status == 422
    assert message in found["error"]
    assert server.predict([ROW])[0] == 200


def stream(rows: pl.DataFrame, **words: Any) -> bytes:
    file = io.BytesIO()
    rows.write_ipc_stream(file, **words)
    return file.getvalue()


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    kinds = {
        "item": pl.String,
        "country": pl.String,
        "device": pl.String,
        "price": pl.Float64,
        "tags": pl.List(pl.String),
    }
    return pl.DataFrame({name: pl.Series([row[name] for row in rows], dtype=kind) for name, kind in kinds.items()})


def test_arrow_batches_have_the_answers_of_json_to_the_bit(server: Server, model: Path) -> None:
    columns, _ = golden_rows(open_artefact(model))
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    expected = server.predict(rows)[1]
    frame = frame_of(rows)
    others = frame.with_columns(when=pl.lit("2026-01-01").str.to_date(), kind=pl.struct("item")).select(
        "when", "tags", "kind", "price", "item", "device", "country"
    )
    texts = frame.with_columns(pl.col("country", "device").cast(pl.Categorical), pl.col("tags").list.join("|"))
    texts = texts.with_columns(tags=pl.when(frame["tags"].is_not_null()).then("tags"))
    oldest = io.BytesIO()
    frame.write_ipc_stream(oldest, compat_level=pl.CompatLevel.oldest())
    for body in (stream(frame), stream(others), stream(texts), oldest.getvalue()):
        status, found = server.arrow(body)
        assert status == 200
        assert found.columns == list(expected["predictions"][0])
        assert found.to_dicts() == expected["predictions"]
    assert server.arrow(stream(frame.clear()))[1].height == 0
    for place in (0, 1, len(rows) - 1):  # alone, as JSON alone
        assert server.arrow(stream(frame[place]))[1].to_dicts() == server.predict([rows[place]])[1]["predictions"]
    raw = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    raw.request("POST", "/predict", stream(frame), {"content-type": ARROW})
    content = raw.getresponse().read()
    raw.close()
    assert json.dumps(expected["model"]).encode() in content  # the run, in the schema's metadata


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (frame_of([ROW, {**ROW, "price": float("nan")}]), "row 1: price is nan, a finite number is needed"),
        (frame_of([ROW]).drop("item"), "lacks the column item; null is a missing value"),
        (frame_of([ROW]).with_columns(price=pl.lit("cheap")), "row 0: price is 'cheap', a finite number is needed"),
        (frame_of([ROW]).with_columns(item=pl.lit(1.5)), "row 0: item is 1.5, a text is needed"),
        (frame_of([ROW]).with_columns(tags=pl.lit(7)), "row 0: tags is 7, a list is needed"),
        (frame_of([ROW]).with_columns(item=pl.lit("2026-01-01").str.to_date()), "item has the type Date"),
        (frame_of([ROW] * 1001), "1,001 rows in one request"),
    ],
)
def test_a_wrong_stream_is_named(server: Server, frame: pl.DataFrame, message: str) -> None:
    status, said = server.arrow(stream(frame))
    assert status == 422
    assert message in said
    assert server.arrow(stream(frame_of([ROW])))[0] == 200


def test_damaged_and_packed_streams_are_named(server: Server) -> None:
    body = stream(frame_of([ROW] * 3))
    for damaged in (b"", b"PAR1", body[:-8], body[: len(body) // 2], body[::-1], json.dumps({"rows": [ROW]}).encode()):
        status, said = server.arrow(damaged)
        assert status == 422
        assert "is not a stream of Arrow record batches" in said
    assert "compressed with Zstandard" in server.arrow(stream(frame_of([ROW] * 3), compression="zstd"))[1]
    assert server.arrow(body, **{"content-encoding": "gzip"}) == (
        415,
        "the content encoding is gzip; send the body without compression",
    )
    assert server.arrow(body + bytes(300_000))[0] == 413
    assert ARROW in server.ask("GET", "/signature")[1]["content_types"]


def test_what_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    assert server.ask("POST", "/predict", b" " * 300_001)[0] == 413
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    chunks = (b"x" * 10_000 for _ in range(40))
    connection.request("POST", "/predict", chunks, {"content-type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_other_paths_and_types_are_refused(server: Server) -> None:
    assert server.ask("GET", "/")[0] == 404
    assert server.ask("GET", "/predict")[0] == 405
    assert server.ask("POST", "/predict", b"a,b", **{"content-type": "text/csv"})[0] == 415


def test_health_signature_and_metrics(server: Server) -> None:
    status, found, _ = server.ask("GET", "/health")
    assert (status, found["status"], found["engine"]) == (200, "ready", "numpy")
    assert {one["name"] for one in server.ask("GET", "/signature")[1]["inputs"]} == set(ROW)

    def rows() -> int:
        text = server.ask("GET", "/metrics")[1]
        return int(next(line for line in text.splitlines() if line.startswith("adasparse_rows_total")).split()[1])

    before = rows()
    server.predict([ROW] * 7)
    assert rows() == before + 7
    text = server.ask("GET", "/metrics")[1]
    assert 'adasparse_requests_total{status="200"}' in text
    assert 'adasparse_request_seconds_bucket{le="+Inf"}' in text
    assert "adasparse_waiting_requests 0" in text


def test_beyond_the_queue_requests_are_refused(model: Path) -> None:
    """The engine is held, so that what waits is known exactly."""
    gate, entered = threading.Event(), threading.Event()

    class Held:
        name = "held"

        def logits(self, rows: Any) -> Any:
            entered.set()
            gate.wait(30)
            return np.zeros(len(rows), dtype=np.float32)

    service = Service(open_artefact(model), Held(), most_waiting=2, most_rows=10)
    body = json.dumps({"rows": [ROW]}).encode()
    form = FORMATS["application/json"]
    taken = [service.submit(body, form), service.submit(body, form)]
    assert entered.wait(30)
    with pytest.raises(FullError):
        service.submit(body, form)
    gate.set()
    assert [one.result(30).rows for one in taken] == [1, 1]
    service.submit(body, form).result(30)
    service.close()
    assert service.waiting == 0


def test_a_full_queue_is_a_503_and_nothing_accepted_is_lost_when_it_stops(model: Path) -> None:
    server = started(model, "--most-waiting", "2")
    statuses: list[int] = []
    lock = threading.Lock()
    stopping = threading.Event()

    def client() -> None:
        while not stopping.is_set():
            try:
                status, found, headers = server.predict([ROW] * 2000)
            except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
                assert stopping.is_set()
                return
            assert status == 503 or len(found["predictions"]) == 2000
            assert status != 503 or headers["retry-after"] == "1"
            with lock:
                statuses.append(status)

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while (len(statuses) < 30 or 503 not in statuses) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {200, 503} <= set(statuses)
    stopping.set()
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    output, errors = server.process.communicate(timeout=30)
    assert server.process.returncode == 0, errors
    answered = statuses.count(200)
    assert f"{answered * 2000:,} rows scored" in output  # each answer that was made has arrived


def test_a_port_in_use_and_other_wrong_words(model: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = adasparse(tmp_path, "serve", str(model), "--port", port, code=6)
        assert "cannot be used: Address already in use" in done.stderr
    assert "--host" in adasparse(tmp_path, "serve", str(model), "--host", "no.such.host.invalid", code=2).stderr
    assert "unknown engine 'jax'" in adasparse(tmp_path, "serve", str(model), "--engine", "jax", code=2).stderr
    assert "is missing" in adasparse(tmp_path, "serve", str(tmp_path), code=4).stderr
