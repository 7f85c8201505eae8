"""Records of containers at the two ends of an agent's knowledge: first sight of a pod, and its closing. Pure.

After a restart of the agent (or of a node) the processes that the API still shows are gone, as after a reboot.
"""

from collections.abc import Iterable

from testbed.nodeagent.objects import Obj, rfc3339
from testbed.nodeagent.pod_spec import ContainerSpec, containers, restart_policy, restarts
from testbed.nodeagent.pod_status import ContainerRecord, Terminated

LOST_EXIT_CODE = 137
_LOST = "The container could not be located; its node or node agent was restarted"
_NEVER_RAN = "The container could not be located when the pod was terminated"


def adopted_records(obj: Obj) -> dict[str, ContainerRecord]:
    """Return the records of a pod's containers, continuing what the API shows of an earlier life."""
    status = obj.get("status", {})
    known = {entry["name"]: entry for key in _STATUS_LISTS for entry in status.get(key) or []}
    return {spec.name: _adopted(spec, obj["spec"], known.get(spec.name, {})) for spec in containers(obj["spec"])}


_STATUS_LISTS = ("initContainerStatuses", "containerStatuses")


def _adopted(spec: ContainerSpec, pod_spec: Obj, known: Obj) -> ContainerRecord:
    record = ContainerRecord(spec.name, spec.image, spec.role)
    record.restart_count = int(known.get("restartCount", 0))
    state = known.get("state", {})
    record.last = _terminated(known.get("lastState", {}).get("terminated"))
    ended = _terminated(state.get("terminated")) or _lost(state.get("running"), str(known.get("containerID", "")))
    if ended is None:
        return record
    record.container_id = ended.container_id
    finished_init = spec.role == "init" and ended.exit_code == 0
    if finished_init or not restarts(restart_policy(pod_spec, spec.role), ended.exit_code):
        record.state = ended
        return record
    record.last, record.restart_count = ended, record.restart_count + 1
    return record


def _terminated(state: Obj | None) -> Terminated | None:
    if not state:
        return None
    return Terminated(
        int(state["exitCode"]),
        str(state.get("reason", "")),
        str(state.get("startedAt") or rfc3339()),
        str(state.get("finishedAt") or rfc3339()),
        str(state.get("containerID", "")),
        str(state.get("message", "")),
    )


def _lost(running: Obj | None, container_id: str) -> Terminated | None:
    if running is None:
        return None
    started_at = str(running.get("startedAt") or rfc3339())
    return Terminated(LOST_EXIT_CODE, "ContainerStatusUnknown", started_at, rfc3339(), container_id, _LOST)


def close_records(records: Iterable[ContainerRecord]) -> None:
    """Turn every record into an ended one, as the kubelet does before the last DELETE (TerminatePod)."""
    for record in records:
        record.ready = record.started = False
        if not isinstance(record.state, Terminated):
            now = rfc3339()
            record.state = record.last or Terminated(LOST_EXIT_CODE, "ContainerStatusUnknown", now, now, "", _NEVER_RAN)
