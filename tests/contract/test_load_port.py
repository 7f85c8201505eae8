"""The contract of `LoadDriver`: the twin's generator and the real one tell the same story of a load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from harness.drivers.locust_driver import LocustDriver
from harness.drivers.system_clock import RealClock
from harness.fakes.clock import FakeClock
from harness.fakes.cluster import SimulatedCluster
from harness.fakes.gateway import SimulatedGateway
from harness.fakes.load import FakeLoad
from harness.fakes.switches import Switches
from harness.fakes.workloads import SimWorkload
from harness.model.errors import PortError
from harness.model.load import REQUEST_COLUMNS, LoadSnapshot
from harness.ports import Clock, LoadDriver, Observation
from tests.contract.scripted_server import ScriptedServer
from tests.contract.test_load_driver import plan_of

LIMIT_S = 30.0
Generator = tuple[LoadDriver, Clock, str]


def simulated() -> tuple[LoadDriver, Clock]:
    clock, random = FakeClock(), Random(1)  # noqa: S311 - a test that must repeat
    cluster = SimulatedCluster(clock, random)
    workload = SimWorkload("agents", "planner", {"app": "planner"}, 3)
    cluster.add_workload(workload)
    gateway = SimulatedGateway(lambda: cluster.serving(workload), random)
    load = FakeLoad(gateway, clock, Switches())
    clock.every_step(load.step)
    clock.every_step(gateway.step)
    return load, clock


@pytest.fixture(params=["fake", "locust"])
def generator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Generator]:
    if request.param == "fake":
        yield *simulated(), "http://127.0.0.1:1"
        return
    clock = RealClock.starting_now()
    driver = LocustDriver(clock, tmp_path)
    with ScriptedServer(delay_s=0.02) as server:
        yield driver, clock, server.url
        driver.stop()


def watch(load: LoadDriver, clock: Clock) -> list[Observation]:
    """Poll until the load has ended."""
    seen: list[Observation] = []
    deadline_s = clock.now_s() + LIMIT_S
    while not any(o.subject == "ended" and o.kind == "load-edge" for o in seen):
        assert clock.now_s() < deadline_s
        clock.sleep(0.1)
        seen += load.poll()
    return seen


def test_before_a_start_there_is_nothing_to_tell(generator: Generator) -> None:
    load, _, _ = generator
    assert load.latest() is None
    load.stop()
    rows, lost = load.collect()
    assert (len(rows), lost, tuple(rows.columns)) == (0, 0, REQUEST_COLUMNS)


def test_a_load_starts_runs_its_stages_and_ends(generator: Generator) -> None:
    load, clock, url = generator
    load.start(plan_of(url))
    started_s = clock.now_s()
    seen = watch(load, clock)
    load.stop()
    load.stop()
    rows, lost = load.collect()
    edges = {o.subject: o.t_s for o in seen if o.kind == "load-edge"}
    assert list(edges) == ["started", "first-request", "last-answer", "ended"]
    assert edges["started"] <= started_s
    assert edges["started"] <= edges["first-request"] <= edges["last-answer"] <= edges["ended"]
    assert (len(rows), lost, set(rows["outcome"])) == (240, 0, {"ok"})
    assert list(rows["seq"]) == list(range(240))
    assert rows["start_s"].min() == pytest.approx(edges["first-request"], abs=1e-6)
    assert (rows["start_s"] + rows["latency_s"]).max() == pytest.approx(edges["last-answer"], abs=1e-3)
    snapshots = [LoadSnapshot(**o.detail) for o in seen if o.kind == "load"]
    assert all(o.actor == "load" for o in seen if o.kind in {"load", "load-edge"})
    assert [s.stage for s in snapshots][-1] == "ended"
    assert [s.t_s for s in snapshots] == sorted(s.t_s for s in snapshots)
    assert max(s.achieved_rps for s in snapshots) == pytest.approx(60, abs=3)
    assert (snapshots[-1].requests, snapshots[-1].failures, snapshots[-1].inflight) == (240, 0, 0)
    assert load.latest() == snapshots[-1]


@pytest.mark.parametrize("ask", ["ask_to_stop", "stop"])
def test_a_stop_in_the_middle_leaves_whole_rows_and_an_end(generator: Generator, ask: str) -> None:
    load, clock, url = generator
    load.start(plan_of(url))
    for _ in range(20):
        clock.sleep(0.1)
        load.poll()
    stopped_s = clock.now_s()
    getattr(load, ask)()
    seen = watch(load, clock)
    load.stop()
    rows, lost = load.collect()
    assert lost == 0
    assert 0 < len(rows) < 240
    assert set(rows["outcome"]) == {"ok"}
    assert rows["start_s"].max() <= stopped_s + 1.0
    assert next(o for o in seen if o.subject == "ended").detail["requests"] == len(rows)


def test_a_plan_above_the_targets_rate_is_refused(generator: Generator) -> None:
    load, _, url = generator
    with pytest.raises(PortError, match="peaks"):
        load.start(plan_of(url, rate_max_rps=10.0))
