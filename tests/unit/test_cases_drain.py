"""A drain, and budgets that a kill does not ask, in the API server's own words (CASES A08, A09, F03, F05, F08, F09)."""

from itertools import pairwise

import pytest

from experiments.faults.context import FaultContext, FaultError, drive
from experiments.faults.registry import FAULTS
from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.facts import pod_fact
from harness.model.errors import PortError
from harness.model.facts import PdbFact
from harness.model.fault import FaultPlan
from harness.ports import EvictionResult, Permit
from tests.unit import kubernetes_stub
from tests.unit.fault_doubles import FakeCluster, SteppedClock, bench, plan
from tests.unit.kubernetes_stub import status, stub_api

BLOCKED = EvictionResult("blocked", "429: Cannot evict pod as it would violate the pod's disruption budget.")
THROTTLED = EvictionResult("throttled", "429: too many requests")
GONE = EvictionResult("gone", "404: pods not found")
ENDING = EvictionResult(
    "refused", "403: unable to create new content in namespace agents because it is being terminated"
)
FORBIDDEN = EvictionResult("refused", "403: pods is forbidden: User runner cannot create resource pods/eviction")
OWNER = {"kind": "ReplicaSet", "name": "rs", "controller": True}
SELECTOR = {"matchLabels": {"app": "planner"}}


def pod(name, ready=True, spec=None, **meta):
    own = {"namespace": "agents", "name": name, "uid": f"uid-{name}", "ownerReferences": [OWNER]}
    return {
        "metadata": {**own, "labels": {"app": "planner"}, **meta},
        "spec": {"nodeName": "n1", **(spec or {})},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class Node(FakeCluster):
    """One node with pods; each pod's evictions are answered from its own list, then granted.

    Attributes:
        leaves_after_s: How long a pod terminates.
        leaves: When each pod goes, by name.
        asked: When which eviction was asked for.
    """

    def __init__(self, *pods, said=None, leaves_after_s=0.0, leaves=None, budget=None):
        super().__init__(SteppedClock(), [])
        self.pods_there = list(pods)
        self.said = {name: list(answers) for name, answers in (said or {}).items()}
        self.leaves_after_s, self.leaves, self.budget = leaves_after_s, dict(leaves or {}), budget
        self.node = {"kind": "Node", "metadata": {"name": "n1", "uid": "uid-n1", "resourceVersion": "1"}, "spec": {}}
        self.node["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.asked = []

    def get(self, ref):
        return self.node

    def patch(self, ref, seen, values, subresource=""):
        self.node["spec"]["unschedulable"] = True
        return self.node

    def find(self, api_version, kind, namespace="", selector="", field_selector=""):
        now_s = self.clock.t_s
        self.pods_there = [p for p in self.pods_there if self.leaves.get(p["metadata"]["name"], 1e9) > now_s]
        budgets = [] if self.budget is None else [self.budget]
        return {"Pod": list(self.pods_there), "PodDisruptionBudget": budgets}.get(kind, [])

    def evict_pod(self, pod, dry_run=False):
        self.asked.append((self.clock.t_s, pod.name))
        answers = self.said.get(pod.name, [])
        answer = answers.pop(0) if answers else EvictionResult("accepted")
        if answer.status == "accepted":
            self.leaves[pod.name] = self.clock.t_s + self.leaves_after_s
        elif answer.status == "gone":
            self.leaves[pod.name] = 0.0
        return answer


def drain(node, **arguments):
    """Drain the node; return the last event of the fault, and the error if it failed."""
    seen, fault = [], FAULTS["drain_nodes"]
    asked = FaultPlan("drain", "drain_nodes", {"nodes": ["n1"], **arguments}, 0.0, 60.0, fault.loss, fault.undo, "")
    context = FaultContext(
        "run-1", 7, node, node, node.clock, lambda *a: Permit(True), seen.append, node.terminate_pods
    )
    try:
        drive(fault.steps(context, asked), node.clock)
        problem = ""
    except FaultError as error:
        problem = error.problem
    return [o.detail for o in seen if o.kind == "fault"][-1], problem


def outcomes(told):
    return {one["pod"].partition("/")[2]: (one["status"], one["reason"]) for one in told["outcomes"]}


def test_a09_a_drain_tells_who_was_evicted_and_who_was_left_out_and_why():
    local = pod("local", spec={"volumes": [{"name": "shm", "emptyDir": {}}]})
    agent = pod("agent", ownerReferences=[{"kind": "DaemonSet", "controller": True}])
    told, problem = drain(Node(local, agent, pod("gone"), said={"gone": [GONE]}))
    assert (told["effect"], told["drained"], problem) == ("CONFIRMED", True, "")
    found = outcomes(told)
    assert {name: status for name, (status, _) in found.items()} == {
        "local": "gone",
        "agent": "skipped",
        "gone": "gone",
    }
    assert "DaemonSet" in found["agent"][1]


def test_a08_a_blocked_eviction_is_asked_again_and_a_throttled_one_less_and_less_often():
    blocked = Node(pod("a"), said={"a": [BLOCKED] * 5})
    throttled = Node(pod("a"), said={"a": [THROTTLED] * 5})
    for node in (blocked, throttled):
        assert drain(node)[0]["effect"] == "CONFIRMED"
        assert len(node.asked) == 6
    pauses = [[later - at for (at, _), (later, _) in pairwise(node.asked)] for node in (blocked, throttled)]
    assert pauses[0] == [1.0] * 5
    assert pauses[1] == [1.0, 2.0, 4.0, 8.0, 8.0]


def test_b14_a_throttled_eviction_of_a_drain_waits_as_long_as_the_server_says():
    node = Node(
        pod("a"), said={"a": [EvictionResult("throttled", "429", 7.0), EvictionResult("throttled", "429", 0.0)]}
    )
    assert drain(node)[0]["effect"] == "CONFIRMED"
    assert [later - at for (at, _), (later, _) in pairwise(node.asked)] == [7.0, 2.0]


def test_f03_a_blocked_drain_names_the_pods_that_are_not_ready():
    said = {"observedGeneration": 1, "expectedPods": 3, "currentHealthy": 1, "disruptionsAllowed": 0}
    budget = {
        "metadata": {"namespace": "agents", "name": "planner", "generation": 1},
        "spec": {"minAvailable": 2, "selector": SELECTOR},
        "status": said,
    }
    crashing = [pod("b", ready=False), pod("c", ready=False)]
    told, problem = drain(Node(pod("a"), *crashing, said={"a": [BLOCKED] * 99}, budget=budget), within_s=5)
    assert (told["effect"], told["drained"], told["blocked_by"]) == ("UNCLEAR", False, ["agents/planner"])
    assert "blocked by PDB agents/planner" in problem and "wants 2 healthy pods and has 1" in problem
    told, problem = drain(Node(*crashing, pod("a"), said={n: [BLOCKED] * 99 for n in "abc"}, budget=budget), within_s=5)
    assert "not Ready: b, c" in problem


def test_f08_a_pod_that_still_terminates_blocks_the_drain_and_is_not_evicted_again():
    node = Node(pod("a"), leaves_after_s=30.0)
    told, problem = drain(node, within_s=10)
    assert (told["effect"], told["drained"]) == ("UNCLEAR", False)
    assert "agents/a is still terminating" in problem
    patient = Node(pod("a"), leaves_after_s=30.0)
    told, _ = drain(patient, within_s=50)
    assert told["drained"] is True and len(patient.asked) == 1


def test_f09_a_namespace_that_is_going_is_waited_for_and_missing_rights_are_not():
    going = Node(pod("a"), said={"a": [ENDING] * 99}, leaves={"a": 6.0})
    told, problem = drain(going)
    assert (told["effect"], told["drained"], problem) == ("CONFIRMED", True, "")
    forbidden = Node(pod("a"), said={"a": [FORBIDDEN] * 99})
    told, problem = drain(forbidden, within_s=5)
    assert told["drained"] is False and "User runner cannot create" in problem


def test_f09_the_words_are_those_that_the_client_hands_on():
    said = 'pods "a" is forbidden: unable to create new content in namespace agents because it is being terminated'
    cause = ("NamespaceTerminating", "namespace agents is being terminated")
    with stub_api() as (stub, connection):
        path = "/api/v1/namespaces/agents/pods/a/eviction"
        stub.on("POST", path, lambda e: e.json(403, status(403, "Forbidden", said, cause)))
        answer = KubernetesActor(connection).evict_pod(pod_fact(kubernetes_stub.pod("a", "uid-a", "1")))
    told, problem = drain(Node(pod("a"), said={"a": [answer] * 99}, leaves={"a": 3.0}))
    assert answer.status == "refused" and (told["drained"], problem) == (True, "")


BUDGET = PdbFact("u", "agents", "planner", min_available="8", selector={"app": "planner"}, disruptions_allowed=1)


class Budgeted:
    """Makes the doubles' cluster answer with budgets, or not at all."""

    def __init__(self, monkeypatch, answer):
        monkeypatch.setattr(FakeCluster, "pdbs", lambda cluster, namespace: answer(), raising=True)


def notes_of(action, monkeypatch, answer):
    Budgeted(monkeypatch, answer)
    on = bench()
    drive(FAULTS[action].steps(on.context, plan(action, count=3)), on.cluster.clock)
    return [str(seen.detail["message"]) for seen in on.seen if seen.kind == "note"]


@pytest.mark.parametrize("action", ["kill_pods", "delete_pods"])
def test_f05_a_kill_looks_at_the_budgets_that_it_does_not_ask_and_says_so(action, monkeypatch):
    other = PdbFact("v", "agents", "other", selector={"app": "other"}, disruptions_allowed=0)
    (note,) = notes_of(action, monkeypatch, lambda: [BUDGET, other])
    assert note == "PDB agents/planner allows 1 now and is not asked: 3 of its pods are taken"


def test_f05_a_budget_that_is_unknown_or_unreadable_is_said_too_and_an_eviction_asks_for_itself(monkeypatch):
    def refused():
        raise PortError("kubernetes", "list budgets", "403: no")

    (note,) = notes_of("kill_pods", monkeypatch, lambda: [PdbFact("u", "agents", "p", selector={"app": "planner"})])
    assert "allows an unknown number" in note
    (note,) = notes_of("kill_pods", monkeypatch, refused)
    assert "none could be read" in note
    assert notes_of("evict_pods", monkeypatch, lambda: [BUDGET]) == []
