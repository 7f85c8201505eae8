"""Alerting on the local testbed: launchers, manifests, and what `up` makes for them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.controlplane.credentials import drill_webhook_token, secret_files
from testbed.controlplane.objects import alerting
from testbed.layout import Layout
from testbed.platform import alertmanager, kube_state_metrics, prometheus
from testbed.platform.settings import Environment, SettingsError

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "testbed" / "manifests"
LAYOUT = Layout("default", 0, 21000, Path("/i"))


def data(manifests: list[dict[str, Any]], kind: str) -> dict[str, str]:
    [found] = [one for one in manifests if one["kind"] == kind]
    return dict(found.get("data") or found["stringData"])


def alertmanager_env(tmp_path: Path, **more: str) -> Environment:
    (tmp_path / "token").write_text("pl4nted-token")
    template = MANIFESTS / "components" / "alerting" / "alertmanager.yaml.j2"
    env = {"BIND_IP": "127.44.5.3", "TMPDIR": str(tmp_path), "ALERTMANAGER_TEMPLATE": str(template)}
    made = data(alerting(LAYOUT, Path("/programs"), "t"), "ConfigMap")
    return Environment({**made, **env, "WEBHOOK_TOKEN_FILE": str(tmp_path / "token"), **more})


def test_alertmanager_sends_everything_to_the_drills_port_with_a_token_that_stays_in_its_file(tmp_path: Path) -> None:
    program, arguments = alertmanager.prepare(alertmanager_env(tmp_path))
    text = (tmp_path / "alertmanager.yaml").read_text()
    config = yaml.safe_load(text)
    assert program == "/programs/alertmanager"
    assert [a for a in arguments if "web.listen" in a] == [
        "--web.listen-address=127.44.5.3:9093", "--web.listen-address=127.0.0.1:21040",
    ]  # fmt: skip
    assert "--cluster.listen-address=" in arguments
    [webhook] = config["receivers"][0]["webhook_configs"]
    assert webhook["url"] == "http://127.0.0.1:21041/hooks/alertmanager"
    assert webhook["http_config"]["authorization"] == {"credentials_file": str(tmp_path / "token")}
    assert config["route"]["receiver"] == config["receivers"][0]["name"] == "drill"
    assert "pl4nted" not in text + str(arguments)


def test_alertmanager_never_sends_off_this_machine_and_not_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"DRILL_WEBHOOK_URL=.*not on loopback"):
        alertmanager.prepare(alertmanager_env(tmp_path, DRILL_WEBHOOK_URL="http://10.0.0.1/hooks/alertmanager"))
    with pytest.raises(SettingsError, match="needs the Secret drill-webhook"):
        alertmanager.prepare(alertmanager_env(tmp_path, WEBHOOK_TOKEN_FILE=str(tmp_path / "gone")))


def test_kube_state_metrics_comes_with_its_own_token_and_lists_what_it_may(tmp_path: Path) -> None:
    for name in ("token", "ca.crt"):
        (tmp_path / name).write_text("pl4nted")
    env = {
        "BIND_IP": "127.44.5.4", "TMPDIR": str(tmp_path), "SERVICE_ACCOUNT_DIR": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "21000",
    }  # fmt: skip
    _program, arguments = kube_state_metrics.prepare(Environment(env))
    written = (tmp_path / "kubeconfig").read_text()
    assert json.loads(written)["users"][0]["user"] == {"tokenFile": str(tmp_path / "token")}
    assert "pl4nted" not in written
    assert "--host=127.44.5.4" in arguments and "--telemetry-host=127.44.5.4" in arguments
    listed = next(a for a in arguments if a.startswith("--resources=")).partition("=")[2].split(",")
    [role] = [one for one in built("local-alerting") if one["metadata"]["name"] == "gameday-kube-state-metrics"][:1]
    may = {resource for rule in role["rules"] for resource in rule["resources"] if rule["verbs"] == ["list", "watch"]}
    assert set(listed) == may


def test_what_up_makes_has_the_token_in_a_secret_alone(tmp_path: Path) -> None:
    layout = Layout("default", 0, 21000, tmp_path)
    token = drill_webhook_token(layout)
    assert token == drill_webhook_token(layout) and len(token) > 32
    assert layout.drill_webhook_token.stat().st_mode & 0o777 == 0o600
    assert layout.drill_webhook_token in secret_files(layout), "`down` removes it"
    made = alerting(layout, Path("/programs"), token)
    assert data(made, "Secret") == {"token": token}
    assert token not in json.dumps([one for one in made if one["kind"] != "Secret"])


def prometheus_env(tmp_path: Path, **more: str) -> Environment:
    base = MANIFESTS / "base" / "platform-infra"
    env = {
        "BIND_IP": "127.44.5.2", "TARGET_FILE": str(tmp_path / "pods.json"), "TMPDIR": str(tmp_path),
        "PROMETHEUS_TEMPLATE": str(base / "prometheus.yaml.j2"), "PROMETHEUS_RULES": str(base / "alerts.yaml"),
    }  # fmt: skip
    return Environment({**env, **more})


def config_of(tmp_path: Path, **more: str) -> dict[str, Any]:
    prometheus.prepare(prometheus_env(tmp_path, **more))
    found = yaml.safe_load((tmp_path / "prometheus.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_without_the_component_prometheus_tells_nobody_and_has_the_platforms_own_rules(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert "alerting" not in config
    assert config["rule_files"] == [str(MANIFESTS / "base" / "platform-infra" / "alerts.yaml")]


def test_with_it_prometheus_has_the_shipped_rules_divided_and_tells_alertmanager(tmp_path: Path) -> None:
    made = data(alerting(LAYOUT, Path("/programs"), "t"), "ConfigMap")
    more = {name: made[name] for name in ("ALERTMANAGER_ADDRESS", "ALERT_TIME_DIVISOR")}
    config = config_of(tmp_path, ALERT_RULES=str(ROOT / "deploy/alerts/platform.yaml"), **more)
    assert config["alerting"] == {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:21040"]}]}]}
    assert config["rule_files"] == [str(tmp_path / "rules.yaml")]
    assert "vector(10)" in (tmp_path / "rules.yaml").read_text()
    if shutil.which("promtool"):
        command = ["promtool", "check", "config", str(tmp_path / "prometheus.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_alertmanager_elsewhere_and_rules_that_are_gone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not on loopback"):
        config_of(tmp_path, ALERTMANAGER_ADDRESS="10.0.0.1:9093")
    with pytest.raises(SettingsError, match="cannot read"):
        config_of(tmp_path, ALERT_RULES=str(tmp_path / "gone"))


def test_the_clusters_state_keeps_its_own_labels_and_is_scraped_once(tmp_path: Path) -> None:
    jobs = {job["job_name"]: job for job in config_of(tmp_path)["scrape_configs"]}
    state, pods = jobs["kube-state-metrics"], jobs["platform-pods"]
    assert state["honor_labels"] is True
    assert {"source_labels": ["__meta_kubernetes_pod_label_app"], "regex": "kube-state-metrics", "action": "drop"} in (
        pods["relabel_configs"]
    )
    for job in jobs.values():
        last = [rule for rule in job["relabel_configs"] if rule.get("source_labels") == ["__address__"]][-1]
        assert last["action"] == "keep" and last["regex"].startswith("127"), "nothing that leaves the machine"


def built(overlay: str) -> list[dict[str, Any]]:
    kubectl = str(Path(sys.executable).with_name("kubectl"))
    command = [kubectl, "kustomize", str(MANIFESTS / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("plain", ["local", "local-keda"])
def test_alerting_adds_two_programs_and_touches_prometheus_alone(plain: str) -> None:
    def deployments(overlay: str) -> dict[str, dict[str, Any]]:
        return {one["metadata"]["name"]: one["spec"] for one in built(overlay) if one["kind"] == "Deployment"}

    before, after = deployments(plain), deployments(f"{plain}-alerting")
    assert set(after) - set(before) == {"alertmanager", "kube-state-metrics"}
    assert {name for name in before if before[name] != after[name]} == {"prometheus"}
    env = {one["name"] for one in after["prometheus"]["template"]["spec"]["containers"][0]["env"]}
    assert {"ALERT_RULES", "ALERTMANAGER_ADDRESS", "ALERT_TIME_DIVISOR"} <= env


def test_the_rules_that_prometheus_mounts_are_the_shipped_ones() -> None:
    [found] = [one for one in built("local-alerting") if one["metadata"]["name"].startswith("platform-alerts")]
    assert found["data"]["platform.yaml"] == (ROOT / "deploy/alerts/platform.yaml").read_text()
