"""The reaper's manifest: rights that its undos need, and no wildcard."""

from dataclasses import replace

import pytest
import yaml

from harness import reaper_main
from harness.announce_http import AlertmanagerSilences
from harness.deploy.reaper import manifests
from harness.drivers.kubernetes.ledger import ledger_permissions
from harness.model.errors import Refusal
from harness.model.fault import Permission
from harness.model.target import Announce, Target

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


# where silences are ended ---------------------------------------------------------------------------------------------

ANNOUNCE = Announce(
    "HOOK", "https://grafana.example", "GRAFANA_TOKEN", "https://am.example", "AM_TOKEN", ('a="b"',), "/home/me/ca.pem"
)


def pod_of(announce):
    return manifests(replace(TARGET, announce=announce), "registry.example/gameday:1", UNDO)[-1]["spec"]["template"][
        "spec"
    ]


def test_the_reaper_gets_the_address_and_the_one_token_and_ca_that_ending_silences_needs():
    pod = pod_of(ANNOUNCE)
    (container,) = pod["containers"]
    assert container["args"][-6:] == [
        "--alertmanager-url", "https://am.example", "--alertmanager-token-env", "AM_TOKEN",
        "--alertmanager-ca-file", "/etc/gameday-files/ca.pem",
    ]  # fmt: skip
    key = {"name": "gameday-reaper", "key": "AM_TOKEN", "optional": True}
    assert container["env"] == [{"name": "AM_TOKEN", "valueFrom": {"secretKeyRef": key}}]
    assert "envFrom" not in container
    assert pod["volumes"] == [{"name": "files", "secret": {"secretName": "gameday-reaper-files", "optional": True}}]
    told = yaml.safe_dump(pod)
    assert "HOOK" not in told
    assert "GRAFANA_TOKEN" not in told
    reaper_main.parse(container["args"])  # its own program takes them


def test_a_target_that_silences_nothing_gives_the_reaper_no_secret():
    pod = pod_of(replace(ANNOUNCE, alertmanager_url="", silence=()))
    assert "volumes" not in pod
    assert {"env", "volumeMounts"}.isdisjoint(pod["containers"][0])
    assert "secret" not in yaml.safe_dump(pod).lower()


def test_ending_silences_is_no_right_in_the_cluster():
    def rights(target):
        return [m for m in manifests(target, "i", UNDO) if "rules" in m]

    assert rights(replace(TARGET, announce=ANNOUNCE)) == rights(TARGET)
    assert {p.resource for p in ledger_permissions("gameday-system")} == {"configmaps"}


def silences(environ, target=None, **options):
    argv = [part for key, value in options.items() for part in (f"--alertmanager-{key.replace('_', '-')}", value)]
    return reaper_main.silences(reaper_main.parse(argv), target, environ)


def test_a_reaper_knows_its_alertmanager_by_its_options_or_by_the_settings_of_its_target(caplog):
    options = {"url": "https://am.example", "token_env": "AM_TOKEN"}
    assert silences({}) is None
    assert isinstance(silences({"AM_TOKEN": "pl4nted"}, **options), AlertmanagerSilences)
    target = replace(TARGET, announce=ANNOUNCE)
    assert isinstance(silences({"AM_TOKEN": "pl4nted"}, target), AlertmanagerSilences)
    assert silences({}, TARGET) is None
    assert caplog.text == ""
    for found in (silences({}, **options), silences({}, target)):
        assert found is None
    assert caplog.text.count("silences of dead runs last until their own end") == 2
    assert caplog.text.count("AM_TOKEN is not set") == 2
    with pytest.raises(Refusal, match="not a loopback address"):
        silences({"AM_TOKEN": "pl4nted"}, replace(target, loopback_only=True))
