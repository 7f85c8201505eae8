"""The launchers render configurations that Envoy and Prometheus accept, and refuse what would leave the machine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from testbed.nodeagent import policed_listeners
from testbed.nodeagent.policed_listeners import listener
from testbed.platform import gateway, launching, prometheus
from testbed.platform.settings import Environment, SettingsError

BASE = Path(__file__).parents[2] / "testbed" / "manifests" / "base" / "platform-infra"


def gateway_env(tmp_path: Path, **more: str) -> dict[str, str]:
    eds_dir, faults = tmp_path / "eds", tmp_path / "faults"
    for folder in (eds_dir, faults):
        folder.mkdir(exist_ok=True)
    return {
        "BIND_IP": "127.44.5.1",
        "GAMEDAY_EDS_DIR": str(eds_dir),
        "GATEWAY_BIND": "127.0.0.1",
        "GATEWAY_PORT": "31020",
        "ENVOY_ADMIN_PORT": "31021",
        "PROMETHEUS_PORT": "31022",
        "REDIS_PORT": "31023",
        "INFERENCE_PORT": "31024",
        "TOOL_API_PORT": "31025",
        "ENVOY_FAULTS": str(faults),
        "ENVOY_TEMPLATE": str(BASE / "bootstrap.yaml.j2"),
        "TMPDIR": str(tmp_path),
    } | more


def prepared_bootstrap(env: dict[str, str], tmp_path: Path) -> dict[str, object]:
    program, arguments = gateway.prepare(Environment(env))
    assert program == "envoy"
    assert arguments[:2] == ["--config-path", str(tmp_path / "envoy.yaml")]
    loaded = yaml.safe_load((tmp_path / "envoy.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def make_endpoint_files(env: dict[str, str]) -> None:
    shown = {"resources": [listener("planner_redis", 31026, "redis")]}
    (Path(env["GAMEDAY_EDS_DIR"]) / gateway.LISTENERS).write_text(json.dumps(shown))
    for key, _port in gateway.SERVICES.values():
        (Path(env["GAMEDAY_EDS_DIR"]) / f"{key}.yaml").write_text(
            yaml.safe_dump(
                {
                    "resources": [
                        {
                            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                            "cluster_name": key,
                        }
                    ]
                }
            )
        )


def validate(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    _program, arguments = gateway.prepare(Environment(env))
    command = [str(Path(sys.executable).with_name("envoy")), "--mode", "validate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_envoy_accepts_the_local_bootstrap_with_endpoint_files(tmp_path: Path) -> None:
    env = gateway_env(tmp_path)
    make_endpoint_files(env)
    done = validate(env)
    assert done.returncode == 0, done.stderr


def test_envoy_accepts_the_routable_bootstrap_with_dns_names(tmp_path: Path) -> None:
    env = gateway_env(tmp_path, POD_ADDRESSES="routable")
    done = validate(env)
    assert done.returncode == 0, done.stderr
    assert "planner.agents.svc" in (tmp_path / "envoy.yaml").read_text()


def test_the_gateway_retries_on_connect_failure_only_and_on_another_host(tmp_path: Path) -> None:
    env = gateway_env(tmp_path)
    make_endpoint_files(env)
    bootstrap = prepared_bootstrap(env, tmp_path)
    listener = bootstrap["static_resources"]["listeners"][0]  # type: ignore[index]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["stat_prefix"] == "gateway"
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        policy = route["route"]["retry_policy"]
        assert policy["retry_on"] == "connect-failure"
        assert policy["num_retries"] == 2
        assert policy["retry_host_predicate"][0]["name"] == "envoy.retry_host_predicates.previous_hosts"
        assert route["route"]["timeout"] == "15s"


def test_the_local_gateway_names_no_endpoint_of_its_own(tmp_path: Path) -> None:
    """Endpoints come from the node agent's files, which are mapped to loopback."""
    env = gateway_env(tmp_path)
    make_endpoint_files(env)
    bootstrap = prepared_bootstrap(env, tmp_path)
    clusters = bootstrap["static_resources"]["clusters"]  # type: ignore[index]
    assert {c["name"]: c["type"] for c in clusters} == {
        "admin": "STATIC", "planner": "EDS", "inference": "EDS", "tool_api": "EDS", "redis": "EDS", "prometheus": "EDS",
    }  # fmt: skip
    planner = next(c for c in clusters if c["name"] == "planner")["eds_cluster_config"]
    assert planner["service_name"] == "agents.planner.http"
    assert planner["eds_config"]["path_config_source"]["path"].endswith("/agents.planner.http.yaml")


def test_the_local_gateway_takes_policed_listeners_from_the_node_agents_file(tmp_path: Path) -> None:
    env = gateway_env(tmp_path)
    make_endpoint_files(env)
    source = prepared_bootstrap(env, tmp_path)["dynamic_resources"]["lds_config"]["path_config_source"]  # type: ignore[index]
    assert source["path"] == f"{env['GAMEDAY_EDS_DIR']}/{policed_listeners.FILE}"
    assert [path.name for path in gateway.watched_files(Environment(env))][-1] == policed_listeners.FILE


def test_a_gateway_whose_pods_have_a_network_takes_no_listeners_from_a_file(tmp_path: Path) -> None:
    env = gateway_env(tmp_path, POD_ADDRESSES="routable")
    assert "dynamic_resources" not in prepared_bootstrap(env, tmp_path)
    assert gateway.watched_files(Environment(env)) == []


def test_a_missing_endpoint_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no endpoint file for agents\.planner\.http\.yaml"):
        gateway.wait_for_endpoint_files([tmp_path / "agents.planner.http.yaml"], wait_s=0)


def test_a_local_gateway_without_its_endpoint_folder_says_which_variable_is_missing(tmp_path: Path) -> None:
    env = gateway_env(tmp_path)
    del env["GAMEDAY_EDS_DIR"]
    with pytest.raises(SettingsError, match="GAMEDAY_EDS_DIR"):
        gateway.prepare(Environment(env))


def prometheus_env(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "BIND_IP": "127.44.5.2",
        "TARGET_FILE": str(tmp_path / "pods.json"),
        "PROMETHEUS_TEMPLATE": str(BASE / "prometheus.yaml.j2"),
        "PROMETHEUS_RULES": str(BASE / "alerts.yaml"),
        "TMPDIR": str(tmp_path),
    } | more


def relabelled(tmp_path: Path) -> list[dict[str, object]]:
    config = yaml.safe_load((tmp_path / "prometheus.yaml").read_text())
    found = config["scrape_configs"][0]["relabel_configs"]
    assert isinstance(found, list)
    return found


def test_prometheus_maps_pod_addresses_before_it_drops_all_that_is_not_loopback(tmp_path: Path) -> None:
    prometheus.prepare(Environment(prometheus_env(tmp_path)))
    on_address = [r for r in relabelled(tmp_path) if r.get("source_labels") == ["__address__"]]
    assert on_address[0]["regex"] == r"198\.18\.(\d+)\.(\d+):(\d+)"
    assert on_address[0]["replacement"] == "127.44.$1.$2:$3"
    assert on_address[1] == {"source_labels": ["__address__"], "regex": r"127\.\d+\.\d+\.\d+:\d+", "action": "keep"}


def test_prometheus_on_kind_leaves_addresses_alone(tmp_path: Path) -> None:
    env = prometheus_env(tmp_path, POD_ADDRESSES="routable")
    prometheus.prepare(Environment(env))
    assert all(rule.get("source_labels") != ["__address__"] for rule in relabelled(tmp_path))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with the system package prometheus")
@pytest.mark.parametrize("addresses", ["loopback", "routable"])
def test_promtool_accepts_the_configuration(tmp_path: Path, addresses: str) -> None:
    prometheus.prepare(Environment(prometheus_env(tmp_path, POD_ADDRESSES=addresses)))
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_unknown_template_value_is_an_error_and_not_an_empty_text(tmp_path: Path) -> None:
    template = tmp_path / "t.j2"
    template.write_text("{{ nobody_sets_this }}")
    with pytest.raises(SettingsError, match="nobody_sets_this"):
        launching.render(template, {})
