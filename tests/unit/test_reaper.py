"""The reaper's policy: hands off the living, everything back from the dead, whatever fails in between (DESIGN U3)."""

from dataclasses import replace

import pytest

from harness.model.errors import PortError, Refusal
from harness.model.fault import UndoRecord
from harness.model.lease import LeaseState
from harness.reaper import REMIND_EVERY_S, SWEEP_EVERY_S, Reaper

NOW_UNIX_S = 1000.0


class Clock:
    origin_unix_s = 0.0

    def __init__(self):
        self.t_s = 0.0

    def now_s(self):
        return self.t_s

    def sleep(self, duration_s):
        self.t_s += duration_s


class Cluster:
    """Ledger, Lease and sweep of one cluster, and what was asked of them in order."""

    def __init__(self, *records, holder="", age_s=0.0, taken=False, broken=()):
        self.records = list(records)
        self.state = LeaseState(holder, age_s, 17.0, NOW_UNIX_S)
        self.taken, self.broken, self.calls = taken, broken, []

    def open_records(self, run_id=None):
        return tuple(reversed(self.records))

    def undo(self, record):
        self.calls.append(f"undo {record.record_id}")
        if record.record_id in self.broken:
            raise PortError("kubernetes", "undo", "no")
        self.records.remove(record)
        return replace(record, done=True, outcome="restored")

    def close(self, run_id):
        self.calls.append(f"close {run_id}")

    def look(self):
        return self.state

    def acquire(self, holder):
        self.calls.append(f"acquire {holder}")
        if self.taken:
            raise Refusal("lease-held", "another was quicker")

    def release(self):
        self.calls.append("release")
        return True

    def sweep(self, spared):
        self.calls.append(f"sweep all but {sorted(spared)}")
        return ["Pod agents/late"]


def record(record_id, deadline_unix_s=NOW_UNIX_S + 60.0):
    return UndoRecord(
        record_id, "run-1", "cordon", "v1", "Node", "", "general-1", "u", "patch", deadline_unix_s=deadline_unix_s
    )


def reaper(cluster, clock=None, said=None):
    say = [].append if said is None else said.append
    return Reaper(cluster, cluster, lambda: cluster, clock or Clock(), say, cluster.sweep)


def test_a_run_that_is_alive_is_left_alone():
    cluster = Cluster(record("1"), holder="run-1")
    assert reaper(cluster).turn("reaper-a") == 0
    assert cluster.calls == []


def test_a_record_past_its_deadline_is_taken_back_from_a_living_run_and_left_for_it_to_read():
    cluster = Cluster(record("1"), record("2", NOW_UNIX_S), holder="run-1")
    assert reaper(cluster).turn("reaper-a") == 1
    assert cluster.calls == ["undo 2"], "no close: the run still has to tell of it"


@pytest.mark.parametrize(("holder", "age_s"), [("run-1", 17.0), ("", 0.0)])
def test_a_dead_run_is_fenced_by_its_lease_and_taken_back_last_in_first_out(holder, age_s):
    cluster, said = Cluster(record("1"), record("2"), holder=holder, age_s=age_s), []
    assert reaper(cluster, said=said).turn("reaper-a") == 2
    assert cluster.calls == ["acquire reaper-a", "undo 2", "undo 1", "close run-1", "sweep all but []", "release"]
    assert "removed Pod agents/late" in said[-1]


def test_two_reapers_at_once_do_it_once():
    cluster = Cluster(record("1"), taken=True)
    assert reaper(cluster).turn("reaper-b") == 0
    assert cluster.calls == ["acquire reaper-b"]


def test_what_cannot_be_taken_back_stays_open_is_said_once_a_minute_and_stops_nothing_else_e08():
    cluster, clock, said = Cluster(record("1"), record("2"), broken=("2",)), Clock(), []
    found = reaper(cluster, clock, said)
    assert found.turn("reaper-a") == 1
    assert "undo 1" in cluster.calls
    assert "sweep all but ['run-1']" in cluster.calls, "what a record still names is not swept"
    assert clock.t_s <= 5.0, "the step ends by its own deadline"
    loud = [line for line in said if "CANNOT TAKE BACK" in line]
    assert len(loud) == 1
    found.turn("reaper-a")
    assert cluster.calls.count("sweep all but ['run-1']") == 1, "what stays open is no reason to sweep each turn"
    assert len([line for line in said if "CANNOT TAKE BACK" in line]) == 1
    clock.t_s += REMIND_EVERY_S
    found.turn("reaper-a")
    assert len([line for line in said if "CANNOT TAKE BACK" in line]) == 2


def test_orphaned_helpers_are_swept_now_and_then_but_those_of_a_living_run_are_spared():
    cluster, clock = Cluster(holder="run-1"), Clock()
    found = reaper(cluster, clock)
    found.turn("reaper-a")
    found.turn("reaper-a")
    assert cluster.calls == ["sweep all but ['run-1']"]
    clock.t_s += SWEEP_EVERY_S
    found.turn("reaper-a")
    assert len(cluster.calls) == 2


def test_the_lease_is_given_back_also_where_the_ledger_fails():
    cluster = Cluster(record("1"))
    cluster.close = lambda run_id: (_ for _ in ()).throw(PortError("kubernetes", "close", "away"))
    with pytest.raises(PortError, match="away"):
        reaper(cluster).turn("reaper-a")
    assert cluster.calls[-1] == "release"


def test_told_to_end_it_does_so_after_the_step_in_hand_and_leaves_the_rest_open():
    cluster = Cluster(record("1"), record("2"))
    found = reaper(cluster)
    found.ended = lambda: "undo 2" in cluster.calls
    assert found.turn("reaper-a") == 1
    assert [r.record_id for r in cluster.open_records()] == ["1"]
    assert cluster.calls[-1] == "release" and not any("sweep" in call for call in cluster.calls)
