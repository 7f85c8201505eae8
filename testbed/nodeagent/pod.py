"""One pod on one node: from the first sight of its object to the last DELETE.

It owns the order of things (volumes, init containers, containers, termination) and nothing else: containers run
themselves, the status is built by pure rules and written by `StatusWriter`. A pod first seen while it is being deleted
is never started. After `abandon` (its node was stopped) it says nothing to the API any more.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed.nodeagent.api import ApiClient, ApiError, patiently, pod_path
from testbed.nodeagent.container import Container, Grace, Surroundings
from testbed.nodeagent.environment import (
    ContainerConfigError,
    PodFacts,
    command_line,
    container_environment,
    env_references,
)
from testbed.nodeagent.events import EventRecorder
from testbed.nodeagent.images import ImageError, need_image
from testbed.nodeagent.objects import Obj, title
from testbed.nodeagent.pod_spec import (
    ContainerSpec,
    containers,
    deletion_grace_s,
    restart_policy,
    restarts,
    spec_grace_s,
)
from testbed.nodeagent.pod_status import TERMINAL_PHASES, Terminated, Waiting
from testbed.nodeagent.records import adopted_records, close_records
from testbed.nodeagent.runtime import Command, PodPlace, Runtime
from testbed.nodeagent.sources import SourceReader
from testbed.nodeagent.status_writer import PodView, StatusWriter
from testbed.nodeagent.supervision import Supervisor
from testbed.nodeagent.volume_set import VolumeSet
from testbed.nodeagent.volumes import VolumeError, lay_out_mounts

_log = logging.getLogger(__name__)
VOLUME_RETRY_S = 2.0
FINAL_DELETE_PATIENCE_S = 600.0
FROZEN = "testbed.gameday.local/frozen"
KILL_CONTAINER = "testbed.gameday.local/kill-container"
_GONE = (404, 409)


@dataclass(frozen=True)
class PodMeans:
    """What a pod needs to live.

    Attributes:
        place: who and where it is.
        runtime: runs its containers.
        api: where its status goes.
        release: gives its address back; called when nothing of it will run again, perhaps more than once.
    """

    place: PodPlace
    runtime: Runtime
    api: ApiClient
    release: Callable[[], None]


class Pod:
    """A pod of this agent.

    Attributes:
        obj: the newest object of the API.
        place: who and where it is.
        containers: its containers in the order in which they start.
    """

    def __init__(self, obj: Obj, facts: PodFacts, means: "PodMeans") -> None:
        self.obj, self.place = obj, means.place
        self._facts, self._runtime, self._api, self._release = facts, means.runtime, means.api, means.release
        api, place = means.api, means.place
        self._sources = SourceReader(api)
        self._events = EventRecorder(api, obj, place.node)
        self._volumes = VolumeSet(place, self._sources)
        self._ending = asyncio.Event()
        self._silent = False
        self._vanished = False
        self._expired = False
        self._grace: Grace | None = None
        # An order that stands already was meant for a process before ours: an earlier agent's, or before a reboot.
        self._killed = (obj["metadata"].get("annotations") or {}).get(KILL_CONTAINER, "")
        self._policy = str(obj["spec"].get("restartPolicy", "Always"))
        self.status = StatusWriter(api, PodView(obj, place.ip, facts.host_ip, self._policy, adopted_records(obj)))
        self.containers = self._make_containers()
        self._task = asyncio.create_task(self._live(), name=title(obj))

    @property
    def done(self) -> "asyncio.Task[None]":
        """The task of the whole life; done when nothing of the pod is left on this node."""
        return self._task

    def _make_containers(self) -> list[Container]:
        spec = self.obj["spec"]
        supervisor = Supervisor(
            self.place.ip, self._runtime.launcher, self._runtime.http, spec_grace_s(spec), self._events.warn
        )
        made = []
        for container in containers(spec):
            around = Surroundings(
                place=self.place,
                runtime=self._runtime,
                policy=restart_policy(spec, container.role),
                changed=self.status.mark,
                command=self._command,
                supervise=supervisor.beside,
                before_stop=supervisor.before_stop,
            )
            made.append(Container(container, self.status.view.records[container.name], around))
        return made

    def update(self, obj: Obj) -> None:
        """Take a newer object: deletion, freeze, conditions that others wrote."""
        self.obj = obj
        self.status.seen(obj)
        grace_s = deletion_grace_s(obj)
        if grace_s is not None:
            self._begin_end(grace_s)
        annotations = obj["metadata"].get("annotations") or {}
        self._obey_kill(annotations.get(KILL_CONTAINER, ""))
        wanted = annotations.get(FROZEN) == "true"
        for container in self.containers:
            if wanted and not container.frozen:
                container.freeze()
            elif container.frozen and not wanted:
                container.thaw()

    def _obey_kill(self, order: str) -> None:
        """Crash the container that a new order `CONTAINER/NONCE` names; each order is obeyed once."""
        if not order or order == self._killed:
            return
        self._killed = order
        name, _, nonce = order.partition("/")
        named = [container for container in self.containers if container.spec.name == name]
        if not named or not nonce:
            self._events.warn("", "FailedKillContainer", f"{KILL_CONTAINER}={order!r}: give CONTAINER/NONCE")
        elif not named[0].crash():
            self._events.warn(name, "FailedKillContainer", f"container {name} has no process now")

    def vanish(self) -> None:
        """The object is gone: end at once, there is nobody to tell."""
        self._vanished = True
        self.status.silence()
        self._begin_end(0.0)

    async def abandon(self) -> None:
        """The node stops: kill everything and say nothing."""
        self._silent = True
        self.status.silence()
        await asyncio.gather(*(container.kill() for container in self.containers))
        self._task.cancel()
        await asyncio.wait({self._task})

    def _begin_end(self, grace_s: float) -> None:
        if self._grace is None:
            self._grace = Grace(grace_s)
        else:
            self._grace.shorten(grace_s)
        self._ending.set()

    async def _live(self) -> None:
        try:
            self.update(self.obj)
            if self.obj["status"].get("phase") in TERMINAL_PHASES:
                self.status.view.ended = True  # its work was done before this agent knew it
            elif not self._ending.is_set():
                await self._run()
            await self._ending.wait()
            await self._end()
        finally:
            # Nothing to do but after an error of ours: a process must not outlive its pod and hold its address.
            await asyncio.gather(*(container.kill() for container in self.containers))
            self._release()
            await asyncio.to_thread(self._clean_up)

    async def _run(self) -> None:
        """Run until nothing of the pod will run again, or until its end begins."""
        sequence = asyncio.create_task(self._sequence())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({sequence, ending}, timeout=self._active_s(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            sequence.cancel()
            raise
        finally:
            ending.cancel()
        if sequence.done():
            await sequence
            self.status.view.ended = True
            self.status.mark()
            self._release()
            return
        sequence.cancel()
        await asyncio.wait({sequence})
        if not self._ending.is_set():
            await self._expire()

    def _active_s(self) -> float | None:
        limit = self.obj["spec"].get("activeDeadlineSeconds")
        return None if limit is None else float(limit)

    async def _expire(self) -> None:
        """The pod was active for longer than activeDeadlineSeconds: it fails, its object stays."""
        self.status.view.reason = "DeadlineExceeded"
        self.status.view.message = "Pod was active on the node longer than the specified deadline"
        await self._stop_containers(Grace(spec_grace_s(self.obj["spec"])))
        self._close()
        self.status.mark()
        self._release()

    async def _sequence(self) -> None:
        await self._set_up_volumes()
        for container in self.containers:
            if container.spec.role == "main" or self._over_before(container):
                continue
            container.start()
            if container.spec.role == "sidecar":
                await container.has_started()
                continue
            await container.finished()
            if not self._over_before(container):
                return
        mains = [container for container in self.containers if container.spec.role == "main"]
        for container in mains:
            if not self._ended_for_good(container):
                container.start()
        await asyncio.gather(*(container.finished() for container in mains))
        await self._stop_sidecars(Grace(spec_grace_s(self.obj["spec"])))

    def _over_before(self, container: Container) -> bool:
        """Tell whether an init container has done its work."""
        state = container.record.state
        return container.spec.role == "init" and isinstance(state, Terminated) and state.exit_code == 0

    def _ended_for_good(self, container: Container) -> bool:
        """Tell whether a container ended before this agent knew it and is not to run again."""
        state = container.record.state
        return isinstance(state, Terminated) and not restarts(self._policy, state.exit_code)

    async def _set_up_volumes(self) -> None:
        while True:
            try:
                await self._volumes.set_up(self.obj, self._facts)
            except (VolumeError, ApiError) as error:
                self._events.warn("", "FailedMount", str(error))
                self._wait_for_volumes(str(error))
                await asyncio.sleep(VOLUME_RETRY_S)
                continue
            return

    def _wait_for_volumes(self, why: str) -> None:
        waiting = Waiting("ContainerCreating", why)
        for container in self.containers:
            if isinstance(container.record.state, Waiting) and container.record.state != waiting:
                container.record.state = waiting
                self.status.mark()

    def shows(self, kind: str, name: str) -> bool:
        """Tell whether a volume shows the ConfigMap or Secret `name`."""
        return self._volumes.uses(kind, name)

    async def refresh_volumes(self) -> None:
        """Something that a volume shows changed: write it again."""
        if not self._ending.is_set():
            await self._refresh()

    async def renew_tokens(self) -> None:
        """Fetch new ServiceAccount tokens if the old ones have lived most of their life."""
        if self._volumes.renewal_due() and not self._ending.is_set():
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            await self._volumes.set_up(self.obj, self._facts)
        except (VolumeError, ApiError) as error:
            self._events.warn("", "FailedMount", str(error))

    async def _command(self, spec: ContainerSpec) -> Command:
        self._need_image(spec)
        root = self.place.root(spec.name)
        try:
            lay_out_mounts(root, self.place.volumes, spec.raw)
            sources = await self._sources.read(self.place.namespace, env_references(spec.raw))
        except (VolumeError, ApiError) as error:
            raise ContainerConfigError(str(error)) from error
        for folder in ("home", "tmp"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        env = container_environment(
            spec.raw, self._facts, sources, self._runtime.given_environment(self.place, spec.name)
        )
        cwd = root / spec.raw.get("workingDir", "").lstrip("/")
        cwd.mkdir(parents=True, exist_ok=True)
        return Command(command_line(spec.raw, env), env, str(cwd))

    def _need_image(self, spec: ContainerSpec) -> None:
        try:
            need_image(spec)
        except ImageError as error:
            told = f'Failed to pull image "{spec.image}": {error}' if error.pulls else str(error)
            self._events.warn(spec.name, "Failed", told)
            raise

    async def _end(self) -> None:
        grace = self._grace or Grace(0.0)
        await self._stop_containers(grace)
        if self._vanished or self._silent:
            return
        self._close()
        self.status.mark()
        await self.status.flush()
        await self._final_delete()

    async def _stop_containers(self, grace: Grace) -> None:
        for container in self.containers:
            container.spare()
        others = [container for container in self.containers if container.spec.role != "sidecar"]
        await asyncio.gather(*(container.stop(grace) for container in others))
        await self._stop_sidecars(grace)

    async def _stop_sidecars(self, grace: Grace) -> None:
        """Sidecars end after the others, in the reverse order of their start."""
        for container in reversed(self.containers):
            if container.spec.role == "sidecar":
                await container.stop(grace)

    def _close(self) -> None:
        close_records(self.status.view.records.values())
        self.status.view.ended = True

    async def _final_delete(self) -> None:
        """Remove the object, as a kubelet does once nothing is left; only this very object, never a namesake."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": self.place.uid},
        }
        try:
            async for trial in patiently(FINAL_DELETE_PATIENCE_S):
                with trial:
                    if not self._vanished:
                        await self._api.request("DELETE", pod_path(self.place.namespace, self.place.name), options)
        except ApiError as error:
            if error.status not in _GONE:
                raise

    def _clean_up(self) -> None:
        hierarchy = self._runtime.hierarchy
        if hierarchy is not None:
            hierarchy.group(self.place.node, self.place.uid).remove()
        if not self._silent:  # the disk of a stopped node is there when it boots again
            remove_folder(self.place.folder)


def remove_folder(folder: Path) -> None:
    """Remove what a pod has on disk, if it has something there."""
    if folder.exists():
        shutil.rmtree(folder)
