"""`adasparse serve`: serve an exported model over HTTP."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from adasparse_cli.errors import InterruptedRun, UsageError
from adasparse_cli.terminal.render import note, say

EXAMPLES = """
Examples:

  adasparse export latest --output model && adasparse serve model

  curl -H 'content-type: application/json' -d '{"rows": [{"country": "DE", "device": "mobile"}]}' http://127.0.0.1:8000/predict
"""


def serve(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `adasparse export` wrote.")],
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on. 127.0.0.1 accepts requests from this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port. 0 selects a free port.")] = 8000,
    engine: Annotated[
        str | None, typer.Option("--engine", help="Engine: numpy, torch or onnx. [default: numpy]")
    ] = None,
    most_waiting: Annotated[
        int,
        typer.Option(
            "--most-waiting", min=1, help="Maximum number of waiting requests. Further requests get status 503."
        ),
    ] = 64,
    most_rows: Annotated[int, typer.Option("--most-rows", min=1, help="Maximum number of rows per request.")] = 4096,
    most_bytes: Annotated[int, typer.Option("--most-bytes", min=1, help="Maximum size of a request body in bytes.")] = 8
    << 20,
    stop_seconds: Annotated[
        int, typer.Option("--stop-seconds", min=1, help="Seconds that accepted requests may take after a stop signal.")
    ] = 30,
) -> None:
    """Answer JSON requests and Arrow streams with scores until SIGINT or SIGTERM. Accepted requests are answered before the server stops.

    The server has no encryption and no authentication. Put a proxy in front of it before other machines can reach it.
    """
    from importlib.util import find_spec

    from adasparse_cli.machine.allocator import keep_large_blocks
    from adasparse_cli.server.service import Service
    from adasparse_cli.serving.artefact import ENGINES, open_artefact
    from adasparse_cli.serving.check import engine_named
    from adasparse_cli.serving.predict import usual_engine

    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        raise UsageError("serve needs the packages starlette and uvicorn", hint="pip install 'adasparse-cli[serve]'")
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}", hint=f"valid engines: {', '.join(ENGINES)}")
    from adasparse_cli.server.http import bound_socket
    from adasparse_cli.server.http import serve as answer

    keep_large_blocks()
    artefact = open_artefact(folder)
    artefact.verify()
    name = engine or usual_engine(artefact)
    service = Service(artefact, engine_named(artefact, name), most_waiting=most_waiting, most_rows=most_rows)
    listening = bound_socket(host, port)
    address = listening.getsockname()
    label = artefact.index["label"]
    note(f"{label} (engine {name}): http://{address[0]}:{address[1]}/predict; Ctrl-C stops the server")
    with contextlib.suppress(InterruptedRun, KeyboardInterrupt):  # the usual end of a server
        answer(service, listening, most_bytes=most_bytes, stop_seconds=stop_seconds)
    say(f"{service.counts.rows:,} rows scored in {sum(service.counts.requests.values()):,} requests")
