"""Writes the status of one pod, one PATCH at a time, until the API has the newest.

PATCHes on different connections can overtake each other, so each pod has one writer that sends the next only after the
answer to the last. It also repairs what others overwrote: after a stall of the API server the node lifecycle controller
marks pods not ready, and nobody but the kubelet takes that back.
"""

import asyncio
import logging
from dataclasses import dataclass

from testbed.nodeagent.api import STRATEGIC_PATCH, ApiClient, ApiError, pod_path
from testbed.nodeagent.objects import Obj, rfc3339, title
from testbed.nodeagent.pod_status import (
    TERMINAL_PHASES,
    ContainerRecord,
    merged_conditions,
    owned_conditions,
    phase,
    readiness_gates_open,
)

_log = logging.getLogger(__name__)
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 3.0
_GONE = (404, 409)


@dataclass
class PodView:
    """All that a pod's status is made of.

    Attributes:
        obj: the newest object of the API.
        pod_ip: its address in the API.
        host_ip: InternalIP of its node.
        policy: restart policy of the pod.
        records: its containers by name.
        ended: nothing of it will run again.
        reason: why the pod as a whole failed, if it did.
        message: the same in words.
    """

    obj: Obj
    pod_ip: str
    host_ip: str
    policy: str
    records: dict[str, ContainerRecord]
    ended: bool = False
    reason: str = ""
    message: str = ""

    def body(self, now: str) -> Obj:
        """Return the body of the PATCH that makes the API show this."""
        known = self.obj.get("status", {})
        records = list(self.records.values())
        pod_phase = self._phase(known)
        owned = owned_conditions(records, pod_phase, networked=not self.ended, gates_open=self.gates_open)
        status: Obj = {
            "phase": pod_phase,
            "startTime": known.get("startTime") or now,
            "hostIP": self.host_ip,
            "hostIPs": [{"ip": self.host_ip}],
            "podIP": self.pod_ip,
            "podIPs": self._pod_ips(known),
            "observedGeneration": self.obj["metadata"].get("generation", 0),
            "conditions": merged_conditions(owned, known.get("conditions", []), now),
            "containerStatuses": [record.as_api() for record in records if record.role == "main"],
        }
        if inits := [record.as_api() for record in records if record.role != "main"]:
            status["initContainerStatuses"] = inits
        if self.reason:
            status |= {"reason": self.reason, "message": self.message}
        return {"metadata": {"uid": self.obj["metadata"]["uid"]}, "status": status}

    @property
    def gates_open(self) -> bool:
        """Tell whether every readiness gate of the pod is open."""
        return readiness_gates_open(self.obj["spec"], self.obj.get("status", {}).get("conditions", []))

    def _phase(self, known: Obj) -> str:
        if known.get("phase") in TERMINAL_PHASES:
            return str(known["phase"])
        if self.reason and self.ended:
            return "Failed"
        return phase(list(self.records.values()), self.policy, ended=self.ended)

    def _pod_ips(self, known: Obj) -> list[Obj]:
        # a strategic merge adds to podIPs by ip, and the API refuses two of one family
        fresh = {"ip": self.pod_ip}
        if known.get("podIP") in (None, "", self.pod_ip):
            return [fresh]
        return [{"$patch": "replace"}, fresh]


class StatusWriter:
    """Keeps the API's copy of a pod's status up to date.

    Attributes:
        view: what the status is made of; whoever changes it calls `mark`.
    """

    def __init__(self, api: ApiClient, view: PodView) -> None:
        self.view = view
        self._api = api
        self._dirty = False
        self._silent = False
        self._task: asyncio.Task[None] | None = None
        self._sent: Obj = {}
        self._in_flight = False

    def mark(self) -> None:
        """Say that the view changed."""
        self._dirty = True
        if not self._silent and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._drain())

    def silence(self) -> None:
        """Write nothing any more."""
        self._silent = True

    async def flush(self) -> None:
        """Wait until what was marked is written, or cannot be."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    def seen(self, obj: Obj) -> None:
        """Take a newer object, and write again what somebody else overwrote."""
        if _version(obj) < _version(self.view.obj):
            return  # older than the answer to our last PATCH
        gates_were_open = self.view.gates_open
        self.view.obj = obj
        if self.view.gates_open != gates_were_open:
            self.mark()
        if not self._in_flight:
            self._repair()

    def _repair(self) -> None:
        """Write again if what the API has now is not what was written last."""
        obj = self.view.obj
        if self._sent and not self._silent and _claims(obj.get("status", {})) != _claims(self._sent):
            _log.info("status of %s was overwritten; writing it again", title(obj))
            self.mark()

    async def _drain(self) -> None:
        await asyncio.sleep(0)  # what changes in the same moment goes in one PATCH
        pause_s = RETRY_FIRST_S
        while self._dirty and not self._silent:
            self._dirty = False
            try:
                await self._write()
            except ApiError as error:
                if not self._again(error):
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(RETRY_MAX_S, 2 * pause_s)

    def _again(self, error: ApiError) -> bool:
        if error.status in _GONE:
            self._silent = True
            return False
        if error.transient:
            self._dirty = True
            return True
        _log.error("status of %s refused: %s", title(self.view.obj), error)
        return self._dirty

    async def _write(self) -> None:
        meta = self.view.obj["metadata"]
        body = self.view.body(rfc3339())
        path = pod_path(meta["namespace"], meta["name"], "status")
        self._in_flight = True
        try:
            answer = await self._api.request("PATCH", path, body, content_type=STRATEGIC_PATCH)
        finally:
            self._in_flight = False
        self._sent = body["status"]
        if _version(answer) >= _version(self.view.obj):
            self.view.obj = answer
        else:
            self._repair()  # somebody wrote after us, and the watch was faster than the answer


def _version(obj: Obj) -> int:
    # comparable as numbers within one resource since Kubernetes 1.35
    return int(obj["metadata"]["resourceVersion"])


def _claims(status: Obj) -> tuple[str, list[tuple[str, str]]]:
    """Return what the kubelet alone may say: phase and readiness."""
    owned = [
        (c["type"], c["status"]) for c in status.get("conditions", []) if c["type"] in ("Ready", "ContainersReady")
    ]
    return str(status.get("phase", "")), sorted(owned)
