"""Users of all three kinds (the fast path, FastHttpUser, HttpUser) are measured alike, and their faults are named."""

from __future__ import annotations

import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from harness.drivers.locust_driver import LocustDriver
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError
from harness.model.load import LoadWorkers, Stage
from loadprofiles.shapes import burst_stages
from tests.contract.scripted_server import ScriptedServer
from tests.contract.test_load_driver import edges, listen, plan_of

USERS = "tests.contract.load_users:"
KINDS = pytest.mark.parametrize("kind", ["QuickUser", "LocustUser", "PlainUser"])
STAGES = burst_stages(20.0, 40.0, baseline_s=1.0, burst_s=2.0, cooldown_s=0.5, ramp_s=0.5)
ARRIVALS = 20 + 15 + 80 + 10
NO_SUCH_HOST = ".".join(["a" * 60] * 5) + ".invalid"
"""Too long for any name: it is told at once, and no name server is asked."""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[LocustDriver]:
    made = LocustDriver(RealClock.starting_now(), tmp_path)
    yield made
    made.stop()


def trusted_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def mix_of(*kinds: str) -> dict[str, float]:
    return {USERS + kind: 1.0 for kind in kinds}


@KINDS
def test_each_way_to_fail_is_told_apart_and_nothing_is_tried_twice(driver: LocustDriver, kind: str) -> None:
    script = ["ok", "503", "half", "reset", "hang", "redirect", "close"]
    with ScriptedServer(lambda number: script[number % len(script)]) as server:
        driver.start(plan_of(server.url, request_timeout_s=0.4, stages=STAGES, user_classes=mix_of(kind)))
        ended = edges(listen(driver, "ended"))["ended"].detail
        driver.stop()
        rows, lost = driver.collect()
    assert lost == 0
    assert len(rows) == len(server.asked) == ARRIVALS
    assert {asked.line for asked in server.asked} == {"GET /page HTTP/1.1"}  # no redirect was followed
    expected = Counter(script[n % len(script)] for n in range(ARRIVALS))
    assert Counter(rows["outcome"]) == {
        "ok": expected["ok"],
        "http_error": expected["503"] + expected["redirect"],
        "broken": expected["half"] + expected["reset"] + expected["close"],
        "timeout": expected["hang"],
    }
    assert set(rows.loc[rows["outcome"] == "http_error", "status"]) == {503, 302}
    assert rows.loc[rows["outcome"] == "timeout", "latency_s"].between(0.35, 0.9).all()
    assert ended["errors"]["status 503"] == expected["503"]
    assert ended["errors"]["total-timeout"] + ended["errors"].get("read-timeout", 0) == expected["hang"]
    assert sum(ended["errors"].values()) == ended["failures"] == ARRIVALS - expected["ok"]


@KINDS
def test_d07_connections_are_made_anew_and_no_proxy_is_used(
    driver: LocustDriver, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D07."""
    with ScriptedServer() as server, ScriptedServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("GAMEDAY_HEADER_X_TENANT", "nightly")
        options = {"reconnect_every": 5}
        changes = {"header_names": ("X-Tenant",), "options": options, "users_max": 4, "stages": STAGES}
        driver.start(plan_of(server.url, user_classes=mix_of(kind), **changes))
        listen(driver, "ended")
        driver.stop()
        rows, _ = driver.collect()
    assert proxy.connections == 0
    assert (len(rows), set(rows["outcome"]), set(rows["pod"])) == (ARRIVALS, {"ok"}, {"planner-a"})
    assert {asked.headers["x-tenant"] for asked in server.asked} == {"nightly"}
    assert server.connections == pytest.approx(ARRIVALS / 5, abs=6)


@KINDS
def test_a_name_that_nobody_knows_is_counted_and_named(driver: LocustDriver, kind: str) -> None:
    changes = {"loopback_only": False, "stages": STAGES, "user_classes": mix_of(kind)}
    driver.start(plan_of(f"http://{NO_SUCH_HOST}:81", **changes))
    ended = edges(listen(driver, "ended"))["ended"].detail
    driver.stop()
    rows, lost = driver.collect()
    assert (len(rows), lost, set(rows["outcome"]), set(rows["status"])) == (ARRIVALS, 0, {"connect_error"}, {0})
    assert ended["errors"] == {"dns": ARRIVALS}


@KINDS
def test_a_gateway_that_nobody_vouches_for_is_counted_and_named(driver: LocustDriver, kind: str) -> None:
    with ScriptedServer(tls=trusted_tls(trustme.CA())) as server:
        driver.start(plan_of(server.url, stages=STAGES, user_classes=mix_of(kind)))
        ended = edges(listen(driver, "ended"))["ended"].detail
        driver.stop()
        rows, lost = driver.collect()
    assert (len(rows), lost, set(rows["outcome"])) == (ARRIVALS, 0, {"connect_error"})
    assert ended["errors"] == {"tls": ARRIVALS}
    assert server.asked == []


@KINDS
def test_a_gateway_that_the_machine_trusts_is_asked(
    driver: LocustDriver, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with ScriptedServer(tls=trusted_tls(authority)) as server:
        driver.start(plan_of(server.url, stages=STAGES, user_classes=mix_of(kind), users_max=5))
        listen(driver, "ended")
        driver.stop()
        rows, lost = driver.collect()
    assert (len(rows), lost, set(rows["outcome"])) == (ARRIVALS, 0, {"ok"})


@KINDS
def test_a_gateway_that_is_down_is_counted_and_named(driver: LocustDriver, kind: str) -> None:
    with ScriptedServer() as server:
        url = server.url
    driver.start(plan_of(url, stages=STAGES, user_classes=mix_of(kind)))
    ended = edges(listen(driver, "ended"))["ended"].detail
    assert ended["errors"] == {"refused": ARRIVALS}


@pytest.mark.parametrize("kind", ["StumblingQuickUser", "StumblingUser", "StumblingPlainUser"])
def test_user_code_that_raises_is_counted_and_its_request_is_a_bad_row(driver: LocustDriver, kind: str) -> None:
    with ScriptedServer() as server:
        driver.start(plan_of(server.url, stages=STAGES, user_classes=mix_of(kind), users_max=4))
        ended = edges(listen(driver, "ended"))["ended"].detail
        driver.stop()
        rows, _ = driver.collect()
    raised = ended["errors"]["user code raised KeyError"]
    assert raised == len(range(7, ARRIVALS, 20))
    found = Counter(rows["outcome"])
    assert found["ok"] == ARRIVALS - raised == len(rows) - raised
    assert found["broken"] + found["unfinished"] == raised  # the last one of a user may have found no end


@pytest.mark.parametrize("kind", ["AwayQuickUser", "AwayUser", "AwayPlainUser"])
def test_user_code_that_strays_from_the_gateway_is_counted_and_named(driver: LocustDriver, kind: str) -> None:
    with ScriptedServer() as server:
        driver.start(plan_of(server.url, stages=STAGES, user_classes=mix_of(kind)))
        lost = edges(listen(driver, "lost"))["lost"].detail
    assert "last OffTargetError" in lost["reason"]
    assert lost["errors"]["user code raised OffTargetError"] >= 20
    assert server.connections == 0


@pytest.mark.parametrize("others", [(), ("QuickUser",)])
def test_user_code_that_never_sends_is_named_also_beside_one_that_does(
    driver: LocustDriver, others: tuple[str, ...]
) -> None:
    with ScriptedServer() as server:
        changes = {"stages": STAGES, "request_timeout_s": 0.5}
        driver.start(plan_of(server.url, user_classes=mix_of("SilentUser", *others), **changes))
        lost = edges(listen(driver, "lost"))["lost"].detail
    assert f"no user of {USERS}SilentUser sends a request" in lost["reason"]
    assert bool(server.asked) == bool(others)


# Locust's own statistics -------------------------------------------------------------------------------------------

LINGERING = (*STAGES, Stage("quiet", 6.0, 0.0, 0.0))
"""All requests are over while the load still is on."""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def page_of(port: int, path: str = "/stats/requests", **words: Any) -> requests.Response:
    return requests.request(words.pop("method", "GET"), f"http://127.0.0.1:{port}{path}", timeout=5, **words)


def told_requests(port: int, until: int, limit_s: float = 20.0) -> dict[str, Any]:
    """Poll the page until it tells of so many requests."""
    deadline_s = time.monotonic() + limit_s
    told: dict[str, Any] = {}
    while not told or told["stats"][-1]["num_requests"] < until:
        assert time.monotonic() < deadline_s, told
        time.sleep(0.1)
        told = page_of(port).json()
    return told


@pytest.mark.parametrize("count", [1, 2])
def test_locusts_page_tells_what_the_rows_say(driver: LocustDriver, count: int) -> None:
    port = free_port()
    script = ["ok", "503", "ok", "close"]
    with ScriptedServer(lambda number: script[number % len(script)]) as server:
        changes = {"stages": LINGERING, "options": {"web_ui": port}, "workers": LoadWorkers(count=count)}
        driver.start(plan_of(server.url, user_classes=mix_of("QuickUser", "LocustUser", "PlainUser"), **changes))
        told = told_requests(port, ARRIVALS)
        driver.stop()
        rows, lost = driver.collect()
    assert lost == 0
    entries = {(entry["method"], entry["name"]): entry for entry in told["stats"]}
    page, total = entries["GET", "/page"], told["stats"][-1]
    assert page["num_requests"] == total["num_requests"] == len(rows) == ARRIVALS
    assert page["num_failures"] == (rows["outcome"] != "ok").sum()
    assert page["max_response_time"] / 1000 == pytest.approx(rows["latency_s"].max(), abs=0.05)


def test_locusts_page_is_to_look_at_only(driver: LocustDriver) -> None:
    port = free_port()
    with ScriptedServer() as server:
        driver.start(plan_of(server.url, user_classes=mix_of("QuickUser"), stages=LINGERING, options={"web_ui": port}))
        told_requests(port, 1)
        assert page_of(port, "/").status_code == 200
        assert page_of(port, "/stats/requests", headers={"Host": f"localhost:{port}"}).status_code == 200
        refused = [
            page_of(port, "/swarm", method="POST", data={"user_count": 5, "spawn_rate": 5, "host": "http://127.0.0.9"}),
            page_of(port, "/stop", method="POST"),
            page_of(port, "/stats/reset", method="POST"),
            page_of(port, "/exceptions"),
            page_of(port, "/", headers={"Host": "load.example"}),
            page_of(port, "/stats/requests", headers={"Origin": "http://load.example"}),
        ]
        assert [answer.status_code for answer in refused] == [403] * len(refused)
        listen(driver, "ended")
        driver.stop()
        rows, _ = driver.collect()
    assert len(rows) == ARRIVALS
    with pytest.raises(requests.ConnectionError):
        page_of(port)


def test_a_port_that_is_taken_or_none_is_refused(driver: LocustDriver, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        with pytest.raises(PortError, match=f"port {server.port} is taken"):
            driver.start(plan_of(server.url, options={"web_ui": server.port}))
        (tmp_path / "other").mkdir()
        other = LocustDriver(RealClock.starting_now(), tmp_path / "other")
        with pytest.raises(PortError, match="is no port"):
            other.start(plan_of(server.url, options={"web_ui": "yes"}))
    assert server.asked == []


def test_a_listener_of_user_code_hears_of_every_request(driver: LocustDriver, tmp_path: Path) -> None:
    heard = tmp_path / "heard.txt"
    with ScriptedServer(lambda number: "503" if number % 5 == 0 else "ok") as server:
        options = {"heard": str(heard)}
        mix = {"tests.contract.listening_users:HeardUser": 1.0}
        driver.start(plan_of(server.url, user_classes=mix, stages=STAGES, options=options))
        ended = edges(listen(driver, "ended"))["ended"].detail
        driver.stop()
        rows, _ = driver.collect()
    lines = heard.read_text().splitlines()
    assert len(lines) == len(rows) == ARRIVALS
    assert Counter(lines) == {"GET /page True": len(server.asked) // 5, "GET /page False": ARRIVALS - ARRIVALS // 5}
    assert ended["errors"]["user code raised ZeroDivisionError"] == 1
