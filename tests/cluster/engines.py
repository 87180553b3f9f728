"""Schedulers started for the tests: one node on this machine, which does not see the folder `hidden`."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.ports import free_ports


def hiding(folder: Path, words: Sequence[str]) -> list[str]:
    """The words of a process for which a folder is empty, if this user may do so."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return [*words]
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder), *words]


def can_hide() -> bool:
    return os.geteuid() == 0 and shutil.which("unshare") is not None


def until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@contextlib.contextmanager
def running(words: Sequence[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name)) is not None), None)
    if found is None:
        pytest.skip(f"{names[0]} is not installed")
    return found


@contextlib.contextmanager
def slurm_cluster(room: Path, hidden: Path) -> Iterator[list[str]]:
    """Slurm with two cores on this machine; gives the words that choose it. SLURM_CONF names it meanwhile."""
    controller, node = program("slurmctld", "slurmctld-wlm"), program("slurmd", "slurmd-wlm")
    stepd = program("slurmstepd", "slurmstepd-wlm")
    prefix = Path(controller).resolve().parents[1]
    plugins = next((path for pattern in ("lib/*/slurm-wlm", "lib*/slurm") for path in prefix.glob(pattern)), None)
    (room / "state").mkdir()
    (room / "spool").mkdir()
    ports = free_ports(2)
    host = socket.gethostname().split(".")[0]
    conf = room / "slurm.conf"
    conf.write_text(
        f"""ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={getpass.getuser()}
SlurmdUser={getpass.getuser()}
AuthType=auth/none
CredType=cred/none
{f"PluginDir={plugins}" if plugins else ""}
StateSaveLocation={room}/state
SlurmdSpoolDir={room}/spool
SlurmctldPidFile={room}/slurmctld.pid
SlurmdPidFile={room}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as held:
        patch.setenv("SLURM_CONF", str(conf))
        held.enter_context(running([controller, "-D"], room / "slurmctld.log"))
        held.enter_context(running(hiding(hidden, [node, "-D", "-d", stepd]), room / "slurmd.log"))
        until(lambda: "idle" in subprocess.run(["sinfo", "-h"], capture_output=True, text=True, check=False).stdout)
        yield ["launcher=slurm", "launcher.poll_seconds=0.5"]


@contextlib.contextmanager
def ray_cluster(room: Path, hidden: Path) -> Iterator[list[str]]:
    """Ray with two cores on this machine; gives the words that choose it."""
    start = program("ray")
    port, dashboard, client, agent = free_ports(4)
    words = [start, "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=2"]
    words += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    words += ["--disable-usage-stats", f"--temp-dir={room}", "--object-store-memory=100000000"]
    words += ["--min-worker-port=0", "--max-worker-port=0"]
    address = f"http://127.0.0.1:{dashboard}"

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return b"ray_version" in urllib.request.urlopen(f"{address}/api/version", timeout=5).read()
        return False

    with running(hiding(hidden, words), room / "ray.log"):
        until(answers, 120)
        yield ["launcher=ray", f"launcher.address={address}", "launcher.poll_seconds=0.5"]


CLUSTERS = {"slurm": slurm_cluster, "ray": ray_cluster}
