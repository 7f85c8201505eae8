"""The Lease when the API server fails it: lost by the clock, for good (DESIGN U3). Contention: tests/contract."""

import time

import pytest

from harness.drivers.kubernetes.lease import KubernetesLease
from harness.model.errors import PortError, Refusal
from tests.unit.kubernetes_stub import status, stub_api

LIST = "/apis/coordination.k8s.io/v1/namespaces/gameday-system/leases"
ONE = f"{LIST}/gameday-run"
LIMIT_S = 10.0


class Hands:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def created(exchange):
    exchange.json(201, {**exchange.body, "metadata": {"name": "gameday-run", "resourceVersion": "1"}})


def renewed(exchange):
    exchange.json(200, exchange.body)


def until(what):
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


@pytest.fixture
def leased():
    with stub_api() as (stub, connection):
        clock = Hands()
        stub.on("POST", LIST, created)
        stub.on("PUT", ONE, renewed)
        lease = KubernetesLease(connection, "gameday-system", renew_every_s=0.02, monotonic_s=clock)
        yield stub, lease, clock
        stub.on("PUT", ONE, renewed)
        lease.release()


def puts(stub):
    return [e for e in stub.requests if e.method == "PUT"]


def test_it_is_renewed_and_held(leased):
    stub, lease, _ = leased
    assert not lease.held
    lease.acquire("run-1")
    until(lambda: len(puts(stub)) >= 3)
    assert lease.held
    assert puts(stub)[0].body["spec"]["holderIdentity"] == "run-1"


def test_it_is_not_held_any_more_once_its_duration_passed_without_a_renewal_and_stays_lost(leased):
    stub, lease, clock = leased
    lease.acquire("run-1")
    stub.on("PUT", ONE, lambda e: e.json(503, status(503, "ServiceUnavailable", "restarting")))
    count = len(puts(stub))
    until(lambda: len(puts(stub)) > count)
    clock.now_s += 14.9
    assert lease.held
    clock.now_s += 0.1
    assert not lease.held
    clock.now_s = 0.0
    assert not lease.held, "what lapsed may have been taken back by somebody else: it is never picked up again"


def test_a_renewal_that_finds_another_holder_loses_it_at_once(leased):
    stub, lease, _ = leased
    lease.acquire("run-1")
    other = {"metadata": {"resourceVersion": "9"}, "spec": {"holderIdentity": "run-2"}}
    stub.on("GET", ONE, lambda e: e.json(200, other))
    stub.on("PUT", ONE, lambda e: e.json(409, status(409, "Conflict", "changed")))
    until(lambda: not lease.held)


def test_a_conflict_with_our_own_write_whose_answer_was_lost_is_no_loss(leased, monkeypatch):
    monkeypatch.setattr("harness.drivers.kubernetes.lease.RETRY_EVERY_S", 0.02)
    stub, lease, _ = leased
    lease.acquire("run-1")
    ours = {"metadata": {"resourceVersion": "9"}, "spec": {"holderIdentity": "run-1"}}
    stub.on("GET", ONE, lambda e: e.json(200, ours))
    stub.on("PUT", ONE, lambda e: e.json(409, status(409, "Conflict", "changed")), renewed)
    until(lambda: any(e.body["metadata"]["resourceVersion"] == "9" for e in puts(stub)))
    assert lease.held


def test_a_missing_namespace_is_named_with_its_remedy():
    with stub_api() as (stub, connection):
        stub.on("POST", LIST, lambda e: e.json(404, status(404, "NotFound", "no namespace")))
        with pytest.raises(PortError, match="there is no namespace gameday-system — kubectl create namespace"):
            KubernetesLease(connection, "gameday-system").acquire("run-1")


def test_a_lost_race_names_who_won_it():
    won = {
        "metadata": {"resourceVersion": "2"},
        "spec": {"holderIdentity": "run-2", "acquireTime": "2026-11-25T02:00:00Z"},
    }
    with stub_api() as (stub, connection):
        stub.on("GET", ONE, lambda e: e.json(404, status(404, "NotFound", "none")), lambda e: e.json(200, won))
        stub.on("POST", LIST, lambda e: e.json(409, status(409, "AlreadyExists", "there")))
        lease = KubernetesLease(connection, "gameday-system", monotonic_s=Hands())
        with pytest.raises(Refusal, match=r"run-2, since 2026-11-25T02:00:00Z"):
            lease.acquire("run-1")
        assert not lease.held


def test_release_never_raises_and_gives_back_only_what_is_held(leased):
    stub, lease, clock = leased
    lease.acquire("run-1")
    clock.now_s += 100
    before = len(puts(stub))
    lease.release()
    lease.release()
    assert not lease.held
    assert not any(e.body["spec"]["holderIdentity"] == "" for e in puts(stub)[before:])


def test_release_of_a_held_lease_leaves_no_holder(leased):
    stub, lease, _ = leased
    lease.acquire("run-1")
    lease.release()
    assert puts(stub)[-1].body["spec"]["holderIdentity"] == ""
    assert not lease.held
