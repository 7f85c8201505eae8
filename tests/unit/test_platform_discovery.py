"""The sidecar that finds Prometheus' targets: labels as Prometheus names them, and no way off the machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.platform import discovery, kube_access
from testbed.platform.settings import Environment, SettingsError


def pod(name: str = "planner-1", ip: str | None = "198.18.1.7", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "agents",
            "uid": f"uid-{name}",
            "labels": {"app": "planner", "app.kubernetes.io/part-of": "gameday-platform"},
            "annotations": {"prometheus.io/scrape": "true"},
        },
        "spec": {
            "nodeName": "general-1",
            "containers": [{"name": "planner", "ports": [{"name": "http", "containerPort": 8080}]}],
        }
        | spec,
        "status": {"phase": "Running"} | ({"podIP": ip} if ip else {}),
    }


def test_a_pod_becomes_a_target_with_the_label_names_of_kubernetes_sd() -> None:
    (target,) = discovery.targets_of([pod()])
    assert target["targets"] == ["198.18.1.7:8080"]
    labels = target["labels"]
    assert labels["__meta_kubernetes_pod_annotation_prometheus_io_scrape"] == "true"
    assert labels["__meta_kubernetes_pod_label_app"] == "planner"
    assert labels["__meta_kubernetes_pod_label_app_kubernetes_io_part_of"] == "gameday-platform"
    assert labels["__meta_kubernetes_pod_container_port_name"] == "http"
    assert labels["__meta_kubernetes_pod_node_name"] == "general-1"
    assert labels["__meta_kubernetes_pod_phase"] == "Running"


def test_a_pod_without_an_address_or_a_port_is_no_target() -> None:
    assert discovery.targets_of([pod(ip=None), pod(containers=[{"name": "x"}])]) == []


def test_targets_are_in_a_stable_order() -> None:
    pods = [pod("b", "198.18.1.9"), pod("a", "198.18.1.8")]
    assert discovery.targets_of(pods) == discovery.targets_of(pods[::-1])


def test_the_target_file_is_written_only_when_it_changes(tmp_path: Path) -> None:
    file = discovery.TargetFile(tmp_path / "pods.json")
    targets = discovery.targets_of([pod()])
    assert file.write(targets)
    assert not file.write(targets)
    assert json.loads((tmp_path / "pods.json").read_text()) == targets
    assert file.write([])
    assert [p.name for p in tmp_path.iterdir()] == ["pods.json"]


def access_env(tmp_path: Path, **more: str) -> Environment:
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("x\n")
    values = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "21000",
        "SERVICE_ACCOUNT_DIR": str(tmp_path),
    }
    return Environment(values | more)


def test_the_pods_own_token_and_the_real_api_address_are_used(tmp_path: Path) -> None:
    access = kube_access.from_env(access_env(tmp_path))
    assert access.url == "https://127.0.0.1:21000"
    assert access.token() == "x"


@pytest.mark.parametrize("host", ["10.96.0.1", "198.18.1.1", "kubernetes.default.svc"])
def test_a_local_pod_refuses_an_api_server_off_the_machine(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="is not on loopback"):
        kube_access.from_env(access_env(tmp_path, KUBERNETES_SERVICE_HOST=host))


def test_a_pod_of_a_routable_cluster_may_use_the_cluster_address(tmp_path: Path) -> None:
    env = access_env(tmp_path, KUBERNETES_SERVICE_HOST="10.96.0.1", POD_ADDRESSES="routable")
    assert kube_access.from_env(env).url == "https://10.96.0.1:21000"


def test_a_missing_token_volume_is_named(tmp_path: Path) -> None:
    env = access_env(tmp_path)
    (tmp_path / "token").unlink()
    with pytest.raises(SettingsError, match="token volume"):
        kube_access.from_env(env)
