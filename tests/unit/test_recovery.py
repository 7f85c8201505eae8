"""`gameday recover`: lists without the Lease, takes back only under it, and never from a run that is on."""

from dataclasses import replace

import pytest

from harness import recovery
from harness.model.errors import Refusal
from harness.model.fault import UndoRecord
from harness.model.lease import LeaseState
from harness.model.target import Announce

RECORD = UndoRecord("rec-1", "run-1", "kill", "v1", "Pod", "agents", "p-1", "u-1", "delete")


class Cluster:
    """What recover touches, in order."""

    def __init__(self, held_by: str = ""):
        self.calls = []
        self.held_by = held_by

    # the Lease
    def acquire(self, holder):
        self.calls.append("acquire")
        if self.held_by:
            raise Refusal("lease-held", f"another run holds this cluster: {self.held_by}", "wait")

    def look(self):
        return LeaseState(self.held_by, 1.0, 15.0, 0.0)

    def sweep(self, spared):
        self.calls.append("sweep")
        return ()

    def release(self):
        self.calls.append("release")
        return True

    # the ledger
    def open_records(self, run_id=None):
        return (RECORD,)

    def undo(self, record):
        self.calls.append("undo")
        return replace(record, done=True, outcome="deleted")

    def close(self, run_id):
        self.calls.append("close")


@pytest.fixture
def on(monkeypatch):
    def put(cluster):
        target = type(
            "Target",
            (),
            {"system_namespace": "gameday-system", "namespaces": ("agents",), "commands": {}, "announce": Announce()},
        )()
        for name, made in {
            "load_settings": lambda path: None,
            "resolve_target": lambda settings, name: target,
            "connect": lambda target: None,
            "KubernetesObserver": lambda connection, clock: type("Observer", (), {"identify": lambda self: None})(),
            "KubernetesLedger": lambda connection, namespace, commands, end_silences: cluster,
            "KubernetesLeaseView": lambda connection, namespace: cluster,
            "sweep": lambda connection, namespaces, spared: cluster.sweep(spared),
            "KubernetesLease": lambda connection, namespace: cluster,
        }.items():
            monkeypatch.setattr(recovery, name, made)
        monkeypatch.setattr(recovery.guard, "check_identity", lambda target, identity: None)
        return cluster

    return put


def test_recover_takes_back_under_the_lease_and_gives_it_back(on):
    cluster, said = on(Cluster()), []
    assert recovery.recover_target("gameday.toml", "local", None, only_list=False, say=said.append) == 0
    assert cluster.calls == ["acquire", "undo", "close", "sweep", "release"]
    assert said[-1].startswith("done: run-1")


def test_recover_takes_nothing_from_a_run_that_is_on(on):
    cluster = on(Cluster(held_by="run-1"))
    with pytest.raises(Refusal, match="run-1"):
        recovery.recover_target("gameday.toml", "local", None, only_list=False, say=lambda line: None)
    assert cluster.calls == ["acquire"]


def test_listing_takes_no_lease_and_nothing_back(on):
    cluster = on(Cluster(held_by="run-1"))
    assert recovery.recover_target("gameday.toml", "local", None, only_list=True, say=lambda line: None) == 20
    assert cluster.calls == []
