"""A fault that somebody took back before its undo has not been tested; records of refused attempts do not count."""

from dataclasses import replace

from assertions.early_undo import taken_back_early
from tests.unit import stored_runs

FAULT = "evict-one-planner"
CORDON = "/spec/unschedulable"
MARK = "/metadata/annotations/gameday.local~1changed-by.abc"


def undo(outcome, **changes):
    whole = {
        "fault": FAULT, "operation": "patch", "done": True, "kind": "Node", "namespace": "", "name": "n1",
        "applied": {CORDON: True, MARK: "run/x-1"}, "outcome": outcome,
    }  # fmt: skip
    return {**whole, **changes}


def early(*undos):
    return taken_back_early(replace(stored_runs.record(), undo=undos))


def test_what_was_restored_lasted():
    assert early(undo(f"restored {CORDON}, {MARK}")) == {}
    assert early(undo(f"taken back by the reaper: restored {CORDON}, {MARK}")) == {}


def test_what_was_as_before_or_somebody_elses_was_taken_back_early():
    told = {FAULT: f"{CORDON} of Node/n1"}
    assert early(undo(f"restored {MARK}; already as before: {CORDON}")) == told
    assert early(undo(f"restored {MARK}; left alone: {CORDON} is now 'x', not ours")) == told


def test_an_attempt_that_was_refused_does_not_count_beside_one_that_was_restored():
    assert early(undo(f"already as before: {CORDON}, {MARK}"), undo(f"restored {CORDON}, {MARK}")) == {}


def test_objects_that_are_gone_helper_objects_and_unproven_faults_say_nothing():
    assert early(undo("the object is gone, and our values with it")) == {}
    assert early(undo("gone already", operation="delete")) == {}
    assert early(undo(f"already as before: {CORDON}", fault="never-injected")) == {}
    assert early(undo(f"already as before: {CORDON}", done=False)) == {}
