"""Starts Spark for preparation. Checks first what would otherwise fail late or hang."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from adasparse_cli.errors import ResourceError, UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OLDEST_JAVA = 17
# Attempts per task on this machine. On a cluster, Spark's default is also 4.
ATTEMPTS = 4
# Time limits for the connection to the master, for `java -version`, and for the start of Spark, which can take a minute.
REACHED_SECONDS, JAVA_SECONDS, STARTED_SECONDS = 10, 30, 300
_LOCAL = re.compile(r"local(\[(\*|\d+)\])?")
_ADVICE = "prep.master may be local, spark://HOST:7077, yarn, or k8s://https://HOST:PORT"


@contextlib.contextmanager
def started(master: str | None, name: str) -> Iterator[SparkSession]:
    """Start a Spark session, and stop it at the end.

    Args:
        master: address of the cluster, such as `local[2]`; None for the address in spark-submit or spark-defaults.conf.
        name: name in Spark's web pages.

    Raises:
        UsageError: pyspark or Java is not installed, or the address is invalid.
        ResourceError: the master does not answer, or Spark does not start.
    """
    require_installed()
    if master is not None:
        _require_reachable(master)
    with tempfile.TemporaryFile() as log:
        session = _session(master, name, log)
        try:
            yield session
        finally:
            with contextlib.suppress(Exception):  # fails if the connection is closed already
                session.stop()


def require_installed() -> None:
    """Check that pyspark and Java are available.

    Raises:
        UsageError: one of them is missing, or Java is too old.
    """
    try:
        import pyspark  # noqa: F401
    except ImportError:
        raise UsageError(
            "prep.engine=spark needs the package pyspark, which is not installed",
            hint="python -m pip install 'adasparse-cli[spark]'; prep.engine=local needs neither",
        ) from None
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    needs = f"Spark needs Java {OLDEST_JAVA} or newer"
    hint = f"install a Java runtime, such as openjdk-{OLDEST_JAVA}-jre-headless, or set JAVA_HOME; prep.engine=local needs no Java"
    if java is None:
        where = f"JAVA_HOME={home} has no bin/java" if home else "no java is on the PATH"
        raise UsageError(f"{needs}: {where}", hint=hint)
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=JAVA_SECONDS).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{needs}: {java} does not run: {error}", hint=hint) from None
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise UsageError(f"{needs}: {java} -version prints {said.partition(chr(10))[0]!r}", hint=hint)


def is_local(master: str | None) -> bool:
    """Whether Spark runs only in processes on this machine."""
    return master is not None and master.startswith("local") and not master.startswith("local-cluster")


def _require_reachable(master: str) -> None:
    """Check the form of an address and that a server listens there. Spark itself would retry for minutes."""
    kind, _, rest = master.partition("://")
    if master == "yarn" or master.startswith("local-cluster[") or _LOCAL.fullmatch(master):
        return
    if kind not in ("spark", "k8s") or not rest:
        raise UsageError(f"prep.master={master} is not the address of a cluster", hint=_ADVICE)
    # spark:// may list several masters; one of them is active
    faults = []
    for one in rest.split(",") if kind == "spark" else [rest]:
        place = urlsplit(one if "://" in one else f"//{one}")
        try:
            host, port = place.hostname, place.port or (443 if kind == "k8s" else None)
        except ValueError:
            host, port = None, None
        if not host or not port:
            raise UsageError(f"prep.master={master} has no host and port", hint=_ADVICE)
        try:
            socket.create_connection((host, port), timeout=REACHED_SECONDS).close()
        except OSError as error:
            faults.append(f"{host}:{port}: {error.strerror or error}")
        else:
            return
    raise ResourceError(
        f"prep.master={master} does not answer: {'; '.join(faults)}",
        hint="check the address and that the cluster is running; prep.master=local uses this machine",
    )


def _session(master: str | None, name: str, log: IO[bytes]) -> SparkSession:
    """Start a session in a separate thread, because Spark may wait forever."""
    found: list[SparkSession] = []
    faults: list[BaseException] = []

    def start() -> None:
        try:
            found.append(_new_session(master, name, log))
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join(STARTED_SECONDS)
    if found:
        return found[0]
    log.seek(0)
    said = _reason(faults[0] if faults else None, log.read().decode("utf-8", "replace"))
    what = "cannot start" if faults else f"did not start within {STARTED_SECONDS} s"
    raise ResourceError(
        f"Spark {what} at {master or 'the master of spark-submit or spark-defaults.conf'}{f': {said}' if said else ''}",
        hint=_ADVICE,
    )


def _new_session(master: str | None, name: str, log: IO[bytes]) -> SparkSession:
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    conf = SparkConf().setAppName(f"adasparse prep {name}")
    for key, value in _settings(master).items():
        conf.set(key, value)
    if is_local(master):
        # local workers use the same interpreter; on a cluster, Spark's settings determine the interpreter
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # a process has one Java at a time; the log keeps the output of Java out of the output of this command
    gateway = SparkContext._gateway or launch_gateway(conf, {"stdout": log, "stderr": log})
    return SparkSession(SparkContext(conf=conf, gateway=gateway))


def _settings(master: str | None) -> dict[str, str]:
    found = {
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
        # one task has one core
        "spark.executorEnv.POLARS_MAX_THREADS": "1",
        "spark.executorEnv.OMP_NUM_THREADS": "1",
    }
    if master is not None:
        local = _LOCAL.fullmatch(master)
        found["spark.master"] = f"local[{local[2] or 1},{ATTEMPTS}]" if local else master
    if is_local(master):
        found |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
        }
    return found


def _reason(error: Any, log: str) -> str:
    """Why Spark did not start, as one line: its exception, or the last exception in its log."""
    text = str(error) if error is not None else ""
    for line in [*text.splitlines(), *reversed(log.splitlines())]:
        if match := re.search(r"(?:Exception|Error): (.*\S)", line):
            return match[1]
    return text.partition("\n")[0]
