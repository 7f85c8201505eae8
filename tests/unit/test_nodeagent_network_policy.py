"""What NetworkPolicies allow, by the API's own rules, and the listeners that follow from it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.layout import Ports
from testbed.nodeagent.network_policy import Peer, allows, peer_of, policy_types, selects
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.policed_listeners import CONSUMERS, FILE, Police
from testbed.nodeagent.watching import DELETED

BASE = Path(__file__).parents[2] / "testbed" / "manifests" / "base"
NAME = "kubernetes.io/metadata.name"
PLANNER = Peer("agents", {"app": "planner"}, {NAME: "agents"}, "198.18.1.5", {"http": 8080})
REDIS = Peer("platform-infra", {"app": "redis"}, {NAME: "platform-infra"}, "198.18.5.9", {"redis": 6379})
TO_REDIS = {
    "namespaceSelector": {"matchLabels": {NAME: "platform-infra"}},
    "podSelector": {"matchLabels": {"app": "redis"}},
}


def policy(namespace: str = "agents", name: str = "p", **spec: Any) -> Obj:
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}"},
        "spec": {"podSelector": {}, **spec},
    }


DENY = policy(name="deny", policyTypes=["Ingress", "Egress"])


def egress(*rules: Obj, **spec: Any) -> Obj:
    return policy(policyTypes=["Egress"], egress=list(rules), **spec)


def test_without_policies_everything_may_pass() -> None:
    assert allows([], PLANNER, REDIS, 6379)


def test_a_pod_that_is_selected_may_do_what_any_policy_allows_and_nothing_else() -> None:
    assert not allows([DENY], PLANNER, REDIS, 6379)
    assert allows([DENY, egress({"to": [TO_REDIS]})], PLANNER, REDIS, 6379)
    assert not allows([DENY, egress({"to": [TO_REDIS], "ports": [{"port": 80}]})], PLANNER, REDIS, 6379)


def test_a_policy_of_another_namespace_or_for_other_pods_isolates_nobody_here() -> None:
    assert allows([policy("elsewhere", policyTypes=["Egress"])], PLANNER, REDIS, 6379)
    assert allows([egress(podSelector={"matchLabels": {"app": "other"}})], PLANNER, REDIS, 6379)


def test_ingress_of_the_target_counts_as_well() -> None:
    shut = policy("platform-infra", policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}])
    opened = policy("platform-infra", policyTypes=["Ingress"], ingress=[{"from": [{"namespaceSelector": {}}]}])
    assert not allows([shut], PLANNER, REDIS, 6379)  # a bare podSelector means pods of the policy's own namespace
    assert allows([shut, opened], PLANNER, REDIS, 6379)


@pytest.mark.parametrize(
    ("ports", "may"),
    [
        ([], True),
        ([{"port": 6379}], True),
        ([{"port": "redis"}], True),
        ([{"port": "http"}], False),
        ([{"port": 6000, "endPort": 7000}], True),
        ([{"port": 6000, "endPort": 6378}], False),
        ([{"port": 6379, "protocol": "UDP"}], False),
        ([{"protocol": "TCP"}], True),
        ([{"port": 53}, {"port": 6379}], True),
    ],
)
def test_ports_by_number_name_range_and_protocol(ports: list[Obj], may: bool) -> None:
    assert allows([egress({"to": [TO_REDIS], "ports": ports})], PLANNER, REDIS, 6379) is may


@pytest.mark.parametrize(
    ("block", "may"),
    [
        ({"cidr": "198.18.0.0/15"}, True),
        ({"cidr": "198.18.0.0/15", "except": ["198.18.5.0/24"]}, False),
        ({"cidr": "10.0.0.0/8"}, False),
    ],
)
def test_an_ip_block_is_compared_with_the_address_in_the_api(block: Obj, may: bool) -> None:
    assert allows([egress({"to": [{"ipBlock": block}]})], PLANNER, REDIS, 6379) is may
    assert not allows([egress({"to": [{"ipBlock": block}]})], PLANNER, Peer("a", {}, {}), 6379)


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_directions_are_those_that_the_api_would_fill_in(spec: Obj, types: list[str]) -> None:
    assert policy_types(policy(**spec)) == types


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"operator": "In", "values": ["planner", "x"]}, True),
        ({"operator": "In", "values": ["x"]}, False),
        ({"operator": "NotIn", "values": ["x"]}, True),
        ({"operator": "NotIn", "values": ["planner"]}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "DoesNotExist"}, False),
    ],
)
def test_match_expressions(expression: Obj, holds: bool) -> None:
    assert selects({"matchExpressions": [{"key": "app", **expression}]}, {"app": "planner"}) is holds


def test_a_label_that_is_missing_is_not_in_a_list_and_does_not_exist() -> None:
    assert selects({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, {})
    assert not selects({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["x"]}]}, {})


# the platform's own policies, and the listeners -----------------------------------------------------------------------


def shipped() -> list[Obj]:
    files = (BASE / "agents" / "networkpolicies.yaml", BASE / "platform-infra" / "networkpolicies.yaml")
    found = [doc for path in files for doc in yaml.safe_load_all(path.read_text())]
    return [{**doc, "metadata": {**doc["metadata"], "uid": doc["metadata"]["name"]}} for doc in found]


def pod(namespace: str, app: str, number: int = 1, **labels: str) -> Obj:
    container = {"name": app, "ports": [{"name": "redis", "containerPort": 6379}] if app == "redis" else []}
    meta = {
        "namespace": namespace,
        "name": f"{app}-{number}",
        "uid": f"{app}-{number}",
        "labels": {"app": app, **labels},
    }
    return {"metadata": meta, "spec": {"containers": [container]}, "status": {"podIP": f"198.18.1.{number}"}}


def namespace(name: str) -> Obj:
    return {"metadata": {"name": name, "uid": name, "labels": {NAME: name}}}


def police(folder: Path, *pods: Obj) -> Police:
    found = Police(folder, Ports.at(21000))
    found.namespaces.synced([namespace("agents"), namespace("platform-infra")])
    found.pods.synced(list(pods or (pod("agents", "planner"), pod("platform-infra", "redis"))))
    found.policies.synced(shipped())
    return found


def shown(folder: Path) -> dict[str, int]:
    listed = json.loads((folder / FILE).read_text())["resources"]
    return {one["name"]: one["address"]["socket_address"]["port_value"] for one in listed}


def without_planner() -> Obj:
    (found,) = [p for p in shipped() if p["metadata"]["name"] == "redis-and-dns"]
    found["spec"]["podSelector"]["matchExpressions"][0]["values"].remove("planner")
    return found


def test_the_shipped_policies_leave_every_policed_way_open(tmp_path: Path) -> None:
    police(tmp_path)
    assert shown(tmp_path) == {consumer.listener: 21026 for consumer in CONSUMERS}


def test_the_listener_goes_when_the_planner_is_taken_out_and_comes_back_with_it(tmp_path: Path) -> None:
    found = police(tmp_path)
    found.policies.changed("MODIFIED", without_planner())
    assert shown(tmp_path) == {}
    found.policies.changed("MODIFIED", next(p for p in shipped() if p["metadata"]["name"] == "redis-and-dns"))
    assert shown(tmp_path) == {"planner_redis": 21026}


def test_deleting_the_policy_that_denies_everything_opens_the_way(tmp_path: Path) -> None:
    found = police(tmp_path)
    found.policies.changed("MODIFIED", without_planner())
    deny = next(p for p in shipped() if p["metadata"]["name"] == "default-deny")
    found.policies.changed(DELETED, deny)
    assert shown(tmp_path) == {"planner_redis": 21026}


def test_a_label_of_the_namespace_that_goes_shuts_the_way(tmp_path: Path) -> None:
    found = police(tmp_path)
    found.namespaces.changed(
        "MODIFIED", {"metadata": {"name": "platform-infra", "uid": "platform-infra", "labels": {}}}
    )
    assert shown(tmp_path) == {}


def test_pods_that_are_told_apart_all_pass_until_all_are_shut_out_and_it_is_said_once(
    tmp_path: Path, caplog: Any
) -> None:
    old, new = pod("agents", "planner", 1, track="old"), pod("agents", "planner", 2, track="new")
    found = police(tmp_path, old, new, pod("platform-infra", "redis", 3))
    only_new = without_planner()
    only_new["spec"]["podSelector"] = {"matchLabels": {"track": "new"}}
    found.policies.changed("MODIFIED", only_new)
    found.policies.changed("MODIFIED", only_new)
    assert shown(tmp_path) == {"planner_redis": 21026}
    assert caplog.text.count("the testbed cannot") == 1
    found.pods.changed(DELETED, new)
    assert shown(tmp_path) == {}


def test_nothing_is_written_before_everything_is_known(tmp_path: Path) -> None:
    """An agent that is started again must not open for a moment what policies shut."""
    found = Police(tmp_path, Ports.at(21000))
    found.pods.synced([pod("agents", "planner")])
    found.namespaces.synced([namespace("agents")])
    assert not (tmp_path / FILE).exists()


def test_a_status_that_policies_do_not_see_writes_nothing(tmp_path: Path) -> None:
    found = police(tmp_path)
    (tmp_path / FILE).unlink()
    changed = pod("agents", "planner")
    changed["status"]["phase"] = "Running"
    found.pods.changed("MODIFIED", changed)
    assert not (tmp_path / FILE).exists()


def test_a_peer_has_the_named_ports_of_its_containers() -> None:
    assert peer_of(pod("platform-infra", "redis"), {}).ports == {"redis": 6379}
