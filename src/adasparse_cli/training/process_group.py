"""The group of processes that train one model together: how they connect, and messages from rank 0 to the other ranks.

A launcher (`adasparse train --nproc`, torchrun, Slurm, Kubernetes) sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT in the environment of each process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # not marked as exported

from adasparse_cli.command_line import LAUNCHED, LISTENING
from adasparse_cli.errors import LostProcessError, ResourceError, UsageError
from adasparse_cli.layers import ranks

# Time limits for connecting, and for a collective operation. A process that dies closes its connection.
MEETING, WORK = timedelta(seconds=60), timedelta(hours=24)
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


# Parts of the messages of gloo and NCCL for a closed connection.
_LOST = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "remote process exited",
    "socket closed",
)


def is_lost_process(error: RuntimeError) -> bool:
    """Whether an error means that another rank has ended."""
    return any(text in str(error).lower() for text in _LOST)


def lost_process(when: str) -> LostProcessError:
    """The error for another rank that has ended."""
    return LostProcessError(
        f"another process of this training ended {when}",
        hint="run the same command with --resume to continue from the last checkpoint",
    )


def is_launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def is_restarted() -> bool:
    """Whether a launcher restarted this process after a failure, so that training resumes from its checkpoint."""
    return is_launched() and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def launched_at() -> float | None:
    """When the launcher started, in seconds since 1970; None where that is not known.

    The launcher says so, or is the parent of this process (torchrun; on Linux).
    """
    if LAUNCHED in os.environ:
        return float(os.environ[LAUNCHED])
    try:
        # ticks since the system's start: the 22nd word, the 20th behind the name in brackets, which may hold spaces
        ticks = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19])
        started = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(started.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, ValueError, IndexError):
        return None


@contextlib.contextmanager
def joined_group(device: str) -> Iterator[None]:
    """Join the process group inside the context. Without a launcher, nothing happens.

    Args:
        device: the setting `device`. Each process uses a different GPU of its machine.

    Raises:
        UsageError: the environment is incomplete.
        ResourceError: not all processes connected within a minute.
    """
    if not is_launched():
        yield
        return
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is set, but not {', '.join(missing)}",
            hint="start with adasparse train --nproc N, or with torchrun",
        )
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    # used once: torch closes the descriptor, and a process that is started from here must not take it for its own
    listening = os.environ.pop(LISTENING, None)
    try:
        store = TCPStore(
            address,
            port,
            None if by_agent else size,
            rank == 0 and not by_agent,
            MEETING,
            wait_for_workers=not by_agent,
            master_listen_fd=None if listening is None else int(listening),
        )
    except (RuntimeError, OSError) as error:
        raise ResourceError(
            f"process {rank} of {size} could not connect to the others at {address}:{port} within "
            f"{MEETING.seconds} seconds: {str(error).splitlines()[0]}",
            hint="check that all processes were started and can reach this address and port",
        ) from None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=PrefixStore(f"adasparse-{attempt}", store),
        rank=rank,
        world_size=size,
        timeout=WORK,
    )
    try:
        yield
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        raise lost_process("before or after the training steps") from None
    finally:
        distributed.destroy_process_group()


def tell(text: str) -> None:
    """Send a text from rank 0 to the other ranks. Only rank 0 calls this."""
    if ranks.world_size() > 1:
        content = torch.tensor(list(text.encode()), dtype=torch.uint8, device=_device())
        distributed.broadcast(torch.tensor([len(content)], device=_device()), 0)
        distributed.broadcast(content, 0)


def hear() -> str:
    """Receive the text that rank 0 sends with `tell`."""
    length = torch.zeros(1, dtype=torch.long, device=_device())
    distributed.broadcast(length, 0)
    content = torch.zeros(int(length), dtype=torch.uint8, device=_device())
    distributed.broadcast(content, 0)
    return bytes(content.cpu().tolist()).decode()


def _device() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
