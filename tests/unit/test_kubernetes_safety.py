"""The safety watch and the halt lever against one bad moment each; the real API server is in tests/contract."""

from datetime import UTC, datetime, timedelta

import pytest

from harness.drivers.kubernetes.safety import HALT_NAME, STALE_S, HaltLever, KubernetesSafety
from harness.model.errors import Refusal
from tests.unit.kubernetes_stub import status, stub_api

LEVER = f"/api/v1/namespaces/gameday-system/configmaps/{HALT_NAME}"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/gameday-system/leases/gameday-reaper"


def lease(age_s=0.0, undoes="create,delete,none,patch", holder="reaper-a"):
    renewed = (datetime.now(UTC) - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    meta = {"name": "gameday-reaper", "annotations": {"gameday.local/undoes": undoes}}
    body = {
        "metadata": meta,
        "spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15},
    }
    return lambda e: e.json(200, body)


def lever(e):
    e.json(200, {"metadata": {"name": HALT_NAME}, "data": {"by": "ann", "reason": "release day"}})


def test_without_lever_and_with_a_living_reaper_there_is_no_trouble():
    with stub_api() as (stub, connection):
        stub.on("GET", LEASE, lease())
        safety = KubernetesSafety(connection, "gameday-system", {"patch"})
        safety.start()
        assert safety.trouble() == safety.ask() == ""
        safety.stop()


def test_a_pulled_lever_beats_a_missing_reaper_and_names_who_pulled_it():
    with stub_api() as (stub, connection):
        stub.on("GET", LEVER, lever)
        with pytest.raises(Refusal, match="pulled by ann: release day") as raised:
            KubernetesSafety(connection, "gameday-system").start()
    assert raised.value.code == "halted"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda: lease(holder=""), "no reaper is alive"),
        (lambda: lease(age_s=30.0), "last sign of life 3"),
        (lease, "cannot take back by command"),
        (lambda: lambda e: e.json(404, status(404, "NotFound", "none")), "no reaper is alive"),
    ],
)
def test_a_reaper_that_could_not_undo_what_is_planned_is_a_refusal(answer, problem):
    with stub_api() as (stub, connection):
        stub.on("GET", LEASE, answer())  # made now: its age counts from the test, not from the collection
        with pytest.raises(Refusal, match=problem) as raised:
            KubernetesSafety(connection, "gameday-system", {"command"}).start()
    assert raised.value.code == "reaper"


def test_no_answer_is_no_permit_and_old_news_are_trouble():
    now = [100.0]
    with stub_api() as (stub, connection):
        stub.on("GET", LEASE, lease())
        safety = KubernetesSafety(connection, "gameday-system", monotonic_s=lambda: now[0])
        safety.start()
        safety.stop()
        stub.on("GET", LEVER, lambda e: e.json(500, status(500, "InternalError", "broken")))
        assert "cannot be seen" in safety.ask()
        assert safety.trouble() == ""
        now[0] += STALE_S
        assert "could not be seen for 15 s" in safety.trouble()


def test_the_lever_is_pulled_once_and_released_once():
    with stub_api() as (stub, connection):
        found = HaltLever(connection, "gameday-system")
        maps = LEVER.rpartition("/")[0]
        stub.on("POST", maps, lambda e: e.json(201, {}), lambda e: e.json(409, status(409, "AlreadyExists", "there")))
        stub.on("DELETE", LEVER, lambda e: e.json(200, {}), lambda e: e.json(404, status(404, "NotFound", "none")))
        assert (found.pull("ann", "why"), found.pull("bob", "too")) == (True, False)
        assert (found.release(), found.release()) == (True, False)
        assert stub.requests[0].body["data"]["by"] == "ann"
