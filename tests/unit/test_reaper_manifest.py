"""The reaper's manifest: rights that its undos need, and no wildcard."""

import yaml

from harness.deploy.reaper import manifests
from harness.model.fault import Permission
from harness.model.target import Target

TARGET = Target("t", "cluster", "c", "", "", "", "a=b", ("agents",), "", "", 1.0)
UNDO = (
    Permission("patch", "nodes"),
    Permission("patch", "nodes", "", "status"),
    Permission("get", "pods", "", "", "agents"),
)


def test_rights_are_those_of_undos_ledger_lease_and_sweep_and_never_a_wildcard():
    found = manifests(TARGET, "registry.example/gameday:1", UNDO)
    kinds = [f"{m['kind']} {m['metadata'].get('namespace', '')}".strip() for m in found]
    assert kinds == [
        "ServiceAccount gameday-system", "ClusterRole", "ClusterRoleBinding", "Role agents", "RoleBinding agents",
        "Role gameday-system", "RoleBinding gameday-system", "PodDisruptionBudget gameday-system",
        "Deployment gameday-system",
    ]  # fmt: skip
    rules = {m["metadata"].get("namespace", ""): m["rules"] for m in found if "rules" in m}
    assert {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]} in rules[""]
    assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete", "get", "list"]} in rules["agents"]
    leases = [r for r in rules["gameday-system"] if r["resources"] == ["leases"]]
    assert leases == [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]}
    ]
    assert "*" not in yaml.safe_dump(rules)
    assert "cluster-admin" not in yaml.safe_dump(found)


def test_the_deployment_sweeps_only_where_it_has_rights():
    deployment = manifests(TARGET, "registry.example/gameday:1", UNDO)[-1]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--namespace", "gameday-system", "--sweep", "gameday-system", "--sweep", "agents"]
