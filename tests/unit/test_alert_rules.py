"""The shipped alerts: what Prometheus itself makes of them, as shipped and as the local testbed divides them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.controlplane.objects import ALERT_TIME_DIVISOR
from testbed.platform.alert_rules import divided, seconds_of
from testbed.platform.settings import SettingsError

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "alerts" / "platform.yaml"
SITUATIONS = Path(__file__).parent / "alert_situations.yaml"
NAMES = {
    "ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly", "BacklogTooOld", "AutoscalerNotAble", "AutoscalerAtItsMaximum",
    "PlannerSaturated", "GpuPodsPending", "GpusMissing", "DisruptionBudgetAtZero", "RolloutStuck", "BrokerUnreachable",
    "ToolTasksWait", "QueueUnreadable", "GatewayErrors",
}  # fmt: skip
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool comes with the system package prometheus"
)


def rules(text: str) -> dict[str, dict[str, Any]]:
    found = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    return {str(rule.get("alert") or rule["record"]): rule for rule in found}


def shipped() -> dict[str, dict[str, Any]]:
    return rules(SHIPPED.read_text())


def local() -> dict[str, dict[str, Any]]:
    return rules(divided(SHIPPED.read_text(), ALERT_TIME_DIVISOR, 2))


def promtool(*arguments: str, folder: Path) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_fires_them_where_it_must_and_nowhere_else(tmp_path: Path) -> None:
    for path in (SHIPPED, SITUATIONS):
        shutil.copy(path, tmp_path)
    promtool("test", "rules", SITUATIONS.name, folder=tmp_path)


@needs_promtool
@pytest.mark.parametrize("divisor", [1, ALERT_TIME_DIVISOR])
def test_prometheus_loads_them_divided_or_not(tmp_path: Path, divisor: int) -> None:
    (tmp_path / "rules.yaml").write_text(divided(SHIPPED.read_text(), divisor, 2))
    promtool("check", "rules", "rules.yaml", folder=tmp_path)


def test_every_alert_says_how_urgent_it_is_what_is_seen_and_where_to_look() -> None:
    readme = (SHIPPED.parent / "README.md").read_text()
    alerts = {name: rule for name, rule in shipped().items() if "alert" in rule}
    assert set(alerts) == NAMES
    for name, rule in alerts.items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["summary"], name
        assert rule["annotations"]["runbook_url"] == f"deploy/alerts/README.md#{name.lower()}"
        assert f"\n### {name}\n" in readme, name


def test_no_summary_names_what_a_drill_hides() -> None:
    """A page tells symptoms: networks policies, pins, images, unplugging are for people to find."""
    hidden = re.compile(r"polic|pinned|image|probe|unplug|fault|chaos|game ?day", re.IGNORECASE)
    said = [str(rule.get("annotations", "")).replace("README", "") for rule in shipped().values()]
    assert not [text for text in said if hidden.search(text)]


def test_the_local_testbed_divides_every_time_and_nothing_else() -> None:
    before, after, times = shipped(), local(), re.compile(r"\[(\w+)]")
    assert after["platform:backlog_age_max:seconds"]["expr"] == "vector(10)"
    assert after["BacklogTooOld"]["for"] == "2s"
    for name, rule in before.items():
        was, now = rule["expr"], after[name]["expr"]
        assert [seconds_of(t) for t in times.findall(now)] == [max(10, seconds_of(t) / 30) for t in times.findall(was)]
        if not name.endswith(":seconds"):
            assert times.sub("T", was) == times.sub("T", now)
        assert _without_times(rule) == _without_times(after[name])


def _without_times(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in rule.items() if key not in ("expr", "for")}


def test_divided_they_hold_the_limits_that_the_platform_has_without_alertmanager() -> None:
    plain = rules((ROOT / "testbed/manifests/base/platform-infra/alerts.yaml").read_text())
    found = local()
    assert found["platform:task_wait_max:seconds"]["expr"] == "vector(3)"
    assert plain["ToolTasksWait"]["expr"].endswith("> 3")
    for name in ("QueueUnreadable", "GatewayErrors"):
        assert {key: found[name][key] for key in ("expr", "for", "labels")} == {
            key: plain[name][key] for key in ("expr", "for", "labels")
        }


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("rate(x[5m] offset 1h) > 1", "alert"),
        ("rate(x[ 5m ]) > 1", "alert"),
        ("x[5m] @ 1000 > 1", "alert"),
        ("5 * 60", "record"),
    ],
)
def test_a_time_that_would_be_missed_is_refused_and_its_rule_named(expression: str, name: str) -> None:
    rule = {name: "a:b:seconds" if name == "record" else "Odd", "expr": expression}
    with pytest.raises(SettingsError, match=r"Odd|a:b:seconds"):
        divided(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}), 30, 2)


@pytest.mark.parametrize("text", ["groups: [", "[]", "groups: 3", "groups: [{name: x}]"])
def test_what_is_no_file_of_rules_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="not a file of Prometheus' rules"):
        divided(text, 30, 2)


def test_subqueries_and_long_durations_are_divided_too() -> None:
    rule = {"record": "a", "expr": "max_over_time(x[1h30m:1m]) + sum_over_time(y[1d:]) + z[90s]"}
    found = rules(divided(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}), 30, 2))
    assert found["a"]["expr"] == "max_over_time(x[180s:2s]) + sum_over_time(y[2880s:]) + z[10s]"
