"""Ray, through the HTTP job interface of its dashboard. The package `ray` is not needed on this machine.

Requests and answers are JSON. For a cluster that requires a token, the environment variable RAY_AUTH_TOKEN has the token, as
for Ray's own commands.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adasparse_cli.cluster.engine import ClusterJob, EngineBusyError, JobState, Phase
from adasparse_cli.cluster.settings import ClusterSettings
from adasparse_cli.errors import UsageError

PATIENCE_SECONDS = 30
# Time that a stopped job has to save. Ray's default is 3 seconds.
SAVING_SECONDS = 60
_PHASES = {"PENDING": Phase.waiting, "RUNNING": Phase.running}


@dataclass(frozen=True, kw_only=True)
class Settings(ClusterSettings):
    """Runs as jobs of a Ray cluster.

    Args:
        address: address of the cluster's dashboard, such as `http://head:8265`.
    """

    address: str


class _RefusedError(Exception):
    """Ray answered with an HTTP error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Ray:
    """The Ray cluster at an address."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._base = settings, settings.address.rstrip("/")

    def check(self) -> None:
        """Check that a Ray dashboard answers at the address."""
        if not self._base.startswith(("http://", "https://")):
            raise UsageError(
                f"launcher.address={self._settings.address} is not an address",
                hint="an address starts with http://, for example http://127.0.0.1:8265",
            )
        fault = f"launcher=ray: no Ray cluster answers at {self._base}"
        hint = "set launcher.address=http://HOST:8265 to its dashboard; `ray start --head` with ray[default] starts a cluster on this machine"
        try:
            found = self._ask("GET", "version")
        except (EngineBusyError, _RefusedError, ValueError) as error:
            raise UsageError(f"{fault}: {error}", hint=hint) from None
        if not isinstance(found, Mapping) or "ray_version" not in found:
            raise UsageError(f"{fault}: the server at this address is not Ray", hint=hint)

    def submit(self, job: ClusterJob) -> str:
        """Submit a job under its own name, which is also its id."""
        try:
            self._ask("POST", "jobs/", request(self._settings, job))
        except _RefusedError as refused:
            if "already exists" in refused.text:
                return job.name
            last = next((line for line in reversed(refused.text.splitlines()) if len(line) > 1), "")
            if refused.code >= 500 and "ValueError" not in last:
                raise EngineBusyError(
                    f"Ray accepts no job at the moment: {last:.300}", hint="adasparse retries"
                ) from None
            raise UsageError(
                f"Ray refused the job {job.name}: {last:.300}",
                hint="check launcher.cpus, launcher.gpus and launcher.memory_gib",
            ) from None
        return job.name

    def find(self, name: str) -> str | None:
        """The id of the job with this name."""
        return None if self._state(name).phase is Phase.unknown else name

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """One request per job."""
        return {own: self._state(own) for own in ids}

    def cancel(self, ids: Sequence[str]) -> None:
        """Send SIGTERM to the programs. Ray sends SIGKILL after a minute."""
        for own in ids:
            try:
                self._ask("POST", f"jobs/{own}/stop")
            except _RefusedError as refused:
                if refused.code != http.client.NOT_FOUND:
                    raise EngineBusyError(
                        f"Ray does not stop {own}: {refused.text:.300}", hint="adasparse retries"
                    ) from None

    def _state(self, own: str) -> JobState:
        try:
            return state(self._ask("GET", f"jobs/{own}"))
        except _RefusedError as refused:
            if refused.code == http.client.NOT_FOUND:
                return JobState(phase=Phase.unknown)
            raise EngineBusyError(f"Ray does not answer: {refused.text:.300}", hint="adasparse retries") from None

    def _ask(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        token = os.environ.get("RAY_AUTH_TOKEN")
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self._base}/api/{what}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise _RefusedError(error.code, error.read().decode(errors="replace").strip() or str(error)) from None
        except ValueError as error:
            raise EngineBusyError(
                f"{self._base} does not answer with JSON: {error}",
                hint="check that launcher.address is the address of Ray's dashboard",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise EngineBusyError(f"Ray does not answer at {self._base}: {reason}", hint="adasparse retries") from None


def request(settings: Settings, job: ClusterJob) -> dict[str, Any]:
    """The request that submits a job."""
    memory = None if settings.memory_gib is None else round(settings.memory_gib * (1 << 30))
    return {
        "entrypoint": job.line,
        "submission_id": job.name,
        "entrypoint_num_cpus": job.cpus,
        "entrypoint_num_gpus": settings.gpus,
        **({} if memory is None else {"entrypoint_memory": memory}),
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(SAVING_SECONDS)}},
    }


def state(answer: Mapping[str, Any]) -> JobState:
    """The state of a job from Ray's answer. A negative exit code is the number of a signal, not an exit code of the program."""
    status, message = str(answer.get("status")), str(answer.get("message") or "").splitlines()
    code = answer.get("driver_exit_code")
    phase = _PHASES.get(status, Phase.ended)
    why = status if phase is Phase.ended else message[0] if phase is Phase.waiting and message else ""
    by_itself = phase is Phase.ended and isinstance(code, int) and code >= 0
    if phase is Phase.ended and not by_itself and status == "FAILED" and message:
        why = message[0]
    node = str(answer.get("driver_agent_http_address") or "").removeprefix("http://").rpartition(":")[0]
    return JobState(
        phase=phase, why=f"{why:.200}", exit_code=code if by_itself else None, node=node, again=status != "STOPPED"
    )
