"""Load workers as pods of a real cluster: they wait for a load, make it, survive it, and one that is killed is told."""

from __future__ import annotations

import base64
import secrets
import socket
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.deploy.load_workers import NAME, deployment
from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.locust_driver import LocustDriver
from harness.drivers.system_clock import RealClock
from harness.model.load import LoadWorkers
from harness.model.target import Target
from loadprofiles.profiles import burst_stages
from tests.contract.cluster_world import RealWorld
from tests.contract.scripted_server import ScriptedServer
from tests.contract.test_load_driver import edges, listen, plan_of

pytestmark = pytest.mark.testbed

STAGES = burst_stages(20.0, 60.0, baseline_s=1.0, burst_s=8.0, cooldown_s=1.0, ramp_s=0.5)


@pytest.fixture
def workers(real_world: RealWorld, monkeypatch: pytest.MonkeyPatch) -> LoadWorkers:
    """Two worker pods that wait for a load."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = LoadWorkers(2, "cluster", "127.0.0.1", int(server.getsockname()[1]), pool="general")
    token = secrets.token_hex(16)
    monkeypatch.setenv("GAMEDAY_LOAD_TOKEN", token)
    target = Target(
        "t", "local", "", "", "", "", "a=b", (), "", "", 1.0, system_namespace=real_world.namespace, load_workers=found
    )
    secret = {"metadata": {"name": NAME}, "data": {"token": base64.b64encode(token.encode()).decode()}}
    real_world._post(f"/api/v1/namespaces/{real_world.namespace}/secrets", secret)
    body: dict[str, Any] = deployment(target, "gameday", "127.0.0.1")
    real_world._post(f"/apis/apps/v1/namespaces/{real_world.namespace}/deployments", body)
    real_world.until(lambda: real_world._ready(NAME, 2), "two load workers Ready")
    return found


def test_d05_d11_pods_make_the_load_and_one_that_is_killed_is_told_and_replaced_for_the_next(
    real_world: RealWorld, workers: LoadWorkers, tmp_path: Path
) -> None:
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        driver = LocustDriver(RealClock.starting_now(), folder)
        with ScriptedServer() as server, ExitStack() as stack:
            stack.callback(driver.stop)
            driver.start(replace(plan_of(server.url, stages=STAGES), workers=workers))
            time.sleep(3)
            if number == 1:
                pods = real_world._ready(NAME, 2) or []
                KubernetesActor(real_world._admin).delete_pod(pods[0], 0)
            seen = listen(driver, "ended", 60.0)
            driver.stop()
            rows, lost = driver.collect()
        assert set(rows["outcome"]) == {"ok"}
        if number == 0:
            assert (len(rows), lost) == (len(server.asked), 0)
            assert Counter(rows["worker"]) == {0: len(rows) / 2, 1: len(rows) / 2}
            assert "worker-lost" not in edges(seen)
            continue
        told = edges(seen)["worker-lost"].detail
        assert len(server.asked) - len(rows) <= told["unheard_max"] + lost
        assert edges(seen)["ended"].detail["workers_lost"] == 1
    assert real_world.until(lambda: real_world._ready(NAME, 2), "a new worker in its place")
