"""What a run sees of an autoscaler of nodes on a real API server, with the printed rights and no more (CASES F17)."""

import pytest

from harness.drivers.kubernetes.connection import Call
from harness.drivers.kubernetes.observer import observer_permissions
from harness.model.experiment import Scope
from harness.model.facts import NodeAutoscalerFact, NodeAutoscalerFlagsFact
from harness.model.fault import Permission
from harness.rbac import manifests, subject_of
from tests.contract.test_rights_cluster import grant, seen_by
from tests.unit.test_node_autoscaler import TEXT, YAML

pytestmark = pytest.mark.testbed
SYSTEM = "kube-system"
ROOT = f"/api/v1/namespaces/{SYSTEM}"
__all__ = ["grant"]


@pytest.fixture
def scaler(real_world):
    """Let a cluster have an autoscaler's status and Deployment, under a name of the test's own."""
    name = f"status-{real_world.namespace}"
    paths = {
        f"{ROOT}/configmaps": config_map(name, TEXT),
        f"/apis/apps/v1/namespaces/{SYSTEM}/deployments": workload(name),
    }
    for path, body in paths.items():
        real_world._post(path, body)
    yield name
    for path in paths:
        real_world._admin.send(Call(f"delete {path}", "DELETE", f"{path}/{name}"))


def config_map(name, text):
    meta = {"name": name, "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"status": text}}


def workload(name):
    command = ["./cluster-autoscaler", "--scale-down-unneeded-time=5m", "--cloud-config=/etc/secret"]
    container = {"name": "scaler", "image": "example/cluster-autoscaler:v1", "command": command}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def node_event(node, number):
    involved = {"kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"], "apiVersion": "v1"}
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"scaled.{number}", "namespace": "default"},
        "involvedObject": involved, "reason": "ScaleDown", "message": "node removed by cluster autoscaler",
        "type": "Normal", "source": {"component": "cluster-autoscaler"},
    }  # fmt: skip


def test_f17_a_user_with_the_printed_rights_sees_the_status_the_flags_and_the_events_of_nodes(
    real_world, light_testbed, scaler, grant
):
    scope = Scope((real_world.namespace,), node_autoscalers=(f"{SYSTEM}/{scaler}",))
    user = f"nodes-{real_world.namespace}"
    wanted = observer_permissions(scope.namespaces, False, scope.node_autoscalers)
    observer = seen_by(light_testbed, user)
    grant(manifests(f"gameday:nodes:{real_world.namespace}", wanted, subject_of(user, "")))
    real_world.until(lambda: not observer.allowed(wanted) or None, f"rights of {user}")
    other = Permission("list", "configmaps", namespace=SYSTEM, name="another")
    assert list(observer.allowed([other])) == [other]
    observer.start(scope)
    try:
        (status,) = observer.current(NodeAutoscalerFact.kind)
        assert (status.name, status.state, status.candidates) == (scaler, "Running", 1)
        flags = {f.name: f.flags for f in observer.current(NodeAutoscalerFlagsFact.kind)}
        assert flags[scaler] == {"scale-down-unneeded-time": "5m"}
        assert not [o for o in observer.poll() if o.kind == "watch" and o.detail["state"] != "open"]
        change(real_world, scaler)
        real_world._post(
            "/api/v1/namespaces/default/events", node_event(real_world.node_object(), real_world.namespace)
        )
        seen = []

        def look():
            seen.extend(observer.poll())
            told = [o for o in seen if o.kind == "nodeautoscaler" and o.detail["scale_up"] == "NoActivity"]
            events = [o for o in seen if o.kind == "k8s-event" and o.detail["reason"] == "ScaleDown"]
            return (told, events) if told and events else None

        told, events = real_world.until(look, "status and Event")
        assert (told[-1].subject, events[-1].subject) == (f"{SYSTEM}/{scaler}", real_world.node)
    finally:
        observer.stop()


def change(world, name):
    body = config_map(name, YAML.replace("InProgress", "NoActivity"))
    path = f"{ROOT}/configmaps/{name}"
    world._admin.send(Call(f"change {name}", "PUT", path, body=body))
