"""What runs beside a container while it lives: postStart hook and probes; preStop before its end.

A frozen container fails its probes without a request, because the kernel would still accept a TCP connection for it.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from testbed.nodeagent.container import Container, Grace
from testbed.nodeagent.container_log import OutputPipe
from testbed.nodeagent.launcher import Launch, Launcher, LaunchError, Process
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.probes import (
    ProbeFailedError,
    ProbeKind,
    ProbeState,
    ProbeTarget,
    http_get,
    pause_s,
    probe_once,
)
from testbed.nodeagent.runtime import Attempt

_log = logging.getLogger(__name__)
MINIMUM_TERM_S = 2.0
"""What a process keeps after SIGTERM when a preStop hook used up the grace (pkg/kubelet/kuberuntime)."""
HOOK_TIMEOUT_S = 30.0
Report = Callable[[str, str, str], None]
"""Called with (container, reason, message) for what an Event should tell."""


class Supervisor:
    """Probes and hooks of the containers of one pod."""

    def __init__(
        self, pod_ip: str, launcher: Launcher, http: aiohttp.ClientSession, grace_s: float, report: Report
    ) -> None:
        self._pod_ip, self._launcher, self._http = pod_ip, launcher, http
        self._grace_s, self._report = grace_s, report

    async def beside(self, container: Container, attempt: Attempt) -> None:
        """Run hooks and probes of `attempt` until cancelled."""
        if hook := container.spec.hook("postStart"):
            try:
                await self._run_hook(container, attempt, hook, HOOK_TIMEOUT_S)
            except HookFailedError as error:
                self._report(container.spec.name, "FailedPostStartHook", str(error))
                await container.end_attempt(Grace(self._grace_s))
                return
        if not await self._started_up(container, attempt):
            return
        await asyncio.gather(self._watch_readiness(container, attempt), self._watch_liveness(container, attempt))

    async def _started_up(self, container: Container, attempt: Attempt) -> bool:
        probe = container.spec.probe("startup")
        if probe is not None:
            async for verdict in self._verdicts("startup", probe, container, attempt):
                if verdict.passed:
                    break
                await self._restart(container, probe, "startup", verdict.message)
                return False
        if container.spec.probe("readiness") is None:
            container.mark_ready(True)
        if not container.record.started:
            container.mark_started()
        return True

    async def _watch_readiness(self, container: Container, attempt: Attempt) -> None:
        probe = container.spec.probe("readiness")
        if probe is None:
            return
        async for verdict in self._verdicts("readiness", probe, container, attempt):
            container.mark_ready(verdict.passed)

    async def _watch_liveness(self, container: Container, attempt: Attempt) -> None:
        probe = container.spec.probe("liveness")
        if probe is None:
            return
        async for verdict in self._verdicts("liveness", probe, container, attempt):
            if container.spared:
                return
            if not verdict.passed:
                await self._restart(container, probe, "liveness", verdict.message)
                return

    async def _restart(self, container: Container, probe: Obj, kind: ProbeKind, message: str) -> None:
        if container.spared:
            return
        self._report(container.spec.name, "Killing", f"Container {container.spec.name} failed {kind} probe: {message}")
        grace_s = float(probe.get("terminationGracePeriodSeconds", self._grace_s))
        await container.end_attempt(Grace(grace_s))

    async def _verdicts(
        self, kind: ProbeKind, probe: Obj, container: Container, attempt: Attempt
    ) -> AsyncIterator["Verdict"]:
        """Yield each verdict of a probe, from its initial delay on, until the consumer has enough."""
        state = ProbeState.of(kind, probe)
        target = self._target(container, attempt)
        began_s = time.monotonic()
        await asyncio.sleep(float(probe.get("initialDelaySeconds", 0)) or _first_look(kind, probe))
        while True:
            failure = await self._failure(
                probe, target, container, verify_owner=kind != "liveness" and not state.passed
            )
            if failure and (state.passed or time.monotonic() - began_s > 2 * float(probe.get("periodSeconds", 10))):
                self._report(container.spec.name, "Unhealthy", f"{kind.capitalize()} probe failed: {failure}")
            if state.observe(not failure):
                yield Verdict(not failure, failure)
            await asyncio.sleep(pause_s(kind, probe, state, time.monotonic() - began_s))

    async def _failure(self, probe: Obj, target: ProbeTarget, container: Container, *, verify_owner: bool) -> str:
        """Probe once; return why it failed, empty for success."""
        if container.frozen:
            return "its processes are stopped (frozen)"
        try:
            await probe_once(probe, target, self._http, verify_owner=verify_owner)
        except ProbeFailedError as error:
            return str(error) or "failed"
        return ""

    def _target(self, container: Container, attempt: Attempt) -> ProbeTarget:
        async def run(command: list[str], timeout_s: float) -> int:
            code, _ = await run_inside(self._launcher, attempt, command, timeout_s)
            return code

        return ProbeTarget(self._pod_ip, container.spec.port, run, attempt.owns)

    async def before_stop(self, container: Container, attempt: Attempt, grace: Grace) -> None:
        """Run the preStop hook within the grace; what is left afterwards is for SIGTERM."""
        hook = container.spec.hook("preStop")
        if hook is None or grace.remaining_s() == 0:
            return
        running = asyncio.ensure_future(self._run_hook(container, attempt, hook, grace.remaining_s()))
        either: set[asyncio.Future[Any]] = {running, attempt.process.exited}
        await grace.wait_for(asyncio.ensure_future(asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)))
        if not running.done():
            running.cancel()
        await asyncio.wait({running})
        if not running.cancelled() and (error := running.exception()):
            if not isinstance(error, HookFailedError):
                raise error
            self._report(container.spec.name, "FailedPreStopHook", str(error))
        grace.extend_to(MINIMUM_TERM_S)

    async def _run_hook(self, container: Container, attempt: Attempt, hook: Obj, timeout_s: float) -> None:
        try:
            if "sleep" in hook:
                await asyncio.sleep(float(hook["sleep"]["seconds"]))
            elif "httpGet" in hook:
                await http_get(hook["httpGet"], self._target(container, attempt), self._http, timeout_s)
            elif "exec" in hook:
                code, said = await run_inside(self._launcher, attempt, hook["exec"]["command"], timeout_s)
                if code != 0:
                    raise HookFailedError(f"{hook['exec']['command']!r} exited with {code}: {said[-200:]!r}")
        except (ProbeFailedError, TimeoutError, OSError, aiohttp.ClientError) as error:
            raise HookFailedError(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Verdict:
    """A probe reached a threshold: what it found, and the last failure's text."""

    passed: bool
    message: str


class HookFailedError(Exception):
    """A lifecycle hook had no success."""


def _first_look(kind: ProbeKind, probe: Obj) -> float:
    if kind == "liveness":
        return float(probe.get("periodSeconds", 10))
    return pause_s("readiness", probe, ProbeState(1, 1, False), 0.0)


async def run_inside(
    launcher: Launcher,
    attempt: Attempt,
    command: list[str],
    timeout_s: float,
    sink: Callable[[bytes], None] | None = None,
) -> tuple[int, bytes]:
    """Run `command` with a container's environment and limits; return exit code and output (none with a `sink`).

    Raises:
        TimeoutError: it took longer than `timeout_s` seconds; it is killed.
    """
    said = bytearray()
    pipe = OutputPipe(sink or said.extend)
    launch = Launch(command, attempt.command.env, attempt.command.cwd, attempt.groups())
    try:
        process = await launcher.launch(launch, pipe.write_end)
    except LaunchError as error:
        pipe.close()
        raise OSError(str(error)) from error
    try:
        async with asyncio.timeout(timeout_s):
            status = await asyncio.shield(process.exited)
            with contextlib.suppress(TimeoutError):  # a child of it still holds the pipe: what it said is enough
                await asyncio.wait_for(asyncio.shield(pipe.drained), 1.0)
    finally:
        _end(launcher, process)
        pipe.close()
    return (status if status >= 0 else 128 - status), bytes(said)


def _end(launcher: Launcher, process: Process) -> None:
    launcher.signal(process, signal.SIGKILL, whole_group=True)
