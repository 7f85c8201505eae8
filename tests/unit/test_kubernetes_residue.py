"""What is left on a cluster: found by label and by mark; swept only where no living run and no record owns it."""

import pytest

from harness.drivers.kubernetes.residue import find_helpers, find_marks, sweep
from harness.model.errors import PortError
from tests.unit.kubernetes_stub import status, stub_api

PODS = "/api/v1/namespaces/agents/pods"
KINDS = (
    PODS, "/apis/batch/v1/namespaces/agents/jobs", "/api/v1/namespaces/agents/configmaps",
    "/apis/apps/v1/namespaces/agents/deployments", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
)  # fmt: skip
MARKED = (
    "/api/v1/nodes", "/apis/apiregistration.k8s.io/v1/apiservices", PODS, "/api/v1/namespaces/agents/configmaps",
    "/apis/apps/v1/namespaces/agents/deployments", "/apis/apps/v1/namespaces/agents/statefulsets",
    "/apis/autoscaling/v2/namespaces/agents/horizontalpodautoscalers",
    "/apis/networking.k8s.io/v1/namespaces/agents/networkpolicies",
)  # fmt: skip


def item(name, run="", namespace="agents", annotations=None, **labels):
    found = {**({"gameday.local/run": run} if run else {}), **labels}
    meta = {"name": name, "uid": f"uid-{name}", "labels": found, "annotations": annotations or {}}
    return {"metadata": {**meta, **({"namespace": namespace} if namespace else {})}}


def serve(stub, paths, **items):
    for path in paths:
        found = items.get(path.rpartition("/")[2], [])
        stub.on("GET", path, lambda e, found=found: e.json(200, {"metadata": {}, "items": found}))


def test_g08_orphans_are_swept_and_what_a_living_run_or_a_record_owns_is_spared():
    with stub_api() as (stub, connection):
        states = {"open": "open", "old": "done"}
        records = [item(name, "dead", **{"gameday.local/undo": state}) for name, state in states.items()]
        serve(stub, KINDS, pods=[item("late", "dead"), item("hold", "alive")], configmaps=records)
        for path in (f"{PODS}/late", "/api/v1/namespaces/agents/configmaps/old"):
            stub.on("DELETE", path, lambda e: e.json(200, {}))
        assert sweep(connection, ["agents"], {"alive"}) == ["Pod agents/late"]
        deleted = [(r.path, r.body["preconditions"]) for r in stub.requests if r.method == "DELETE"]
    assert deleted == [
        (f"{PODS}/late", {"uid": "uid-late"}),
        ("/api/v1/namespaces/agents/configmaps/old", {"uid": "uid-old"}),
    ]


def test_what_cannot_be_listed_is_an_error_and_never_clean():
    with stub_api() as (stub, connection):
        serve(stub, KINDS)
        stub.on("GET", PODS, lambda e: e.json(403, status(403, "Forbidden", "no")))
        with pytest.raises(PortError):
            find_helpers(connection, ["agents"])


def test_a21_marks_and_what_the_node_agent_obeys_are_found_with_the_command():
    with stub_api() as (stub, connection):
        nodes = [
            item("general-1", namespace="", annotations={"gameday.local/changed-by.0123": "run-1/cordon-1"}),
            item("general-2", namespace="", annotations={"testbed.gameday.local/stopped": "true"}),
            item("gpu-1", namespace="", annotations={"gameday.local/last-undo": "run-1/x@1"}),
        ]
        pods = [item("p-1", annotations={"testbed.gameday.local/frozen": "true"})]
        serve(stub, MARKED, nodes=nodes, pods=pods)
        found = find_marks(connection, ["agents"])
    assert [(r.subject, r.problem) for r in found] == [
        ("Node general-1", "carries a change of run-1/cordon-1"),
        ("Node general-2", "is stopped"),
        ("Pod agents/p-1", "is frozen"),
    ]
    assert found[2].command.endswith("kubectl -n agents annotate pods p-1 testbed.gameday.local/frozen-")
