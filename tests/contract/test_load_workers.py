"""Several load workers against a scripted loopback server: what is lost with one, who takes over, what is told."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.drivers.locust_driver import LocustDriver
from harness.drivers.system_clock import RealClock
from harness.load_trace import with_trace
from harness.model.errors import PortError
from harness.model.load import LoadPlan, LoadWorkers
from harness.ports import Observation
from loadprofiles.line import END_AFTER_S
from loadprofiles.profiles import PLANNER, burst_stages
from tests.contract.scripted_server import ScriptedServer
from tests.contract.tcp_gate import TcpGate
from tests.contract.test_load_driver import GET_USER, edges, listen, plan_of

LONG = burst_stages(60.0, 90.0, baseline_s=3.0, burst_s=9.0, cooldown_s=2.0)
ALL_OF_LONG = 60 * 3 + 75 * 2 + 90 * 9 + 60 * 2


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[LocustDriver]:
    made = LocustDriver(RealClock.starting_now(), tmp_path)
    yield made
    made.stop()


def workers_plan(url: str, count: int, **changes: object) -> LoadPlan:
    return plan_of(url, workers=LoadWorkers(count=count), **changes)


def worker_processes(driver: LocustDriver) -> list[psutil.Process]:
    assert driver._child is not None
    return psutil.Process(driver._child.pid).children()


def snapshots(seen: list[Observation]) -> list[dict[str, float]]:
    return [dict(o.detail) for o in seen if o.kind == "load"]


def test_d11_the_load_of_several_workers_is_one_load(driver: LocustDriver) -> None:
    """D11: a fixed number of workers, all there before the first request, and each with its share."""
    with ScriptedServer() as server:
        driver.start(workers_plan(server.url, 3))
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    assert (len(rows), lost) == (len(server.asked), 0)
    assert Counter(rows["worker"]) == {0: 80, 1: 80, 2: 80}
    assert set(rows["outcome"]) == {"ok"}
    assert edges(seen)["started"].detail["workers"] == 3
    clocks = edges(seen)["started"].detail["clocks"]
    assert sorted(clock["worker"] for clock in clocks) == [0, 1, 2]
    assert all(abs(clock["offset_s"]) <= clock["uncertainty_s"] + 0.05 for clock in clocks)  # one machine, one clock
    assert {s["workers"] for s in snapshots(seen)} == {3}
    assert sum(s["offered_rps"] for s in snapshots(seen)[:5]) == pytest.approx(230, abs=15)
    assert edges(seen)["ended"].detail["offered"] == 240


def test_d11_every_worker_has_somebody_of_every_class(driver: LocustDriver) -> None:
    """D11: an arrival goes to the worker that its number says; a class of few users must not be missing there."""
    with ScriptedServer() as server:
        driver.start(workers_plan(server.url, 2, user_classes={PLANNER: 20.0, GET_USER: 1.0}, users_max=20))
        seen = listen(driver, "ended")
        driver.stop()
        rows, _ = driver.collect()
    assert edges(seen)["ended"].detail["dropped"] == 0
    assert len(rows) == 240
    assert set(rows["endpoint"]) == {"POST /v1/plan", "GET /page"}


def test_d05_a_killed_worker_is_told_and_the_others_take_its_share_over(driver: LocustDriver) -> None:
    """D05: a quarter of a second of its rows is gone at most, and the load that was missing shows as missing."""
    with ScriptedServer() as server:
        driver.start(workers_plan(server.url, 3, stages=LONG))
        time.sleep(4)
        worker_processes(driver)[1].kill()
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    told = edges(seen)["worker-lost"].detail
    assert "its process ended" in told["reason"]
    assert len(server.asked) - len(rows) <= told["unheard_max"] + lost
    assert {s["workers"] for s in snapshots(seen)} == {3, 2}
    ended = edges(seen)["ended"].detail
    assert (ended["workers_lost"], ended["offered"]) == (1, ALL_OF_LONG)
    assert ended["dropped"] > 0
    assert len(rows) + lost + ended["dropped"] == pytest.approx(ALL_OF_LONG, rel=0.01)
    last_s = rows["intended_s"].max()
    final = rows[rows["intended_s"] > last_s - 3.0]
    assert len(set(final["worker"])) == 2
    assert len(final) == pytest.approx(60 * 2 + 90, abs=3)  # all of the load, by two


def test_a_stalled_worker_is_replaced_and_comes_back_without_a_burst_of_late_requests(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        driver.start(workers_plan(server.url, 3, stages=LONG))
        time.sleep(4)
        stalled = worker_processes(driver)[1]
        stalled.suspend()
        time.sleep(5)
        stalled.resume()
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    assert list(edges(seen)).index("worker-back") > list(edges(seen)).index("worker-lost")
    assert (len(rows), lost) == (len(server.asked), 0)
    ended = edges(seen)["ended"].detail
    assert len(rows) + ended["dropped"] == pytest.approx(ALL_OF_LONG, rel=0.06)  # what others took over is not dropped
    assert ended["dropped"] > 0
    assert rows["intended_s"].is_unique  # nor sent twice
    in_second = Counter(rows["start_s"].astype(int))
    assert max(in_second.values()) <= 90 * 1.5  # nothing was made up for


def test_d05_no_worker_left_is_no_load(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        driver.start(workers_plan(server.url, 2, stages=LONG))
        time.sleep(2)
        for process in worker_processes(driver):
            process.kill()
        seen = listen(driver, "lost")
    assert "every worker was lost" in edges(seen)["lost"].detail["reason"]


def test_no_worker_outlives_the_child_that_leads_them(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        driver.start(workers_plan(server.url, 2, stages=LONG))
        time.sleep(2)
        workers = worker_processes(driver)
        assert driver._child is not None
        os.kill(driver._child.pid, signal.SIGKILL)
        seen = listen(driver, "lost")
        gone, alive = psutil.wait_procs(workers, timeout=10)
        asked = len(server.asked)
        time.sleep(0.5)
        assert len(server.asked) == asked
    assert "SIGKILL" in edges(seen)["lost"].detail["reason"]
    assert (len(gone), alive) == (2, [])
    rows, _ = driver.collect()
    assert len(rows) > 0  # what they had told before is kept


def test_a_stop_reaches_every_worker(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        driver.start(workers_plan(server.url, 3, stages=LONG))
        time.sleep(2)
        driver.ask_to_stop()
        seen = listen(driver, "ended")
        asked = len(server.asked)
        driver.stop()
        rows, lost = driver.collect()
        assert (len(rows), lost, len(server.asked)) == (asked, 0, asked)
    assert edges(seen)["ended"].detail["reason"] == "the run asked for it"


# Workers that come by themselves, as pods do ------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    made = secrets.token_hex(16)
    monkeypatch.setenv("GAMEDAY_LOAD_TOKEN", made)
    return made


def joining(stack: ExitStack, port: int, token: str) -> subprocess.Popen[bytes]:
    """Start a worker as a pod would."""
    command = [sys.executable, "-m", "loadprofiles.worker", "127.0.0.1", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, "GAMEDAY_LOAD_TOKEN": token}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stack.callback(process.wait, 10)
    stack.callback(process.kill)
    return process


def cluster_plan(url: str, count: int, port: int, **changes: object) -> LoadPlan:
    return replace(plan_of(url, **changes), workers=LoadWorkers(count, "cluster", "127.0.0.1", port))


def test_d05_a_worker_that_is_cut_off_stops_by_itself_and_loses_no_row_when_it_is_back(
    driver: LocustDriver, token: str
) -> None:
    """D05: a partition: nobody sends an arrival twice, and what the lonely one had sent is told afterwards."""
    port = free_port()
    with ScriptedServer() as server, TcpGate(port) as gate, ExitStack() as stack:
        for through in (port, gate.own_port):
            joining(stack, through, token)
        driver.start(cluster_plan(server.url, 2, port, stages=LONG))
        time.sleep(4)
        gate.shut()
        time.sleep(6)
        gate.open()
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
        assert (len(rows), lost) == (len(server.asked), 0)
    assert {"worker-lost", "worker-back"} <= edges(seen).keys()
    assert rows["intended_s"].is_unique  # no arrival was sent twice
    per_worker = {int(w): of["start_s"].sort_values().diff().max() for w, of in rows.groupby("worker", observed=True)}
    assert max(per_worker.values()) > 2.0  # the lonely one paused
    assert min(per_worker.values()) < 0.5


def test_d11_a_worker_waits_for_one_that_comes_much_later(driver: LocustDriver, token: str) -> None:
    """D11: pods come one by one; nobody gives up meanwhile, though it takes longer than a Lease lasts."""
    port = free_port()
    with ScriptedServer() as server, ExitStack() as stack:
        joining(stack, port, token)
        late = threading.Timer(END_AFTER_S + 4.0, joining, (stack, port, token))
        late.start()
        driver.start(cluster_plan(server.url, 2, port))
        late.join()
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    assert (len(rows), lost) == (len(server.asked), 0)
    assert edges(seen)["started"].detail["workers"] == 2
    assert "worker-lost" not in edges(seen)


def test_a_worker_that_is_gone_before_the_load_gives_its_place_away(driver: LocustDriver, token: str) -> None:
    """A pod was replaced: its successor takes its place, and the load begins with everybody."""
    port = free_port()
    with ScriptedServer() as server, ExitStack() as stack:
        first = joining(stack, port, token)

        def replace_it() -> None:
            first.kill()
            for _ in range(2):
                joining(stack, port, token)

        replaced = threading.Timer(7.0, replace_it)
        replaced.start()
        driver.start(cluster_plan(server.url, 2, port))
        replaced.join()
        seen = listen(driver, "ended")
        driver.stop()
        rows, _ = driver.collect()
    assert len(rows) == len(server.asked) == 240
    assert set(rows["worker"]) == {0, 1}
    assert "worker-lost" not in edges(seen)


def test_d11_too_few_workers_are_a_refusal_and_a_stranger_is_none(
    driver: LocustDriver, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D11: the load does not start with fewer; who does not know the token does not count."""
    monkeypatch.setenv("GAMEDAY_LOAD_JOIN_LIMIT_S", "8")
    port = free_port()
    with ScriptedServer() as server, ExitStack() as stack:
        joining(stack, port, token)
        joining(stack, port, "a wrong one")
        with pytest.raises(PortError, match="1 of 2 load workers came"):
            driver.start(cluster_plan(server.url, 2, port))
        assert server.asked == []


def test_a_recording_is_carried_to_workers_that_do_not_have_it(
    driver: LocustDriver, token: str, tmp_path: Path
) -> None:
    """Workers elsewhere read what came with their job, not a path of this machine."""
    due_s = [0.02 * number for number in range(100)]
    path = tmp_path / "only-here.csv"
    path.write_text("t_s\n" + "".join(f"{t_s:.2f}\n" for t_s in due_s))
    stages = burst_stages(1, 1, baseline_s=0.4, burst_s=1, cooldown_s=0.1, ramp_s=0.1)
    played = with_trace(plan_of("http://127.0.0.1:1", stages=stages).profile, path)
    port = free_port()
    with ScriptedServer() as server, ExitStack() as stack:
        for _ in range(2):
            joining(stack, port, token)
        driver.start(replace(cluster_plan(server.url, 2, port), profile=played))
        path.unlink()  # whoever reads it here from now on would fail
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    assert (len(rows), lost) == (100, 0)
    assert edges(seen)["ended"].detail["dropped"] == 0
    began_s = edges(seen)["started"].t_s
    assert sorted(rows["intended_s"] - began_s) == pytest.approx(due_s, abs=0.01)
