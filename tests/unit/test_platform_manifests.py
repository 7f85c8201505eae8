"""The manifests: every overlay builds, and says what docs/testbed.md says."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path(__file__).parents[2] / "testbed" / "manifests"
OVERLAYS = ("local", "local-keda", "kind", "kind-keda")


@cache
def built(overlay: str) -> list[dict[str, Any]]:
    kubectl = str(Path(sys.executable).with_name("kubectl"))
    command = [kubectl, "kustomize", str(MANIFESTS / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()
    return list(yaml.safe_load_all(done.stdout))


def one(overlay: str, kind: str, name: str, namespace: str = "agents") -> dict[str, Any]:
    found = [
        o
        for o in built(overlay)
        if (o["kind"], o["metadata"]["name"], o["metadata"].get("namespace", namespace)) == (kind, name, namespace)
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_specs(overlay: str) -> dict[str, dict[str, Any]]:
    specs = {o["metadata"]["name"]: o["spec"] for o in built(overlay) if o["kind"] in ("Deployment", "CronJob")}
    return {
        name: (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]["spec"]
        for name, spec in specs.items()
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_has_the_whole_platform_in_opted_in_namespaces(overlay: str) -> None:
    assert set(pod_specs(overlay)) == {
        "planner", "tool-adapter", "tool-api", "inference", "evaluation", "redis", "queue-exporter", "prometheus",
        "envoy",
    }  # fmt: skip
    namespaces = {o["metadata"]["name"]: o["metadata"]["labels"] for o in built(overlay) if o["kind"] == "Namespace"}
    opted_in = {name for name, labels in namespaces.items() if labels.get("gameday.local/opt-in") == "true"}
    on_kind = overlay.startswith("kind")
    assert opted_in == {"agents", "platform-infra", *(["gameday-system"] if on_kind else [])}
    assert set(namespaces) - opted_in == ({"gameday-devices"} if on_kind else set()), "no fault may touch the GPU mock"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_scaledobject_only_where_keda_is(overlay: str) -> None:
    kinds = {o["kind"] for o in built(overlay)}
    assert ("ScaledObject" in kinds) == overlay.endswith("-keda")


def test_the_planner_scales_from_three_to_twelve_at_seventy_percent_and_keeps_two() -> None:
    hpa = one("local", "HorizontalPodAutoscaler", "planner")["spec"]
    assert (hpa["minReplicas"], hpa["maxReplicas"]) == (3, 12)
    assert hpa["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert "behavior" not in hpa, "stabilisation is the cluster's"
    assert one("local", "PodDisruptionBudget", "planner")["spec"]["minAvailable"] == 2


def test_a_busy_planner_does_not_lose_its_own_readiness_probe() -> None:
    probe = pod_specs("local")["planner"]["containers"][0]["readinessProbe"]
    assert probe["failureThreshold"] >= 3
    assert probe["timeoutSeconds"] >= 3


def test_the_adapters_scale_to_zero_on_lag_and_on_pending() -> None:
    spec = one("local-keda", "ScaledObject", "tool-adapter")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 8)
    metadata = [t["metadata"] for t in spec["triggers"]]
    assert [set(m) & {"lagCount", "pendingEntriesCount"} for m in metadata] == [{"lagCount"}, {"pendingEntriesCount"}]
    assert all(m["addressFromEnv"] == "REDIS_ADDRESS" for m in metadata)


def test_the_quota_leaves_room_for_every_autoscaler_at_its_maximum() -> None:
    quota = one("local", "ResourceQuota", "agents")["spec"]["hard"]
    specs = pod_specs("local")
    counts = {"planner": 12 + 1, "tool-adapter": 8 + 1, "tool-api": 1 + 1, "inference": 2 + 1, "evaluation": 1}
    for resource in ("requests", "limits"):
        needed_m = sum(n * _millicores(specs[app], resource) for app, n in counts.items())
        assert needed_m <= 1000 * int(quota[f"{resource}.cpu"])
    assert sum(counts.values()) <= int(quota["pods"])


def _millicores(spec: dict[str, Any], resource: str) -> int:
    text = spec["containers"][0]["resources"][resource]["cpu"]
    return int(text.removesuffix("m")) if text.endswith("m") else 1000 * int(text)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_prometheus_holds_a_token(overlay: str) -> None:
    for name, spec in pod_specs(overlay).items():
        assert spec.get("automountServiceAccountToken", True) == (name == "prometheus"), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_container_runs_without_privileges(overlay: str) -> None:
    for name, spec in pod_specs(overlay).items():
        assert spec["securityContext"]["runAsNonRoot"], name
        for container in spec["containers"]:
            assert container["securityContext"]["capabilities"]["drop"] == ["ALL"], name
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name


def test_critical_work_outranks_batch_work_and_batch_work_goes_to_the_spot_node() -> None:
    values = {o["metadata"]["name"]: o["value"] for o in built("local") if o["kind"] == "PriorityClass"}
    specs = pod_specs("local")
    rank = {app: values[spec["priorityClassName"]] for app, spec in specs.items()}
    assert rank["planner"] == rank["inference"] > rank["tool-adapter"] > rank["evaluation"]
    assert specs["evaluation"]["nodeSelector"] == {"gameday.local/pool": "spot"}
    assert one("local", "CronJob", "evaluation")["spec"]["suspend"] is True


@pytest.mark.parametrize("overlay", ["kind", "kind-keda"])
def test_kind_sets_routable_addresses_and_an_empty_pod_root_everywhere(overlay: str) -> None:
    for name, spec in pod_specs(overlay).items():
        for container in spec["containers"]:
            env = {e["name"]: e.get("value") for e in container["env"]}
            assert (env["POD_ADDRESSES"], env["GAMEDAY_POD_ROOT"]) == ("routable", ""), name
    assert one(overlay, "Service", "planner")["spec"]["clusterIP"] == "None"


def test_the_local_overlay_never_says_that_addresses_are_routable() -> None:
    assert "routable" not in yaml.safe_dump_all(built("local"))


def test_kind_carries_every_address_that_the_programs_read() -> None:
    """Locally `up` makes the same ConfigMap."""
    keys = {
        "REDIS_ADDRESS", "PLANNER_REDIS_ADDRESS", "INFERENCE_URL", "PROMETHEUS_ADDRESS", "GATEWAY_BIND", "GATEWAY_PORT",
        "ENVOY_ADMIN_PORT", "PROMETHEUS_PORT", "REDIS_PORT", "INFERENCE_PORT", "TOOL_API_URL", "TOOL_API_PORT",
    }  # fmt: skip
    for namespace in ("agents", "platform-infra"):
        assert set(one("kind", "ConfigMap", "platform-addresses", namespace)["data"]) == keys


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateways_faults_are_there_and_do_nothing(overlay: str) -> None:
    data = one(overlay, "ConfigMap", "gateway-faults", "platform-infra")["data"]
    managers, names = (
        ("gateway", "inference", "tool_api"),
        ("delay_percent", "delay_ms", "abort_percent", "abort_status"),
    )
    assert set(data) == {f"gameday.{manager}.{name}" for manager in managers for name in names}
    assert all(value == "0" for key, value in data.items() if not key.endswith("abort_status"))
    volumes = {volume["name"]: volume for volume in pod_specs(overlay)["envoy"]["volumes"]}
    assert volumes["faults"]["configMap"] == {"name": "gateway-faults", "optional": True}


def test_adapters_reach_the_tool_api_through_the_gateway_on_kind_too() -> None:
    data = one("kind", "ConfigMap", "platform-addresses", "agents")["data"]
    port = int(data["TOOL_API_PORT"])
    assert data["TOOL_API_URL"] == f"http://gateway.platform-infra.svc:{port}"
    ports = one("kind", "Service", "gateway", "platform-infra")["spec"]["ports"]
    assert [p["targetPort"] for p in ports if p["name"] == "tool-api"] == [port]
