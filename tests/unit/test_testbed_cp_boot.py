from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from testbed.controlplane.boot import COMPONENTS, cpu_limits_enforced, families_of, programs_of, with_needs
from testbed.controlplane.commands import PROGRAMS
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.objects import REAPER_RULES, RUNNER_RULES, address_data, platform_addresses, rights
from testbed.controlplane.readiness import nodes_not_ready, workloads_not_ready
from testbed.controlplane.waiting import wait_until
from testbed.layout import Layout

LAYOUT = Layout("default", 0, 21000, Path("/i"))


def test_components_bring_what_they_need_in_boot_order() -> None:
    assert with_needs(("keda",)) == ("core", "metrics", "keda")
    assert with_needs(("platform", "core")) == ("core", "metrics", "platform")
    assert with_needs(("core",)) == ("core",)
    assert families_of(with_needs(("platform",))) == ("core",)
    assert families_of(with_needs(("keda",))) == ("core", "keda")
    assert with_needs(("alerting",)) == ("core", "metrics", "alerting", "platform")
    assert families_of(with_needs(("alerting",))) == ("core", "drill")


def test_an_unknown_component_is_refused_with_the_known_ones() -> None:
    known = "core, reaper, metrics, keda, alerting, platform"
    with pytest.raises(OperatorError, match=f"'vpa' is unknown; there are {known}"):
        with_needs(("vpa",))


def test_every_program_belongs_to_a_component() -> None:
    assert set(programs_of(tuple(COMPONENTS))) == set(PROGRAMS)


def node(name: str, ready: str = "True", taints: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"taints": [{"key": key} for key in taints]},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


@pytest.mark.parametrize(
    ("nodes", "missing"),
    [
        (None, ["a", "b"]),
        ([], ["a", "b"]),
        ([node("a")], ["b"]),
        ([node("a"), node("b", "Unknown")], ["b"]),
        ([node("a"), node("b", taints=("node.kubernetes.io/not-ready",))], ["b"]),
        ([node("a"), node("b", taints=("gpu",))], []),
        ([node("a"), {"metadata": {"name": "b"}, "spec": {}}], ["b"]),
    ],
)
def test_a_node_counts_when_it_is_ready_and_takes_pods(nodes: list[Any] | None, missing: list[str]) -> None:
    assert nodes_not_ready(["a", "b"], None if nodes is None else {"items": nodes}) == missing


def deployment(replicas: int, available: int, generation: int = 2, observed: int = 2) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "agents", "name": "planner", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available, "observedGeneration": observed},
    }


@pytest.mark.parametrize(
    ("deployments", "missing"),
    [
        ([deployment(3, 3)], []),
        ([deployment(0, 0)], []),
        ([deployment(3, 2)], ["agents/planner: 2 of 3 available"]),
        ([deployment(3, 3, generation=3)], ["agents/planner: 3 of 3 available"]),
    ],
)
def test_a_workload_counts_when_its_latest_version_is_available(deployments: list[Any], missing: list[str]) -> None:
    assert workloads_not_ready([{"items": deployments}]) == missing


def test_workloads_that_cannot_be_read_are_not_ready() -> None:
    assert workloads_not_ready([None]) == ["Deployments cannot be read"]


def test_addresses_of_the_platform_are_those_of_the_contract() -> None:
    data = address_data(LAYOUT)
    assert data["REDIS_ADDRESS"] == "127.0.0.1:21023"
    assert data["PLANNER_REDIS_ADDRESS"] == "127.0.0.1:21026"
    assert data["INFERENCE_URL"] == "http://127.0.0.1:21024"
    assert data["TOOL_API_URL"] == "http://127.0.0.1:21025"
    assert all(isinstance(value, str) for value in data.values())
    namespaces = {
        item["metadata"].get("namespace") for item in platform_addresses(LAYOUT) if item["kind"] == "ConfigMap"
    }
    assert namespaces == {"agents", "platform-infra"}


def written(rules: list[dict[str, Any]]) -> set[str]:
    """Return what rules let change, as VERB RESOURCE; whole API groups of chaos tools as VERB GROUP/*."""
    return {
        f"{verb} {f'{group}/*' if resource == '*' else resource}"
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if verb not in ("get", "list", "watch") and "review" not in resource
    }


def chaos_tools(*verbs: str) -> set[str]:
    return {f"{verb} {group}/*" for verb in verbs for group in ("chaos-mesh.org", "litmuschaos.io")}


def test_the_runner_may_write_what_faults_do_and_nothing_else() -> None:
    assert written(RUNNER_RULES) == chaos_tools("create", "patch", "delete") | {
        "create pods/eviction",
        *("create pods", "patch pods", "delete pods"),
        *("patch nodes", "patch nodes/status"),
        *("create configmaps", "patch configmaps", "delete configmaps"),
        *("patch deployments", "patch deployments/scale", "patch statefulsets", "patch statefulsets/scale"),
        *("create jobs", "delete jobs"),
        *("patch horizontalpodautoscalers", "patch networkpolicies"),
        "patch apiservices",
        *("create flowschemas", "delete flowschemas"),
        *("create prioritylevelconfigurations", "delete prioritylevelconfigurations"),
    }


def test_the_reaper_may_write_what_undoing_needs_and_breaks_nothing_else() -> None:
    """It evicts nothing and scales nothing by its subresource."""
    assert written(REAPER_RULES) == chaos_tools("delete") | {
        *("patch nodes", "patch nodes/status"),
        *("patch pods", "delete pods"),
        *("patch configmaps", "delete configmaps", "create configmaps"),
        *("patch deployments", "delete deployments", "create deployments"),
        "patch statefulsets",
        "delete jobs",
        *("patch horizontalpodautoscalers", "patch networkpolicies"),
        *("patch apiservices", "create apiservices"),
        *("delete flowschemas", "delete prioritylevelconfigurations"),
    }


@pytest.mark.parametrize("rules", [RUNNER_RULES, REAPER_RULES], ids=["runner", "reaper"])
def test_nobody_of_the_harness_reads_secrets_or_has_a_right_of_everything(rules: list[dict[str, Any]]) -> None:
    assert not any("secrets" in rule["resources"] for rule in rules)
    assert not any("*" in rule["apiGroups"] or "*" in rule["verbs"] for rule in rules)


def test_every_binding_names_a_role_that_is_there() -> None:
    objects = rights()
    roles = {item["metadata"]["name"] for item in objects if item["kind"] in ("Role", "ClusterRole")}
    named = {item["roleRef"]["name"] for item in objects if item["kind"].endswith("Binding")}
    assert named - roles == {"system:auth-delegator", "extension-apiserver-authentication-reader"}


def test_nothing_is_claimed_about_limits_before_the_agent_has_spoken(tmp_path: Path) -> None:
    layout = Layout("default", 0, 21000, tmp_path)
    assert cpu_limits_enforced(layout) is False
    layout.nodeagent_state.write_text('{"cpu_limits_enforced": true, "pid": 1}')
    assert cpu_limits_enforced(layout) is True


def seconds() -> Iterator[float]:
    return iter(count(0.0, 0.5))


def no_sleep(_: float) -> None:
    return None


def test_waiting_ends_when_it_is_true() -> None:
    answers, clock = iter([False, False, True]), seconds()
    took_s = wait_until(
        "x", lambda: next(answers), timeout_s=9, fault=lambda: None, clock=lambda: next(clock), sleep=no_sleep
    )
    assert took_s == pytest.approx(1.5)


def test_waiting_is_in_vain_when_a_program_has_died() -> None:
    with pytest.raises(OperatorError, match="etcd died"):
        wait_until("x", lambda: False, timeout_s=9, fault=lambda: "etcd died", sleep=no_sleep)


def test_waiting_has_a_limit_and_then_explains() -> None:
    clock = seconds()
    with pytest.raises(OperatorError, match=r"nodes: not within 2 s\. node a is missing"):
        wait_until(
            "nodes", lambda: False, timeout_s=2, fault=lambda: None, explain=lambda: "node a is missing",
            clock=lambda: next(clock), sleep=no_sleep,
        )  # fmt: skip
