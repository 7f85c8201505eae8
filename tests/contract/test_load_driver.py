"""The load driver against a scripted loopback server: rates, outcomes, limits, and every way to lose the generator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.drivers.locust_driver import LocustDriver
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError
from harness.model.load import REQUEST_COLUMNS, LoadPlan, LoadProfile
from harness.ports import Observation
from loadprofiles.profiles import PLANNER, burst_stages
from tests.contract.scripted_server import ScriptedServer

STAGES = burst_stages(20.0, 60.0, baseline_s=1.0, burst_s=3.0, cooldown_s=1.0, ramp_s=0.5)
GET_USER = "tests.contract.load_users:GetUser"


def plan_of(url: str, **changes: object) -> LoadPlan:
    profile = LoadProfile("test", STAGES, {PLANNER: 1.0}, users_max=60, request_timeout_s=1.0)
    plan = LoadPlan(profile, url, seed=5, rate_max_rps=100, loopback_only=True)
    in_profile = {k: v for k, v in changes.items() if k in LoadProfile.__dataclass_fields__}
    in_plan = {k: v for k, v in changes.items() if k not in in_profile}
    return replace(plan, profile=replace(profile, **in_profile), **in_plan)  # type: ignore[arg-type]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[LocustDriver]:
    made = LocustDriver(RealClock.starting_now(), tmp_path)
    yield made
    made.stop()


def listen(driver: LocustDriver, until: str, limit_s: float = 30.0) -> list[Observation]:
    """Poll until an edge is seen."""
    seen: list[Observation] = []
    deadline_s = time.monotonic() + limit_s
    while not any(o.kind == "load-edge" and o.subject == until for o in seen):
        assert time.monotonic() < deadline_s, f"no {until} within {limit_s} s: {seen[-3:]}"
        time.sleep(0.05)
        seen += driver.poll()
    return seen


def edges(seen: list[Observation]) -> dict[str, Observation]:
    return {o.subject: o for o in seen if o.kind == "load-edge"}


def test_d01_d02_d06_d10_the_load_follows_its_profile_and_every_request_is_a_row(
    driver: LocustDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D01, D02, D06, D10: child process; offered against achieved; windows from raw rows."""
    monkeypatch.setenv("GAMEDAY_HEADER_AUTHORIZATION", "Bearer swordfish-swordfish")
    with ScriptedServer() as server:
        driver.start(plan_of(server.url, header_names=("Authorization",), options={"tool_calls": 3}))
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    assert lost == 0
    assert tuple(rows.columns) == REQUEST_COLUMNS
    assert len(rows) == len(server.asked) == 20 + 20 + 180 + 20
    assert set(rows["outcome"]) == {"ok"}
    assert set(rows["pod"]) == {"planner-a"}
    assert list(rows["seq"]) == list(range(len(rows)))
    began_s = edges(seen)["started"].t_s
    in_burst = rows["intended_s"].between(began_s + 1.5, began_s + 4.5, inclusive="left")
    assert in_burst.sum() == pytest.approx(180, abs=1)
    assert list(edges(seen)) == ["started", "first-request", "last-answer", "ended"]
    snapshots = [o.detail for o in seen if o.kind == "load"]
    assert sum(s["offered_rps"] for s in snapshots[:5]) == pytest.approx(230, abs=15)
    assert snapshots[-1]["stage"] == "ended"
    assert snapshots[-1]["requests"] == len(rows)
    assert {"locust", "gevent"}.isdisjoint(sys.modules)
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer swordfish-swordfish"}
    body = json.loads(server.asked[0].body)
    assert body["tool_calls"] == 3
    turns = Counter((json.loads(a.body)["conversation_id"], json.loads(a.body)["turn"]) for a in server.asked)
    assert max(turns.values()) == 1  # a queue that knows task ids would take a second one for a repeat
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"swordfish" not in written


def test_d03_d08_each_way_to_fail_is_told_apart_and_nothing_is_tried_twice(driver: LocustDriver) -> None:
    """D03, D08: one failure is no exit code; a hung request is a time-out, a half answer is no success."""
    script = ["ok", "503", "half", "reset", "hang", "redirect", "close"]
    with ScriptedServer(lambda number: script[number % len(script)]) as server:
        driver.start(plan_of(server.url, request_timeout_s=0.4))
        ended = edges(listen(driver, "ended"))["ended"]
        driver.stop()
        rows, lost = driver.collect()
    assert lost == 0
    assert len(rows) == len(server.asked) == 240
    assert {asked.line for asked in server.asked} == {"POST /v1/plan HTTP/1.1"}  # no redirect was followed
    found = Counter(zip(rows["outcome"], rows["status"], strict=True))
    expected = Counter(script[n % len(script)] for n in range(240))
    assert found == {
        ("ok", 200): expected["ok"],
        ("http_error", 503): expected["503"],
        ("http_error", 302): expected["redirect"],
        ("broken", 200): expected["half"],
        ("broken", 0): expected["reset"] + expected["close"],
        ("timeout", 0): expected["hang"],
    }
    assert rows.loc[rows["outcome"] == "timeout", "latency_s"].between(0.35, 0.9).all()
    assert ended.detail["failures"] == 240 - expected["ok"]


def test_d07_somebody_elses_user_class_is_paced_too_and_connections_are_made_anew(driver: LocustDriver) -> None:
    script = {0: "close", 1: "half"}
    with ScriptedServer(lambda number: script.get(number, "ok")) as server:
        driver.start(plan_of(server.url, user_classes={GET_USER: 1.0}, options={"reconnect_every": 5}, users_max=4))
        listen(driver, "ended")
        driver.stop()
        rows, _ = driver.collect()
    assert len(rows) == len(server.asked) == 240
    assert Counter(rows["outcome"]) == {"ok": 238, "broken": 2}
    assert set(rows["endpoint"]) == {"GET /page"}
    assert server.connections == pytest.approx(240 / 5, abs=6)  # D07: connections are made anew


def test_requests_are_mixed_by_weight_and_payloads_come_from_a_file(driver: LocustDriver, tmp_path: Path) -> None:
    (tmp_path / "payloads.jsonl").write_text('"first"\n"second"\n')
    mix = {PLANNER: 3.0, GET_USER: 1.0}
    with ScriptedServer() as server:
        options = {"payload_file": str(tmp_path / "payloads.jsonl")}
        driver.start(plan_of(server.url, user_classes=mix, options=options))
        listen(driver, "ended")
        driver.stop()
        rows, _ = driver.collect()
    assert Counter(rows["outcome"]) == {"ok": 240}
    assert rows["endpoint"].value_counts()["POST /v1/plan"] == pytest.approx(180, abs=30)
    posted = [json.loads(asked.body) for asked in server.asked if asked.body]
    assert {body["payload"] for body in posted} == {"first", "second"}


def test_a_server_that_is_down_gives_rows_not_a_dead_generator(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        url = server.url
    driver.start(plan_of(url))
    listen(driver, "ended")
    driver.stop()
    rows, lost = driver.collect()
    assert (len(rows), lost, set(rows["outcome"]), set(rows["status"])) == (240, 0, {"connect_error"}, {0})


def test_d09_arrivals_that_find_no_free_user_are_late_then_dropped(driver: LocustDriver) -> None:
    """D09: the generator's own limit shows, it does not turn into fewer arrivals offered."""
    with ScriptedServer(delay_s=0.2) as server:
        driver.start(plan_of(server.url, users_max=4, request_timeout_s=0.5))
        seen = listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    detail = edges(seen)["ended"].detail
    assert lost == 0
    assert detail["offered"] == 240
    assert detail["dropped"] == 240 - len(rows) > 0
    assert (rows["start_s"] - rows["intended_s"]).max() <= 0.55
    busiest = max((o.detail for o in seen if o.kind == "load"), key=lambda s: s["offered_rps"])
    assert busiest["achieved_rps"] < 0.5 * busiest["offered_rps"]
    assert busiest["lag_s"] > 0.3


def test_d05_a_killed_generator_is_reported_lost_and_its_open_rows_are_counted(driver: LocustDriver) -> None:
    """D05."""
    with ScriptedServer(delay_s=0.3) as server:
        driver.start(plan_of(server.url))
        listen(driver, "first-request")
        deadline_s = time.monotonic() + 10
        while driver.latest() is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert driver._child is not None
        os.kill(driver._child.pid, signal.SIGKILL)
        lost_edge = edges(listen(driver, "lost"))["lost"]
        driver.stop()
        rows, lost = driver.collect()
    assert "killed by SIGKILL; last lines of locust.log" in lost_edge.detail["reason"]
    assert len(rows) > 0
    assert lost > 0
    assert not [o for o in driver.poll() if o.subject == "lost"]  # said once


def test_u7_a_generator_that_somebody_else_ends_in_good_order_is_lost_all_the_same(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        driver.start(plan_of(server.url))
        assert driver._child is not None
        os.kill(driver._child.pid, signal.SIGTERM)
        told = edges(listen(driver, "lost"))["lost"]
        driver.stop()
    assert told.detail["reason"] == "SIGTERM to the load generator"


def test_u7_a_generator_that_hears_no_sign_of_life_stops_sending_by_itself(
    driver: LocustDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.drivers.locust_child.HEARTBEAT_EVERY_S", 3600.0)
    with ScriptedServer() as server:
        driver.start(plan_of(server.url, stages=burst_stages(2.0, 4.0, baseline_s=60.0, burst_s=3.0, cooldown_s=1.0)))
        told = edges(listen(driver, "lost"))["lost"]
        driver.stop()
    assert told.detail["reason"] == "no sign of life of the driver for 15 s"


def test_a_generator_that_falls_silent_is_lost(driver: LocustDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.drivers.locust_driver.SILENCE_LIMIT_S", 2.5)
    monkeypatch.setattr("harness.drivers.locust_driver.STOP_MARGIN_S", 0.5)
    with ScriptedServer() as server:
        driver.start(plan_of(server.url))
        assert driver._child is not None
        os.kill(driver._child.pid, signal.SIGSTOP)
        assert "silent for 2.5 s" in edges(listen(driver, "lost"))["lost"].detail["reason"]
        driver.stop()
    assert driver._child.over


def test_d08_a_stop_ends_the_sending_within_a_second_and_waits_for_answers(driver: LocustDriver) -> None:
    with ScriptedServer(delay_s=0.4) as server:
        driver.start(plan_of(server.url))
        listen(driver, "first-request")
        time.sleep(1.0)
        stopped_s = driver._clock.now_s()
        driver.stop()
        driver.stop()
        seen = driver.poll()
        rows, lost = driver.collect()
    assert lost == 0
    assert set(rows["outcome"]) == {"ok"}
    assert len(rows) == len(server.asked) < 240
    assert rows["start_s"].max() <= stopped_s + 1.0
    assert edges(list(seen))["ended"].detail["reason"] == "the run asked for it"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_max_rps": 59.0}, "peaks at 60 rps, and 59 are allowed"),
        ({"gateway_url": "http://198.18.0.1:80"}, "not in 127.0.0.0/8"),
        ({"header_names": ("X-Missing",)}, "neither GAMEDAY_HEADER_X_MISSING nor"),
        ({"user_classes": {"tests.contract.load_users:Nobody": 1.0}}, "name it as module:Class"),
    ],
)
def test_a_plan_that_must_not_be_carried_out_is_refused_before_any_request(
    driver: LocustDriver, changes: dict[str, object], message: str
) -> None:
    with ScriptedServer() as server:
        with pytest.raises(PortError, match=message):
            driver.start(plan_of(server.url, **changes))
    assert server.connections == 0


def test_user_code_that_strays_from_the_gateway_is_stopped_and_sends_nothing(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        driver.start(plan_of(server.url, user_classes={"tests.contract.load_users:AwayUser": 1.0}))
        lost = edges(listen(driver, "lost"))["lost"]
    assert "last OffTargetError" in lost.detail["reason"]
    assert server.connections == 0


def test_what_user_code_raises_is_told_by_type_and_place_never_by_its_text(
    driver: LocustDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMEDAY_HEADER_AUTHORIZATION", "Bearer pl4nted")
    with ScriptedServer() as server:
        driver.start(plan_of(server.url, user_classes={"tests.contract.load_users:TellingUser": 1.0}))
        seen = listen(driver, "lost")
        driver.stop()
    assert "last RuntimeError" in edges(seen)["lost"].detail["reason"]
    assert "pl4nted" not in str(seen)
    told = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "raised RuntimeError at" in told and "load_users.py:" in told
    assert "pl4nted" not in told


def test_d03_a_generator_that_cannot_start_names_its_last_lines(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; print('no such locust', file=sys.stderr); sys.exit(7)")
    driver = LocustDriver(RealClock.starting_now(), tmp_path, command)
    with pytest.raises(PortError, match=r"exit status 7.*no such locust"):
        driver.start(plan_of("http://127.0.0.1:1"))
    assert driver.collect()[1] == 0


DRIVING = """
import sys, time
from pathlib import Path
from harness.drivers.locust_driver import LocustDriver
from harness.drivers.system_clock import RealClock
from tests.contract.test_load_driver import plan_of
driver = LocustDriver(RealClock.starting_now(), Path(sys.argv[2]))
driver.start(plan_of(sys.argv[1]))
print(driver._child.pid, flush=True)
time.sleep(60)
"""


def test_the_generator_does_not_outlive_its_driver(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        command = [sys.executable, "-c", DRIVING, server.url, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as conductor:
            assert conductor.stdout is not None
            pid = int(conductor.stdout.readline())
            conductor.kill()
        deadline_s = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()


WATCHING = """
from loadprofiles.locustfile import _watch


class Engine:
    def stop(self, reason):
        print("stopped:", reason)


_watch(0, Engine())
"""


def test_a_torn_stop_line_still_stops_the_engine() -> None:
    command = [sys.executable, "-c", WATCHING]
    ended = subprocess.run(command, input='{"sto', capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "stopped: the driver is gone\n"
    assert "JSONDecodeError" in ended.stderr
