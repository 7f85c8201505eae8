"""Phases, conditions and container statuses by table (pkg/kubelet/kubelet_pods.go getPhase)."""

import pytest

from testbed.nodeagent.objects import Obj
from testbed.nodeagent.pod_status import (
    ContainerRecord,
    Running,
    State,
    Terminated,
    Waiting,
    merged_conditions,
    owned_conditions,
    phase,
    readiness_gates_open,
)

NOW = "2026-01-01T00:00:00Z"
RUN = Running(NOW)
OK = Terminated(0, "Completed", NOW, NOW)
BAD = Terminated(3, "Error", NOW, NOW)
NEW = Waiting("ContainerCreating")
BACK_OFF = Waiting("CrashLoopBackOff")


def record(state: State, role: str = "main", last: Terminated | None = None, **more: bool) -> ContainerRecord:
    return ContainerRecord("c", "image", role, state, last, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "policy", "expected"),
    [
        ([NEW], "Always", "Pending"),
        ([RUN, NEW], "Always", "Pending"),
        ([RUN], "Always", "Running"),
        ([RUN, BAD], "Never", "Running"),
        ([OK], "Always", "Running"),
        ([OK], "OnFailure", "Succeeded"),
        ([OK, OK], "Never", "Succeeded"),
        ([OK, BAD], "Never", "Failed"),
        ([OK, BAD], "OnFailure", "Running"),
        ([BAD], "Always", "Running"),
    ],
)
def test_the_phase_follows_the_kubelet_rules(states: list[State], policy: str, expected: str) -> None:
    assert phase([record(state) for state in states], policy) == expected


def test_a_container_in_back_off_counts_as_stopped_not_as_never_started() -> None:
    assert phase([record(BACK_OFF, last=BAD)], "Always") == "Running"
    assert phase([record(BACK_OFF)], "Always") == "Pending"


@pytest.mark.parametrize(
    ("init", "policy", "expected"),
    [(RUN, "Always", "Pending"), (NEW, "Never", "Pending"), (BAD, "Never", "Failed"), (BAD, "Always", "Pending")],
)
def test_an_unfinished_init_container_keeps_the_pod_pending_and_a_failed_one_fails_it_only_under_never(
    init: State, policy: str, expected: str
) -> None:
    assert phase([record(init, "init"), record(NEW)], policy) == expected


@pytest.mark.parametrize(("states", "expected"), [([OK], "Succeeded"), ([OK, BAD], "Failed"), ([NEW], "Failed")])
def test_an_ended_pod_is_terminal_whatever_its_restart_policy(states: list[State], expected: str) -> None:
    assert phase([record(state) for state in states], "Always", ended=True) == expected


def test_a_sidecar_does_not_keep_a_finished_pod_running() -> None:
    assert phase([record(RUN, "sidecar", started=True), record(OK)], "Never") == "Succeeded"


def test_a_pod_is_ready_only_when_every_container_and_every_gate_is() -> None:
    ready = record(RUN, ready=True, started=True)
    both = owned_conditions([ready, record(RUN, started=True)], "Running", networked=True, gates_open=True)
    assert both["Ready"] == (False, "ContainersNotReady")
    closed = owned_conditions([ready], "Running", networked=True, gates_open=False)
    assert closed["ContainersReady"][0] is True
    assert closed["Ready"] == (False, "ReadinessGatesNotReady")
    assert owned_conditions([ready], "Running", networked=True, gates_open=True)["Ready"][0] is True


@pytest.mark.parametrize(("pod_phase", "reason"), [("Succeeded", "PodCompleted"), ("Failed", "PodFailed")])
def test_a_terminal_pod_is_not_ready_and_says_why(pod_phase: str, reason: str) -> None:
    owned = owned_conditions([record(RUN, ready=True)], pod_phase, networked=True, gates_open=True)
    assert owned["Ready"] == (False, reason)
    assert owned["ContainersReady"] == (False, reason)
    assert owned["PodReadyToStartContainers"][0] is False


def test_a_condition_that_keeps_its_value_keeps_its_transition_time() -> None:
    known: list[Obj] = [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"},
        {"type": "Initialized", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z"},
    ]
    written = {c["type"]: c for c in merged_conditions({"Ready": (True, "x"), "Initialized": (True, "")}, known, NOW)}
    assert written["Ready"]["lastTransitionTime"] == "2025-01-01T00:00:00Z"
    assert written["Initialized"]["lastTransitionTime"] == NOW


def test_conditions_of_others_are_never_in_the_patch() -> None:
    known: list[Obj] = [{"type": "DisruptionTarget", "status": "True"}, {"type": "PodScheduled", "status": "True"}]
    owned = owned_conditions([record(RUN)], "Running", networked=True, gates_open=True)
    written = {condition["type"] for condition in merged_conditions(owned, known, NOW)}
    assert written == {"PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"}


def test_readiness_gates_are_read_from_the_conditions_that_others_write() -> None:
    spec: Obj = {"readinessGates": [{"conditionType": "example.com/lb"}]}
    assert not readiness_gates_open(spec, [])
    assert readiness_gates_open(spec, [{"type": "example.com/lb", "status": "True"}])


def test_a_container_that_is_not_running_is_reported_neither_ready_nor_started() -> None:
    reported = record(BACK_OFF, last=BAD, ready=True, started=True).as_api()
    assert (reported["ready"], reported["started"]) == (False, False)
    assert reported["lastState"]["terminated"]["exitCode"] == 3
