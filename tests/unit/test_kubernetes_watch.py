"""The watch against a server that misbehaves: CASES B01 (silence), B02 (410), B03 (replay), B12."""

import time

import pytest

from harness.drivers.kubernetes.facts import pod_fact
from harness.drivers.kubernetes.inventory import FactInventory
from harness.drivers.kubernetes.resources import PODS
from harness.drivers.kubernetes.watch import ResourceWatch
from harness.model.errors import PortError
from tests.unit.kubernetes_stub import pod, pod_list, status, stub_api

PATH = "/api/v1/namespaces/agents/pods"
LIMIT_S = 20.0


class Watched:
    def __init__(self, connection, **limits):
        self.news = []
        self.inventory = FactInventory(pod_fact)
        self.watch = ResourceWatch(
            connection, PODS, "agents", self.inventory,
            lambda t_s, news: self.news.append(news), time.monotonic, **{"round_s": 1, "silence_s": 0.3, **limits},
        )  # fmt: skip

    def __enter__(self):
        self.watch.start()
        return self

    def __exit__(self, *_):
        self.watch.stop()
        assert self.watch.join(5.0), "the watch did not end"

    def until(self, count, **wanted):
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            found = [n for n in self.news if all(n.detail.get(k) == v for k, v in wanted.items())]
            if len(found) >= count:
                return found
            time.sleep(0.01)
        raise AssertionError(f"never saw {count} of {wanted}: {self.news}")


def event(change, obj):
    return {"type": change, "object": obj}


def test_a_silent_server_is_noticed_by_our_own_time_out_and_leaves_a_hole_b01(monkeypatch):
    monkeypatch.setattr("harness.drivers.kubernetes.watch.HOLE_MIN_S", 0.1)
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, pod_list("1", pod("a", "u1", "1"))))
        stub.on("GET?watch", PATH, lambda e: e.stream(then="silent"))
        with Watched(connection) as seen:
            (hole, *_) = seen.until(1, state="hole")
    assert hole.kind == "watch"
    assert hole.subject == "pods in agents"
    assert hole.detail["gap_s"] >= 0.3
    assert "did not send anything" in hole.detail["reason"]


def test_b01_b12_a_watch_that_stays_blind_says_lost_while_it_lasts_and_at_the_end(monkeypatch):
    monkeypatch.setattr("harness.drivers.kubernetes.watch.LOST_AFTER_S", 0.1)
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, pod_list("1")))
        stub.on("GET?watch", PATH, lambda e: e.json(503, status(503, "ServiceUnavailable", "starting")))
        with Watched(connection) as seen:
            seen.until(1, state="lost")
        assert "still blind" in seen.until(2, state="lost")[1].detail["reason"]
        assert seen.news[-1].detail["state"] == "closed"


def test_after_410_the_list_is_compared_and_a_deletion_in_the_gap_is_reported_b02():
    gone = event("ERROR", status(410, "Expired", "too old resource version"))
    with stub_api() as (stub, connection):
        lists = [pod_list("5", pod("a", "u1", "1"), pod("b", "u2", "2")), pod_list("9", pod("b", "u2", "2"))]
        stub.on("GET", PATH, *[lambda e, found=found: e.json(200, found) for found in lists])
        stub.on("GET?watch", PATH, lambda e: e.stream(gone), lambda e: e.stream(then="silent"))
        with Watched(connection, silence_s=10.0) as seen:
            (deleted,) = seen.until(1, deleted=True)
            (hole,) = seen.until(1, state="hole")
    assert deleted.subject == "agents/a"
    assert "410" in hole.detail["reason"]
    assert "listed anew" in hole.detail["reason"]
    assert [f.name for f in seen.inventory.facts()] == ["b"]
    assert [e.query["resourceVersion"] for e in stub.requests if "watch" in e.query] == ["5", "9"]


def test_410_as_an_http_status_is_taken_the_same_way_b02():
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, pod_list("5")), lambda e: e.json(200, pod_list("9")))
        stub.on(
            "GET?watch", PATH, lambda e: e.json(410, status(410, "Expired", "old")), lambda e: e.stream(then="silent")
        )
        with Watched(connection, silence_s=10.0) as seen:
            seen.until(1, state="hole")


def test_a_reopened_watch_that_replays_objects_reports_nothing_twice_b03():
    replay = event("ADDED", pod("a", "u1", "7"))
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, pod_list("5")))
        rounds = [lambda e: e.stream(replay)] * 3
        last = event("MODIFIED", pod("a", "u1", "8", phase="Failed"))
        stub.on("GET?watch", PATH, *rounds, lambda e: e.stream(last, then="silent"))
        with Watched(connection, silence_s=10.0) as seen:
            seen.until(1, phase="Failed")
    assert [n.detail["phase"] for n in seen.news if n.kind == "pod"] == ["Running", "Failed"]
    assert not [n for n in seen.news if n.detail.get("state") == "hole"]


def test_the_next_round_goes_on_from_the_bookmark():
    bookmark = event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "42"}})
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, pod_list("5")))
        added = event("ADDED", pod("a", "u1", "43"))
        stub.on("GET?watch", PATH, lambda e: e.stream(bookmark), lambda e: e.stream(added, then="silent"))
        with Watched(connection, silence_s=10.0) as seen:
            seen.until(1, name="a")
    assert [e.query["resourceVersion"] for e in stub.requests if "watch" in e.query][:2] == ["5", "42"]


def test_a_broken_connection_that_comes_back_at_once_is_no_hole():
    first, second = event("ADDED", pod("a", "u1", "6")), event("ADDED", pod("b", "u2", "7"))
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, pod_list("5")))
        stub.on("GET?watch", PATH, lambda e: e.stream(first, then="break"), lambda e: e.stream(second, then="silent"))
        with Watched(connection, silence_s=10.0) as seen:
            seen.until(1, name="b")
    assert [n.detail["state"] for n in seen.news if n.kind == "watch"] == ["open", "closed"]


def test_a_defect_in_the_watch_is_recorded_as_lost_and_never_looks_like_quiet():
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, pod_list("5")))
        stub.on("GET?watch", PATH, lambda e: e.stream(event("ADDED", {"no": "metadata"}), then="silent"))
        with Watched(connection, silence_s=10.0) as seen:
            (lost,) = seen.until(1, state="lost")
    assert "KeyError" in lost.detail["reason"]


def test_start_raises_where_the_first_list_is_refused():
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(403, status(403, "Forbidden", "pods is forbidden")))
        watched = Watched(connection)
        with pytest.raises(PortError, match="forbidden"):
            watched.watch.start()
