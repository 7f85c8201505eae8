"""One container through its attempts: start, probes, restarts with back-off, stop within a grace.

It changes its record and says `changed`; what the record means for the pod is decided elsewhere. Rules of restarts are
the kubelet's: at once after the first failure, then 10 s, doubled up to 5 min, forgotten after 10 min of running.
"""

import asyncio
import logging
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.nodeagent.environment import ContainerConfigError
from testbed.nodeagent.images import ImageError
from testbed.nodeagent.launcher import LaunchError
from testbed.nodeagent.objects import rfc3339
from testbed.nodeagent.pod_spec import ContainerSpec, restarts
from testbed.nodeagent.pod_status import ContainerRecord, Running, Terminated, Waiting
from testbed.nodeagent.runtime import Attempt, Command, PodPlace, Runtime

_log = logging.getLogger(__name__)
BACKOFF_FIRST_S = 10.0
BACKOFF_MAX_S = 300.0
BACKOFF_FORGET_S = 600.0
CONFIG_RETRY_S = 2.0
PULL_SHOWN_S = 2.0
"""How long a failed pull is shown as such before it is shown as waiting for the next one, as between two syncs."""
KILL_PATIENCE_S = 10.0
_START_FAILED = 128


class Backoff:
    """How long to wait before the next attempt. Pure: seconds in, seconds out."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def after(self, ran_s: float) -> float:
        """Return the pause after an attempt that ran `ran_s` seconds."""
        if ran_s >= BACKOFF_FORGET_S:
            self._next_s = 0.0
        pause_s = self._next_s
        self._next_s = min(BACKOFF_MAX_S, 2 * pause_s) if pause_s else BACKOFF_FIRST_S
        return pause_s


class Grace:
    """A deadline that can only come nearer: each DELETE of a pod may shorten it."""

    def __init__(self, grace_s: float) -> None:
        self._until = time.monotonic() + grace_s
        self._shortened = asyncio.Event()

    def shorten(self, grace_s: float) -> None:
        """End in `grace_s` seconds if that is sooner."""
        until = time.monotonic() + grace_s
        if until < self._until:
            self._until = until
            self._shortened.set()

    def remaining_s(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self._until - time.monotonic())

    def extend_to(self, least_s: float) -> None:
        """Leave at least `least_s` seconds, which a kubelet grants after a preStop hook took all of the grace."""
        if not self._shortened.is_set():
            self._until = max(self._until, time.monotonic() + least_s)

    async def wait_for(self, done: "asyncio.Future[Any]") -> bool:
        """Wait for `done` until the deadline; return whether it came."""
        while not done.done() and self.remaining_s() > 0:
            self._shortened.clear()
            sooner = asyncio.ensure_future(self._shortened.wait())
            try:
                await asyncio.wait({done, sooner}, timeout=self.remaining_s(), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sooner.cancel()
        return done.done()


@dataclass(frozen=True)
class Surroundings:
    """What a container needs of its pod.

    Attributes:
        place: who and where the pod is.
        runtime: how processes are run.
        policy: restart policy that counts for this container.
        changed: called after each change of the record.
        command: resolves command line and environment; raises ContainerConfigError while something is missing.
        supervise: runs beside an attempt until it ends (probes, hooks).
        before_stop: runs a hook before SIGTERM, within the grace.
    """

    place: PodPlace
    runtime: Runtime
    policy: str
    changed: Callable[[], None]
    command: Callable[[ContainerSpec], Awaitable[Command]]
    supervise: Callable[["Container", Attempt], Coroutine[Any, Any, None]]
    before_stop: Callable[["Container", Attempt, Grace], Awaitable[None]]


class Container:
    """Runs a container until it will never run again.

    Attributes:
        spec: its spec.
        record: what is known about it.
        attempt: its process while there is one.
    """

    def __init__(self, spec: ContainerSpec, record: ContainerRecord, around: Surroundings) -> None:
        self.spec, self.record = spec, record
        self.attempt: Attempt | None = None
        self.started_monotonic_s = 0.0
        self.started_unix_s = 0.0
        self._around = around
        self._stopping = asyncio.Event()
        self._started = asyncio.Event()
        self._backoff, self._pulls = Backoff(), Backoff()
        self._pulls.after(0.0)  # unlike a crash, a failed pull waits from the first time on
        self._task: asyncio.Task[None] | None = None
        self._frozen = False
        self._spared = False

    def log_path(self, attempt: int) -> Path:
        """Return the log of an attempt, counted from 0; it may not exist."""
        return self._around.place.log_path(self.spec.name, attempt)

    @property
    def stopping(self) -> bool:
        """Tell whether it was asked to stop for good."""
        return self._stopping.is_set()

    @property
    def spared(self) -> bool:
        """Tell whether no probe may restart it any more: its pod ends."""
        return self._spared or self.stopping

    def spare(self) -> None:
        """Its pod ends: a failed startup or liveness probe restarts it no more, also while others of the pod stop."""
        self._spared = True

    def start(self) -> None:
        """Begin; does nothing the second time."""
        if self._task is None and not self.stopping:
            self._task = asyncio.create_task(self._run(), name=f"{self._around.place.name}/{self.spec.name}")

    async def finished(self) -> None:
        """Wait until it will never run again; raises what went wrong in the agent itself."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def has_started(self) -> None:
        """Wait until it runs and its startup probe, if any, passed."""
        await self._started.wait()

    def mark_started(self) -> None:
        """The startup probe passed, or there is none."""
        self.record.started = True
        self._started.set()
        self._around.changed()

    def mark_ready(self, ready: bool) -> None:
        """Readiness changed."""
        if self.record.ready != ready:
            self.record.ready = ready
            self._around.changed()

    async def _run(self) -> None:
        while not self.stopping:
            ended = await self._one_attempt()
            if self.stopping or (ended is not None and not restarts(self._around.policy, ended.exit_code)):
                return
            if ended is not None:
                await self._between_attempts(ended)

    async def _one_attempt(self) -> Terminated | None:
        """Run once; None when the configuration does not allow it yet."""
        try:
            command = await self._around.command(self.spec)
        except ImageError as error:
            await self._without_image(error)
            return None
        except ContainerConfigError as error:
            self._wait_state("CreateContainerConfigError", str(error))
            await self._pause(CONFIG_RETRY_S)
            return None
        if self.stopping:
            return None
        started_at = rfc3339()
        self.started_monotonic_s, self.started_unix_s = time.monotonic(), time.time()
        container_id = f"process://{uuid.uuid4().hex}"
        try:
            attempt = await self._around.runtime.start(
                self._around.place, self.spec, self.record.restart_count, command
            )
        except LaunchError as error:
            return self._ended(Terminated(_START_FAILED, "StartError", started_at, rfc3339(), container_id, str(error)))
        return await self._attend(attempt, started_at, container_id)

    async def _without_image(self, error: ImageError) -> None:
        """Show that the image cannot be had, and wait for the next try."""
        if not error.pulls:
            self._wait_state("ErrImageNeverPull", str(error))
            await self._pause(CONFIG_RETRY_S)
            return
        self._wait_state("ErrImagePull", str(error))
        await self._pause(PULL_SHOWN_S)
        self._wait_state("ImagePullBackOff", f'Back-off pulling image "{error.image}": ErrImagePull: {error}')
        await self._pause(self._pulls.after(0.0))

    async def _attend(self, attempt: Attempt, started_at: str, container_id: str) -> Terminated:
        self._begin(attempt, started_at, container_id)
        beside = asyncio.create_task(self._around.supervise(self, attempt))
        try:
            status = await asyncio.shield(attempt.process.exited)
        finally:
            beside.cancel()
            await asyncio.wait({beside})
        if not beside.cancelled() and (error := beside.exception()):
            _log.error("supervision of %s failed", self.spec.name, exc_info=error)
        return await self._conclude(attempt, status, started_at)

    def _begin(self, attempt: Attempt, started_at: str, container_id: str) -> None:
        self.attempt = attempt
        self.record.state = Running(started_at)
        self.record.container_id = container_id
        self.record.ready = self.spec.probe("readiness") is None
        self.record.started = False
        if self.stopping:
            attempt.kill()  # asked to stop while the fork was in flight
        elif self._frozen:
            self.freeze()
        if self.spec.probe("startup") is None and self.spec.hook("postStart") is None:
            self.mark_started()
        else:
            self.record.ready = False
            self._around.changed()

    async def _conclude(self, attempt: Attempt, status: int, started_at: str) -> Terminated:
        await attempt.end()
        code = status if status >= 0 else _START_FAILED - status
        reason = "OOMKilled" if attempt.out_of_memory() and code else "Completed" if code == 0 else "Error"
        self.attempt = None
        await asyncio.to_thread(attempt.remove_group)
        return self._ended(Terminated(code, reason, started_at, rfc3339(), self.record.container_id))

    def _ended(self, ended: Terminated) -> Terminated:
        self.record.state = ended
        self.record.container_id = ended.container_id
        self.record.ready = self.record.started = False
        self._around.changed()
        return ended

    async def _between_attempts(self, ended: Terminated) -> None:
        pause_s = self._backoff.after(time.monotonic() - self.started_monotonic_s)
        self.record.last = ended
        if pause_s:
            place = self._around.place
            where = f"container={self.spec.name} pod={place.name}_{place.namespace}({place.uid})"
            self._wait_state("CrashLoopBackOff", f"back-off {pause_s:g}s restarting failed {where}")
        await self._pause(pause_s)
        if not self.stopping:
            self.record.restart_count += 1

    def _wait_state(self, reason: str, message: str) -> None:
        if self.record.state != Waiting(reason, message):
            self.record.state = Waiting(reason, message)
            self._around.changed()

    async def _pause(self, pause_s: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        except TimeoutError:
            return

    async def end_attempt(self, grace: Grace) -> None:
        """End the running attempt: hook, SIGTERM, grace, SIGKILL. Restarts are the policy's matter."""
        attempt = self.attempt
        if attempt is None:
            return
        await self._around.before_stop(self, attempt, grace)
        attempt.terminate()
        if not await grace.wait_for(attempt.process.exited):
            attempt.kill()
        await asyncio.wait({attempt.process.exited}, timeout=KILL_PATIENCE_S)

    async def stop(self, grace: Grace) -> None:
        """Stop for good within `grace`."""
        self._stopping.set()
        await self.end_attempt(grace)
        await self._after_stop()

    async def kill(self) -> None:
        """Stop for good at once, without hooks."""
        self._stopping.set()
        if self.attempt is not None:
            self.attempt.kill()
        await self._after_stop()

    def crash(self) -> bool:
        """SIGKILL its process: the restart policy decides what follows; False when there is no process."""
        if self.attempt is None or self.stopping:
            return False
        self.attempt.kill()
        return True

    async def _after_stop(self) -> None:
        if self._task is None:
            return
        _, late = await asyncio.wait({self._task}, timeout=KILL_PATIENCE_S)
        if late:
            _log.error("%s does not end although it was killed", self._task.get_name())
            self._task.cancel()

    @property
    def frozen(self) -> bool:
        """Tell whether its processes are stopped."""
        return self._frozen

    def freeze(self) -> None:
        """Stop its processes where they are, now and after each restart."""
        self._frozen = True
        if self.attempt is not None:
            self.attempt.signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its processes go on."""
        self._frozen = False
        if self.attempt is not None:
            self.attempt.signal_all(signal.SIGCONT)
