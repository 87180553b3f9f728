"""The HTTP interface of `adasparse serve`. Needs starlette and uvicorn.

POST /predict     {"rows": [{field: value}]} → {"predictions": [{"logit", "probability", "domain"}]}; or a stream of Arrow record
                  batches, which is answered by one
GET  /signature   inputs and outputs        GET /health   whether it is ready        GET /metrics   counts in Prometheus format
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from adasparse_cli.errors import BusyError, UsageError
from adasparse_cli.server.formats import FORMATS, WrongRequestError
from adasparse_cli.server.service import FullError, Service

# Connections in addition to waiting requests: health checks, and bodies that are being read.
OTHERS = 64


class _TooLargeError(Exception):
    """A body is larger than allowed."""


def build_app(service: Service, *, most_bytes: int) -> Starlette:
    """The application. It closes the service when it stops.

    Args:
        most_bytes: largest size of a request's body.
    """

    async def predict(request: Request) -> Response:
        return await _timed(service, lambda: _predict(service, request, most_bytes))

    async def health(request: Request) -> Response:
        index = service.artefact.index
        return _json(
            200, {"status": "ready", "engine": service.engine.name, "label": index["label"], "run": index["run"]}
        )

    async def signature(request: Request) -> Response:
        return _json(
            200,
            {
                **service.artefact.index["signature"],
                "content_types": list(FORMATS),
                "most_rows": service.most_rows,
                "most_bytes": most_bytes,
            },
        )

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(service.counts.text(service.waiting), media_type="text/plain; version=0.0.4")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    routes = [
        Route("/predict", predict, methods=["POST"]),
        Route("/health", health),
        Route("/signature", signature),
        Route("/metrics", metrics),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def _timed(service: Service, answer: Callable[[], Awaitable[tuple[Response, int]]]) -> Response:
    started = time.perf_counter()
    try:
        response, rows = await answer()
    except Exception:
        service.counts.add(500, 0, time.perf_counter() - started)
        raise
    service.counts.add(response.status_code, rows, time.perf_counter() - started)
    return response


async def _predict(service: Service, request: Request, most_bytes: int) -> tuple[Response, int]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = FORMATS.get(kind)
    if form is None:
        return _fault(415, f"the content type is {kind or 'missing'}, {' or '.join(FORMATS)} is needed"), 0
    packed = request.headers.get("content-encoding", "identity").strip().lower()
    if packed != "identity":
        return _fault(415, f"the content encoding is {packed}; send the body without compression"), 0
    if service.waiting >= service.most_waiting:  # do not read a request that cannot be scored
        return _full(service), 0
    try:
        body = await _body(request, most_bytes)
    except _TooLargeError:
        return _fault(413, f"the body is larger than {most_bytes:,} bytes"), 0
    except ClientDisconnect:
        return _fault(400, "the client left"), 0
    try:
        found = await asyncio.wrap_future(service.submit(body, form))
    except FullError:
        return _full(service), 0
    except WrongRequestError as error:
        return _fault(422, error.message, row=error.row, column=error.column), 0
    return Response(found.body, 200, media_type=form.media_type), found.rows


async def _body(request: Request, most_bytes: int) -> bytes:
    """The body, never more of it than allowed."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise _TooLargeError
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise _TooLargeError
        parts.append(part)
    return b"".join(parts)


def _full(service: Service) -> Response:
    response = _fault(503, f"{service.most_waiting} requests are waiting; try again")
    response.headers["retry-after"] = "1"
    return response


def _fault(status: int, message: str, **where: Any) -> Response:
    return _json(status, {"error": message, **{name: value for name, value in where.items() if value is not None}})


def _json(status: int, content: Any) -> Response:
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 means any free port.

    Raises:
        BusyError: the port is in use.
        UsageError: the address does not belong to this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"--host {host}: {error.strerror or error}", hint="such as --host 127.0.0.1") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)  # otherwise a port in use would be detected only later
    except OSError as error:
        found.close()
        if isinstance(error, PermissionError):
            raise UsageError(
                f"--port {port} needs rights that you do not have", hint="choose one from 1024 on"
            ) from None
        raise BusyError(
            f"{host}:{port} cannot be used: {error.strerror}", hint="choose another --port, or 0 for any free one"
        ) from None
    return found


def serve(service: Service, listening: socket.socket, *, most_bytes: int, stop_seconds: int) -> None:
    """Answer requests until SIGINT or SIGTERM; accepted requests are answered first.

    Args:
        stop_seconds: time limit for pending answers after the signal.
    """
    settings = uvicorn.Config(
        build_app(service, most_bytes=most_bytes),
        log_level="warning",
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=stop_seconds,
        limit_concurrency=service.most_waiting + OTHERS,
    )
    uvicorn.Server(settings).run(sockets=[listening])
