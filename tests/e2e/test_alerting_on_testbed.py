"""Alerting on the whole local testbed: added to one that lives, and a page from a real rule to a drill's webhook."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from harness.drill.alert_route import check_route, route_of
from harness.drill.web.access import WebSecrets
from harness.drill.web.server import serve
from harness.drivers.system_clock import RealClock
from harness.model.drill import DrillState
from harness.model.target import Target
from harness.settings import load_settings, resolve_target
from tests.contract.routed_desk import RoutedDesk

pytestmark = pytest.mark.testbed

ROOT = Path(__file__).parents[2]
UP_TIMEOUT_S = 1800
"""The first call may have to build the programs."""
PAGE_WAIT_S = 90.0


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Any]]:
    """The target document of a testbed to which alerting was added while it lived."""
    name = f"alerting-{os.getpid()}"
    plain = ["--without", "reaper", "--name", name, "--owner-pid", str(os.getpid()), "--json"]
    try:
        before = json.loads(call("up", *plain))
        after = json.loads(call("up", "--with", "alerting", *plain))
        assert (after["created"], "alerting" in before["components"]) == (False, False)
        target = Path(after["target"])
        yield json.loads(target.read_text())
    finally:
        call("down", "--name", name)
    assert not list(target.parent.glob("*.token")), "a token outlives the testbed"
    shutil.rmtree(target.parent)


def call(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "testbed", *arguments], capture_output=True, text=True, timeout=UP_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def target(told: dict[str, Any]) -> Target:
    settings = load_settings(ROOT / "gameday.toml")
    local = settings.targets["local"].model_copy(update={"instance": told["instance"]})
    return resolve_target(settings.model_copy(update={"targets": {"local": local}}), "local")


def kubectl(told: dict[str, Any], *arguments: str) -> None:
    """Run the kubectl that the testbed brings for people, as its administrator."""
    command = [f"{told['alerting']['programs']}/kubectl", *arguments]
    admin = str(Path(told["kubeconfig"]).with_name("admin.kubeconfig"))
    done = subprocess.run(
        command, env={**os.environ, "KUBECONFIG": admin}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def until(true: Callable[[], bool], seen: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PAGE_WAIT_S
    while not true():
        assert time.monotonic() < deadline_s, f"not within {PAGE_WAIT_S:g} s; seen: {seen()}"
        time.sleep(0.2)


def test_a_broker_that_goes_is_a_page_of_the_drill_and_one_that_comes_back_resolves_it(
    told: dict[str, Any], target: Target
) -> None:
    route, desk = route_of(target, {}), RoutedDesk()
    desk.go(DrillState.RUNNING)
    serving = serve(desk, secrets=WebSecrets.random(webhook=route.webhook_token), bind=route.host, port=route.port)
    try:
        check_route(route, desk.tests.arrived, RealClock.starting_now())
        kubectl(told, "-n", "platform-infra", "scale", "deployment/redis", "--replicas=0")
        until(lambda: ("QueueUnreadable", "firing") in desk.pages(), desk.pages)
        kubectl(told, "-n", "platform-infra", "scale", "deployment/redis", "--replicas=1")
        until(lambda: ("QueueUnreadable", "resolved") in desk.pages(), desk.pages)
    finally:
        serving.close()
    [first] = [entry for entry in desk.drill().of("page") if entry.detail["state"] == "firing"][:1]
    assert first.detail["severity"] == "page"
    assert first.detail["summary"] == "Nobody can tell how long the tool-call queue is."


def test_every_rule_is_loaded_and_can_be_evaluated(told: dict[str, Any]) -> None:
    """An alert that cannot be asked never fires, and nobody would see that."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{told['prometheus_url']}/api/v1/rules", timeout=10).json()
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    assert len(rules) == (ROOT / "deploy/alerts/platform.yaml").read_text().count("expr:")
    assert not [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]


def test_the_clusters_state_is_told_under_its_own_names(told: dict[str, Any]) -> None:
    asked = 'kube_deployment_status_replicas{namespace="agents",deployment="planner",pod=""}'
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{told['prometheus_url']}/api/v1/query", params={"query": asked}, timeout=10).json()
    assert len(answer["data"]["result"]) == 1
