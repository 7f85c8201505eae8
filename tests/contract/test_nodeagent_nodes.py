"""Contract of the node agent with a real API server: nodes, kubelet APIs, and the agent's own restart."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import requests
import yaml

from testbed.layout import Node
from tests.contract.nodeagent_world import NodeAgentWorld, condition, container, ready

pytestmark = pytest.mark.testbed

STOPPED = "testbed.gameday.local/stopped"
HEARTBEATS_S = 11.0  # the agent posts node conditions every 10 s


@pytest.fixture
def world(light_testbed: dict[str, Any]) -> Iterator[NodeAgentWorld]:
    found = NodeAgentWorld(light_testbed)
    try:
        yield found
    finally:
        found.close()


def node_ready(world: NodeAgentWorld, name: str) -> str:
    return condition(world.get(f"/api/v1/nodes/{name}"), "Ready")


def test_the_nodes_have_the_labels_taints_and_capacity_of_the_contract(world: NodeAgentWorld) -> None:
    nodes = {node["metadata"]["name"]: node for node in world.get("/api/v1/nodes")["items"]}
    pools = {name: node["metadata"]["labels"]["gameday.local/pool"] for name, node in nodes.items()}
    assert pools == {
        "general-1": "general", "general-2": "general", "gpu-1": "gpu", "spot-1": "spot", "infra-1": "infra",
        "spot-2": "spot",
    }  # fmt: skip
    taints = {name: [t["key"] for t in node["spec"].get("taints", [])] for name, node in nodes.items()}
    assert taints == {
        "general-1": [],
        "general-2": [],
        "gpu-1": ["gpu"],
        "spot-1": ["spot"],
        "infra-1": ["infra"],
        "spot-2": ["spot"],
    }
    assert nodes["gpu-1"]["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes.values()} == {
        "zone-a",
        "zone-b",
    }


def _reboot(world: NodeAgentWorld, node: Node) -> None:
    """Stop a node and let it boot; its kubelet API tells when it is off and on."""

    def serves() -> bool:
        try:
            return requests.get(f"https://{node.internal_ip}:10250/healthz", verify=ca, timeout=2).status_code > 0
        except requests.ConnectionError:
            return False

    ca, path = str(world.layout.ca_cert), f"/api/v1/nodes/{node.name}"
    world.patch(path, {"metadata": {"annotations": {STOPPED: "true"}}})
    try:
        world.until(lambda: not serves(), "the node is off")
    finally:
        world.patch(path, {"metadata": {"annotations": {STOPPED: None}}})
    world.until(lambda: serves() and node_ready(world, node.name) == "True", "the node is on")


def test_g01_a_capacity_that_others_patch_outlives_heartbeats_and_a_reboot(world: NodeAgentWorld) -> None:
    """G01."""

    def gpus(count: str) -> None:
        resources = {"nvidia.com/gpu": count}
        world.patch("/api/v1/nodes/gpu-1/status", {"status": {"capacity": resources, "allocatable": resources}})

    gpus("1")
    try:
        time.sleep(HEARTBEATS_S)
        assert world.get("/api/v1/nodes/gpu-1")["status"]["allocatable"]["nvidia.com/gpu"] == "1"
        _reboot(world, world.layout.nodes[2])
        status = world.get("/api/v1/nodes/gpu-1")["status"]
        assert (status["capacity"]["nvidia.com/gpu"], status["allocatable"]["nvidia.com/gpu"]) == ("1", "1")
    finally:
        gpus("4")
    status = world.get("/api/v1/nodes/gpu-1")["status"]
    assert (status["capacity"]["nvidia.com/gpu"], status["allocatable"]["nvidia.com/gpu"]) == ("4", "4")


def test_a_stopped_node_says_nothing_until_it_boots_and_then_clears_its_zombies(world: NodeAgentWorld) -> None:
    world.run_pod("p", {"command": ["sleep", "600"]}, nodeName="spot-1", tolerations=[{"operator": "Exists"}])
    world.when("p", ready, "Ready")
    address = world.layout.nodes[3].internal_ip
    path = "/api/v1/nodes/spot-1"
    world.patch(path, {"metadata": {"annotations": {STOPPED: "true"}}})
    try:
        world.until(lambda: node_ready(world, "spot-1") == "Unknown", "the control plane misses the node")
        with pytest.raises(requests.ConnectionError):
            requests.get(f"https://{address}:10250/healthz", verify=str(world.layout.ca_cert), timeout=2)
        world.delete(world.path("pods", "p"), 1)
        time.sleep(2)
        assert "deletionTimestamp" in world.pod("p")["metadata"]  # nobody there to finalise it
    finally:
        world.patch(path, {"metadata": {"annotations": {STOPPED: None}}})
    world.until(lambda: node_ready(world, "spot-1") == "True", "the node is Ready again")
    world.gone("p")


def test_f19_a_lost_node_is_missed_its_pods_replaced_elsewhere_and_gone_when_it_is_back(world: NodeAgentWorld) -> None:
    """F19: on a real cluster the same takes about 40 s and 300 s."""
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "c0", "image": "t", "command": ["sleep", "600"]}],
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [PREFER_GENERAL_2]}},
        },
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    world.post(world.path("deployments", group="apis/apps/v1"), {"metadata": {"name": "web"}, "spec": spec})
    old = world.until(lambda: [pod for pod in pods_of(world) if ready(pod)], "the pod is Ready")[0]
    assert old["spec"]["nodeName"] == "general-2"
    path = "/api/v1/nodes/general-2"
    world.patch(path, {"metadata": {"annotations": {STOPPED: "true"}}})
    try:
        world.until(lambda: node_ready(world, "general-2") == "Unknown", "the node is missed")
        world.until(lambda: "node.kubernetes.io/unreachable" in taints_of(world, "general-2"), "the node is tainted")
        new = world.until(lambda: [pod for pod in pods_of(world) if ready(pod)], "a replacement is Ready")[0]
        assert new["spec"]["nodeName"] != "general-2"
        zombie = world.pod(old["metadata"]["name"])
        assert zombie["metadata"]["uid"] == old["metadata"]["uid"]
        assert "deletionTimestamp" in zombie["metadata"]  # and stays: no kubelet says that it ended
    finally:
        world.patch(path, {"metadata": {"annotations": {STOPPED: None}}})
    world.until(lambda: node_ready(world, "general-2") == "True", "the node is Ready again")
    world.until(lambda: taints_of(world, "general-2") == [], "the node takes pods again")
    world.gone(old["metadata"]["name"])
    assert [pod["metadata"]["uid"] for pod in pods_of(world)] == [new["metadata"]["uid"]]


PREFER_GENERAL_2 = {
    "weight": 100,
    "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["general-2"]}]},
}


def pods_of(world: NodeAgentWorld) -> list[dict[str, Any]]:
    return list(world.get(world.path("pods"))["items"])


def taints_of(world: NodeAgentWorld, name: str) -> list[str]:
    return [taint["key"] for taint in world.get(f"/api/v1/nodes/{name}")["spec"].get("taints", [])]


def test_a_kubelet_api_asks_who_is_there_and_serves_metrics_to_those_who_may(world: NodeAgentWorld) -> None:
    world.run_pod("p", {"command": ["sh", "-c", "while true; do :; done"]}, nodeName="general-1")
    world.when("p", ready, "Ready")
    url = f"https://{world.layout.nodes[0].internal_ip}:10250/metrics/resource"
    ca = str(world.layout.ca_cert)
    assert requests.get(url, verify=ca, timeout=10).status_code == 401
    assert requests.get(url, verify=ca, timeout=10, headers={"Authorization": "Bearer wrong"}).status_code == 401
    runner = {"Authorization": f"Bearer {_token(world, 'node-agent.kubeconfig')}"}
    assert requests.get(url, verify=ca, timeout=10, headers=runner).status_code == 403
    text = world.session.get(url, timeout=10).text
    labels = f'{{container="c0",namespace="{world.namespace}",pod="p"}}'
    assert f"container_cpu_usage_seconds_total{labels}" in text
    assert f"container_memory_working_set_bytes{labels}" in text


def _token(world: NodeAgentWorld, kubeconfig: str) -> str:
    return str(yaml.safe_load((world.layout.instance_dir / kubeconfig).read_text())["users"][0]["user"]["token"])


def test_logs_are_served_by_the_api_with_its_options_and_followed_to_their_end(world: NodeAgentWorld) -> None:
    script = "for i in 1 2 3; do echo line $i; done; sleep 2; echo last"
    world.run_pod("p", {"command": ["sh", "-c", script]}, restartPolicy="Never")
    world.until(lambda: "line 3" in world.log("p") if ready(world.pod("p")) else None, "the first lines")
    assert world.log("p", tailLines="1") == "line 3\n"
    assert world.log("p", limitBytes="5") == "line "
    assert world.log("p", tailLines="1", timestamps="true").split(" ", 1)[1] == "line 3\n"
    assert world.log("p", follow="true", tailLines="1") == "line 3\nlast\n"


def test_exec_of_the_api_is_answered_with_what_to_use_instead(world: NodeAgentWorld) -> None:
    world.run_pod("p", {"command": ["sleep", "600"], "env": [{"name": "A", "value": "own"}]})
    world.when("p", ready, "Ready")
    answer = world.session.post(
        f"{world.layout.api_server}{world.path('pods', 'p/exec')}?command=ls&stdout=true",
        headers={"Connection": "Upgrade", "Upgrade": "SPDY/3.1"},
        timeout=10,
    )
    assert "gameday testbed exec" in answer.text
    assert world.execute("p", "sh", "-c", "echo $A; exit 7") == (7, "own\n")


def test_a_killed_agent_takes_its_pods_along_and_the_next_one_starts_them_again(world: NodeAgentWorld) -> None:
    world.run_pod("p", {"command": ["sleep", "654"]})
    world.run_pod("once", {"command": ["sleep", "654"]}, restartPolicy="Never")
    address = world.when("p", ready, "Ready")["status"]["podIP"]
    world.when("once", ready, "Ready")
    old = world.agent_pid()
    children = psutil.Process(old).children(recursive=True)
    os.kill(old, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    world.until(lambda: world.agent_pid() != old, "another agent")
    pod = world.when("p", lambda pod: ready(pod) and container(pod)["restartCount"] == 1, "restarted")
    assert pod["status"]["podIP"] == address
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 137
    world.when("once", lambda pod: pod["status"]["phase"] == "Failed", "Failed")
