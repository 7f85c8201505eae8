"""What the eviction subresource's answers mean (CASES B14), and preconditions."""

import pytest

from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.facts import pod_fact
from harness.model.errors import PortError
from tests.unit.kubernetes_stub import pod, status, stub_api

POD = "/api/v1/namespaces/agents/pods/a"
EVICTION = f"{POD}/eviction"
BUDGET = ("DisruptionBudget", "The disruption budget planner needs 2 healthy pods and has 2 currently")
OVERLAP = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


@pytest.mark.parametrize(
    ("code", "answer", "expected", "said"),
    [
        (201, {"kind": "Status", "status": "Success"}, "accepted", ""),
        (429, status(429, "TooManyRequests", "Cannot evict pod.", BUDGET), "blocked", "budget planner needs 2"),
        (429, status(429, "TooManyRequests", "too many requests"), "throttled", "too many requests"),
        (500, status(500, "InternalError", OVERLAP), "overlap", "more than one"),
        (404, status(404, "NotFound", "not found"), "gone", "not found"),
        (403, status(403, "Forbidden", "agents is being terminated", ("NamespaceTerminating", "x")), "refused",
         "terminated"),
        (422, status(422, "Invalid", "name missing"), "refused", "name missing"),
    ],
)  # fmt: skip
def test_a08_a09_b14_each_answer_of_the_eviction_subresource_has_one_meaning(code, answer, expected, said):
    with stub_api() as (stub, connection):
        stub.on("POST", EVICTION, lambda e: e.json(code, answer))
        result = KubernetesActor(connection).evict_pod(pod_fact(pod("a", "u1", "1")))
        assert (result.status, said in result.message) == (expected, True)
        assert len(stub.requests) == 1, "an eviction is asked once; when to ask again is the fault's decision"


@pytest.mark.parametrize(("causes", "status_", "waits_s"), [((), "throttled", 2.0), ((BUDGET,), "blocked", 0.0)])
def test_b14_an_eviction_says_when_to_ask_again_where_the_server_is_busy_and_not_where_a_budget_blocks(
    causes, status_, waits_s
):
    with stub_api() as (stub, connection):
        answer = status(429, "TooManyRequests", "later", *causes)
        stub.on("POST", EVICTION, lambda e: e.json(429, answer, Retry_After="2"))
        result = KubernetesActor(connection).evict_pod(pod_fact(pod("a", "u1", "1")))
        assert (result.status, result.retry_after_s, len(stub.requests)) == (status_, waits_s, 1)


def test_a_server_error_that_is_no_overlap_is_no_answer():
    with stub_api() as (stub, connection):
        stub.on("POST", EVICTION, lambda e: e.json(500, status(500, "InternalError", "etcd is away")))
        with pytest.raises(PortError, match="etcd is away"):
            KubernetesActor(connection).evict_pod(pod_fact(pod("a", "u1", "1")))


def test_an_eviction_carries_name_uid_and_dry_run():
    with stub_api() as (stub, connection):
        stub.on("POST", EVICTION, lambda e: e.json(201, {"kind": "Status"}))
        KubernetesActor(connection).evict_pod(pod_fact(pod("a", "u1", "1")), dry_run=True)
        body = stub.requests[0].body
    assert body["metadata"] == {"name": "a", "namespace": "agents"}
    assert body["deleteOptions"] == {"preconditions": {"uid": "u1"}, "dryRun": ["All"]}


@pytest.mark.parametrize(("present", "expected"), [("u2", "gone"), ("u1", "refused")])
def test_a_conflict_is_gone_only_where_another_pod_has_the_name(present, expected):
    with stub_api() as (stub, connection):
        stub.on("POST", EVICTION, lambda e: e.json(409, status(409, "Conflict", "changed")))
        stub.on("GET", POD, lambda e: e.json(200, pod("a", present, "9")))
        assert KubernetesActor(connection).evict_pod(pod_fact(pod("a", "u1", "1"))).status == expected


@pytest.mark.parametrize(("grace_s", "sent"), [(None, {}), (0, {"gracePeriodSeconds": 0})])
def test_a_delete_carries_the_uid_and_the_grace_that_was_asked_for(grace_s, sent):
    with stub_api() as (stub, connection):
        stub.on("DELETE", POD, lambda e: e.json(200, {"kind": "Pod"}))
        assert KubernetesActor(connection).delete_pod(pod_fact(pod("a", "u1", "1")), grace_s)
        body = stub.requests[0].body
    assert body["preconditions"] == {"uid": "u1"}
    assert {key: value for key, value in body.items() if key == "gracePeriodSeconds"} == sent


def test_a_pod_that_is_gone_is_no_error_but_counts_as_nothing_done():
    with stub_api() as (_, connection):
        actor = KubernetesActor(connection)
        assert actor.delete_pod(pod_fact(pod("a", "u1", "1")), 0) is False
        assert actor.terminate_pods("agents", ["a"], 0) == []
        assert actor.pod("agents", "a") is None
