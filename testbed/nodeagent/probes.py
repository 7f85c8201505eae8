"""Probes of containers: kubelet rules for counting results, and the requests themselves.

Results are counted as in pkg/kubelet/prober/worker.go: a result counts once it came `successThreshold` or
`failureThreshold` times in a row; readiness begins failed, liveness begins passed, startup gates both others. Only
loopback addresses are dialled: a pod address is mapped, any other host fails the probe with a clear message.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import aiohttp

from testbed.addresses import AddressRefusedError, dialable
from testbed.nodeagent.objects import Obj

ProbeKind = Literal["readiness", "liveness", "startup"]
FIRST_LOOK_S = 0.15
EAGER_PERIOD_S = 1.0


@dataclass
class ProbeState:
    """Counts results of one probe of one attempt.

    Attributes:
        success_threshold: results in a row that make it passed.
        failure_threshold: results in a row that make it failed.
        passed: what counts now; None until a first verdict where there is no initial one.
    """

    success_threshold: int
    failure_threshold: int
    passed: bool | None
    _last: bool | None = None
    _run: int = 0

    @classmethod
    def of(cls, kind: ProbeKind, probe: Obj) -> "ProbeState":
        """Return the state before the first result."""
        initial = {"readiness": False, "liveness": True, "startup": None}[kind]
        return cls(int(probe.get("successThreshold", 1)), int(probe.get("failureThreshold", 3)), initial)

    def observe(self, success: bool) -> bool:
        """Count one result; return whether it reached its threshold and changed or confirmed the verdict."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        threshold = self.success_threshold if success else self.failure_threshold
        if self._run < threshold:
            return False
        self.passed = success
        return True


def pause_s(kind: ProbeKind, probe: Obj, state: ProbeState, elapsed_s: float) -> float:
    """Return how long to wait before the next probe.

    A readiness probe that never passed looks more often than its period, at most once a second: a kubelet would find a
    fresh container ready one whole period late, which here would be most of an autoscaler's answer time. Failing more
    often changes nothing, because readiness begins failed.
    """
    period_s = float(probe.get("periodSeconds", 10))
    if kind == "readiness" and not state.passed and elapsed_s < 2 * period_s:
        return min(period_s, EAGER_PERIOD_S, max(FIRST_LOOK_S, elapsed_s))
    return period_s


@dataclass(frozen=True)
class ProbeTarget:
    """Where the probes of a container go.

    Attributes:
        pod_ip: address of the pod in the API.
        port: resolves a port number or name of the container.
        run: runs a command in the container, returns its exit code.
        owns: tells whether the container's own processes listen on a loopback address and port.
    """

    pod_ip: str
    port: Callable[[int | str], int]
    run: Callable[[list[str], float], Awaitable[int]]
    owns: Callable[[str, int], bool]


class ProbeFailedError(Exception):
    """A probe had no success; the text is what an event or a log says."""


async def probe_once(probe: Obj, target: ProbeTarget, http: aiohttp.ClientSession, *, verify_owner: bool) -> None:
    """Probe once; `verify_owner` also demands that the listener is a process of the container.

    Raises:
        ProbeFailedError: no success within the probe's time-out.
    """
    timeout_s = float(probe.get("timeoutSeconds", 1))
    try:
        if "exec" in probe:
            await _run_command(probe["exec"]["command"], target, timeout_s)
        elif "httpGet" in probe:
            await _get(probe["httpGet"], target, http, timeout_s)
        elif "tcpSocket" in probe:
            await _connect(probe["tcpSocket"], target, timeout_s)
        else:
            raise ProbeFailedError("the node agent does exec, httpGet and tcpSocket probes only")
    except (TimeoutError, ValueError, OSError, aiohttp.ClientError) as error:
        raise ProbeFailedError(f"{type(error).__name__}: {error}") from error
    if verify_owner:
        _verify_owner(probe, target)


def _verify_owner(probe: Obj, target: ProbeTarget) -> None:
    action = probe.get("httpGet") or probe.get("tcpSocket")
    if action is None:
        return
    host, port = endpoint(action, target)
    if not target.owns(host, port):
        raise ProbeFailedError(f"{host}:{port} is answered by a process that is not of this container")


def endpoint(action: Obj, target: ProbeTarget) -> tuple[str, int]:
    """Return the loopback address and port that an action dials.

    Raises:
        ProbeFailedError: its host is not loopback, or the port has no such name.
    """
    try:
        return dialable(action.get("host") or target.pod_ip), target.port(action["port"])
    except (AddressRefusedError, ValueError) as error:
        raise ProbeFailedError(str(error)) from error


async def _run_command(command: list[str], target: ProbeTarget, timeout_s: float) -> None:
    code = await target.run(command, timeout_s)
    if code != 0:
        raise ProbeFailedError(f"command {command!r} exited with {code}")


async def _get(action: Obj, target: ProbeTarget, http: aiohttp.ClientSession, timeout_s: float) -> None:
    status = await http_get(action, target, http, timeout_s)
    if not 200 <= status < 400:  # noqa: PLR2004 - the kubelet's success range
        raise ProbeFailedError(f"HTTP probe failed with statuscode: {status}")


async def http_get(action: Obj, target: ProbeTarget, http: aiohttp.ClientSession, timeout_s: float) -> int:
    """Send the GET of an httpGet action and return the status; redirects are not followed (they may leave the pod)."""
    host, port = endpoint(action, target)
    headers = {header["name"]: header["value"] for header in action.get("httpHeaders", [])}
    scheme = action.get("scheme", "HTTP").lower()
    path = action.get("path") or "/"
    url = f"{scheme}://{host}:{port}{path if path.startswith('/') else '/' + path}"
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    # the kubelet does not verify a probe's certificate either: it is the container's own
    async with http.get(url, headers=headers, timeout=timeout, allow_redirects=False, ssl=False) as response:
        return response.status


async def _connect(action: Obj, target: ProbeTarget, timeout_s: float) -> None:
    host, port = endpoint(action, target)
    async with asyncio.timeout(timeout_s):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
    await writer.wait_closed()
