"""What a pod's status says, from what its containers do. Pure: records in, the body of a status PATCH out.

Phase and condition rules are the kubelet's (pkg/kubelet/kubelet_pods.go getPhase, pkg/kubelet/status/generate.go).
Conditions that belong to others (PodScheduled, DisruptionTarget, ...) are never in the body: a strategic merge keeps
them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from testbed.nodeagent.objects import Obj
from testbed.nodeagent.pod_spec import Role

TERMINAL_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Waiting:
    """Not running: not yet, or between two attempts."""

    reason: str
    message: str = ""

    def as_api(self) -> Obj:
        """Return the API's ContainerState."""
        return {"waiting": {"reason": self.reason, "message": self.message}}


@dataclass(frozen=True)
class Running:
    """Has a process since `started_at` (API time)."""

    started_at: str

    def as_api(self) -> Obj:
        """Return the API's ContainerState."""
        return {"running": {"startedAt": self.started_at}}


@dataclass(frozen=True)
class Terminated:
    """Had a process that ended.

    Attributes:
        exit_code: as a container runtime reports it: 128 + signal for a killed process.
        reason: Completed, Error, OOMKilled, StartError or ContainerStatusUnknown.
        started_at: API time.
        finished_at: API time.
        container_id: which attempt it was.
        message: why, when the reason does not say it all.
    """

    exit_code: int
    reason: str
    started_at: str
    finished_at: str
    container_id: str = ""
    message: str = ""

    def as_api(self) -> Obj:
        """Return the API's ContainerState."""
        state = {
            "exitCode": self.exit_code,
            "reason": self.reason,
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "containerID": self.container_id,
        }
        return {"terminated": {**state, "message": self.message} if self.message else state}


State = Waiting | Running | Terminated


@dataclass
class ContainerRecord:
    """What is known about one container; the agent's running truth, of which the API holds a copy.

    Attributes:
        name: container name.
        image: image as the spec names it.
        role: init, sidecar or main.
        state: what it does now.
        last: how the attempt before this one ended.
        restart_count: attempts after the first.
        ready: readiness as probed; a container without readiness probe is ready while it runs.
        started: startup probe passed, or running without one.
        container_id: `process://...` of the newest attempt, empty before the first.
    """

    name: str
    image: str
    role: Role
    state: State = field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    restart_count: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    def as_api(self) -> Obj:
        """Return the API's ContainerStatus."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"process://{self.image}",
            "containerID": self.container_id,
            "restartCount": self.restart_count,
            "ready": self._reported_ready,
            "started": self.started and isinstance(self.state, Running),
            "state": self.state.as_api(),
            "lastState": self.last.as_api() if self.last else {},
        }

    @property
    def _reported_ready(self) -> bool:
        if self.role == "init":
            return isinstance(self.state, Terminated) and self.state.exit_code == 0
        return self.ready and isinstance(self.state, Running)

    @property
    def is_ready(self) -> bool:
        """Tell whether it counts as ready for its pod."""
        return self._reported_ready


def phase(records: Sequence[ContainerRecord], policy: str, *, ended: bool = False) -> str:
    """Return the phase of a pod with restart policy `policy`; `ended` says that nothing of it will run again."""
    inits = [record for record in records if record.role == "init"]
    if policy == "Never" and any(_failed(record) for record in inits):
        return "Failed"
    mains = [record for record in records if record.role == "main"]
    if ended:
        return _ended_phase(mains)
    if any(not _done(record) for record in inits):
        return "Pending"
    if any(_never_ran(record) for record in mains):
        return "Pending"
    if any(isinstance(record.state, Running) for record in mains):
        return "Running"
    return _stopped_phase(mains, policy)


def _ended_phase(mains: Iterable[ContainerRecord]) -> str:
    return "Succeeded" if all(_done(record) for record in mains) else "Failed"


def _stopped_phase(mains: Sequence[ContainerRecord], policy: str) -> str:
    if policy == "Always":
        return "Running"
    if all(_done(record) for record in mains):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _failed(record: ContainerRecord) -> bool:
    return isinstance(record.state, Terminated) and record.state.exit_code != 0


def _done(record: ContainerRecord) -> bool:
    return isinstance(record.state, Terminated) and record.state.exit_code == 0


def _never_ran(record: ContainerRecord) -> bool:
    return isinstance(record.state, Waiting) and record.last is None


def readiness_gates_open(spec: Obj, conditions: Iterable[Obj]) -> bool:
    """Tell whether every readiness gate of the pod has its condition True; gates are written by others."""
    true = {condition["type"] for condition in conditions if condition["status"] == "True"}
    return all(gate["conditionType"] in true for gate in spec.get("readinessGates", []))


def owned_conditions(
    records: Sequence[ContainerRecord], pod_phase: str, *, networked: bool, gates_open: bool
) -> dict[str, tuple[bool, str]]:
    """Return value and reason of each condition that a kubelet owns."""
    over = pod_phase in TERMINAL_PHASES
    initialized = all(_initialized(record) for record in records if record.role != "main")
    all_ready = all(record.is_ready for record in records if record.role != "init")
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(pod_phase, "ContainersNotReady")
    ready = not over and all_ready
    gate_reason = reason if not ready else "ReadinessGatesNotReady"
    return {
        "PodReadyToStartContainers": (networked and not over, ""),
        "Initialized": (initialized or pod_phase == "Succeeded", "ContainersNotInitialized"),
        "ContainersReady": (ready, reason),
        "Ready": (ready and gates_open, gate_reason),
    }


def _initialized(record: ContainerRecord) -> bool:
    return _done(record) if record.role == "init" else record.started


def merged_conditions(owned: Mapping[str, tuple[bool, str]], known: Iterable[Obj], now: str) -> list[Obj]:
    """Return the conditions to write; the transition time of one that keeps its value is kept."""
    before = {condition["type"]: condition for condition in known}
    written = []
    for kind, (value, reason) in owned.items():
        status = "True" if value else "False"
        old = before.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        # null removes what an earlier, false value had
        texts = {"reason": None if value else reason or None, "message": None}
        written.append({"type": kind, "status": status, "lastTransitionTime": since or now, **texts})
    return written
