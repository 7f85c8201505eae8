"""Recovery over any ledger: last in first out, each step alone, nothing called done that was not (DESIGN U4)."""

from dataclasses import replace

import pytest

from harness.model.errors import PortError
from harness.model.fault import UndoRecord
from harness.undo import explain, recover
from tests.unit.fault_doubles import SteppedClock


class ScriptedLedger:
    """Fails each record as often as it is told, and counts."""

    def __init__(self, *records, failures=None, error=None, list_failures=0):
        self.records = list(records)
        self.failures = dict(failures or {})
        self.error = error or PortError("kubernetes", "undo", "the API server is away")
        self.list_failures = list_failures
        self.asked = []

    def open_records(self, run_id=None):
        if self.list_failures > 0:
            self.list_failures -= 1
            raise self.error
        return [r for r in reversed(self.records) if run_id in (None, r.run_id)]

    def undo(self, record):
        self.asked.append(record.record_id)
        if self.failures.get(record.record_id, 0) > 0:
            self.failures[record.record_id] -= 1
            raise self.error
        return replace(record, done=True, outcome="restored")


def record(record_id, run_id="run", **fields):
    base = {
        "record_id": record_id, "run_id": run_id, "fault": f"fault-{record_id}", "api_version": "v1", "kind": "Node",
        "namespace": "", "name": "general-1", "uid": "u", "operation": "patch",
    }  # fmt: skip
    return UndoRecord(**{**base, **fields})


def test_the_last_change_is_taken_back_first():
    ledger = ScriptedLedger(record("1"), record("2"), record("3"))
    assert [r.record_id for r in recover(ledger, SteppedClock())] == ["3", "2", "1"]


def test_only_the_run_that_is_named_is_taken_back():
    ledger = ScriptedLedger(record("1"), record("2", run_id="other"))
    assert [r.record_id for r in recover(ledger, SteppedClock(), "run")] == ["1"]


def test_e08_a_step_is_tried_again_until_it_works():
    ledger = ScriptedLedger(record("1"), failures={"1": 3})
    (done,) = recover(ledger, SteppedClock())
    assert done.done
    assert ledger.asked == ["1"] * 4


def test_e08_a_step_that_never_works_ends_by_its_own_deadline_and_does_not_stop_the_others():
    clock = SteppedClock()
    ledger = ScriptedLedger(record("1"), record("2"), failures={"2": 10**6})
    failed, done = recover(ledger, clock, step_limit_s=10.0)
    assert (failed.record_id, failed.done) == ("2", False)
    assert "the API server is away" in failed.outcome
    assert (done.record_id, done.done) == ("1", True)
    assert clock.t_s <= 10.0


def test_a_defect_in_one_undo_is_a_failed_step_and_not_the_end_of_the_recovery():
    ledger = ScriptedLedger(record("1"), record("2"), failures={"2": 1}, error=KeyError("metadata"))
    failed, done = recover(ledger, SteppedClock())
    assert (failed.done, failed.outcome) == (False, "failed: KeyError: 'metadata'")
    assert done.done
    assert ledger.asked == ["2", "1"], "what is no answer of the cluster is not tried again"


def test_records_are_asked_for_again_while_the_cluster_is_away():
    ledger = ScriptedLedger(record("1"), list_failures=2)
    assert [r.done for r in recover(ledger, SteppedClock())] == [True]


def test_records_that_cannot_be_read_are_an_error_and_not_an_empty_recovery():
    with pytest.raises(PortError, match="away"):
        recover(ScriptedLedger(list_failures=10**6), SteppedClock(), step_limit_s=5.0)


def test_each_step_is_announced_before_it_is_taken():
    seen = []
    ledger = ScriptedLedger(record("1"), record("2"))
    recover(ledger, SteppedClock(), announce=lambda r: seen.append((r.record_id, list(ledger.asked))))
    assert seen == [("2", []), ("1", ["2"])]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prior": {"/spec/unschedulable": None}, "applied": {"/spec/unschedulable": True}},
         "run · fault-1 · Node general-1: set /spec/unschedulable back to None, where it still is what we set"),
        ({"operation": "delete", "kind": "Pod", "namespace": "agents", "name": "hold"},
         "run · fault-1 · Pod agents/hold: delete it"),
        ({"operation": "create"}, "run · fault-1 · Node general-1: create it anew, unless it is there"),
        ({"operation": "none"}, "run · fault-1 · Node general-1: nothing to restore: only check and close the record"),
        ({"operation": "unreadable", "outcome": "holds no record"},
         "run · fault-1 · Node general-1: cannot be undone by itself: holds no record"),
    ],
)  # fmt: skip
def test_an_undo_can_be_explained_before_it_is_done(fields, expected):
    assert explain(record("1", **fields)) == expected
