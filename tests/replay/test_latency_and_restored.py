"""Records that `latency` and `restored` must pass, fail or leave open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from assertions.registry import ASSERTIONS
from harness.model.record import Ending
from harness.model.verdict import Outcome
from tests.replay.builders import Run, good_run, judged, with_params


def test_quick_answers_pass() -> None:
    assert judged(good_run(), "latency").outcome is Outcome.PASS


def test_slow_answers_fail() -> None:
    run = good_run()
    run.requests["latency_s"] = 0.7
    assert "p95 is 702 ms, the limit is 500 ms" in judged(run, "latency").reason


def test_a_stall_counts_from_the_intended_start() -> None:
    run = good_run()
    run.requests["start_s"] += 2.0
    assert judged(run, "latency").outcome is Outcome.FAIL


def test_requests_without_an_answer_are_infinitely_slow() -> None:
    run = good_run()
    run.requests.loc[run.requests["intended_s"] > 100, "outcome"] = "timeout"
    assert "more requests got no answer" in judged(run, "latency").reason


def test_too_few_requests_or_a_missed_stage_are_inconclusive() -> None:
    run = with_params(good_run(), "latency", min_requests=100_000)
    assert judged(run, "latency").outcome is Outcome.INCONCLUSIVE
    assert judged(with_params(good_run(), "latency", stage="plateau"), "latency").outcome is Outcome.INCONCLUSIVE


def test_everything_taken_back_passes() -> None:
    assert judged(good_run(), "restored").outcome is Outcome.PASS


def test_a_failed_undo_fails_with_object_and_command() -> None:
    run = good_run()
    run.undo[0] |= {"done": False, "outcome": "403 forbidden", "kind": "Node", "namespace": "", "name": "node-1"}
    verdict = judged(run, "restored")
    assert verdict.outcome is Outcome.FAIL
    assert "Node/node-1 (403 forbidden)" in verdict.reason
    assert "gameday recover" in verdict.remedy


def test_an_undo_that_failed_as_a_whole_fails() -> None:
    run = good_run()
    run.say(153, "harness", "undo", "all", step="failed", record_id="", outcome="the API server does not answer")
    assert judged(run, "restored").outcome is Outcome.FAIL


def test_a_difference_that_is_ours_fails() -> None:
    run = good_run()
    run.undo[0] |= {"kind": "Node", "namespace": "", "name": "node-1"}
    run.fingerprint_after = {**(run.fingerprint_after or {}), "Node/node-1": {"unschedulable": True}}
    verdict = judged(run, "restored")
    assert verdict.outcome is Outcome.FAIL
    assert "unschedulable was false, is true" in verdict.reason


def contested_run(outcome: str, after: Any) -> Run:
    """Return a run that cordoned node-1, which is not as it was at the end."""
    run = good_run()
    run.undo[0] |= {"kind": "Node", "namespace": "", "name": "node-1", "outcome": outcome}
    run.undo[0] |= {"applied": {"/spec/unschedulable": True}, "prior": {"/spec/unschedulable": None}}
    run.fingerprint_after = {**(run.fingerprint_after or {}), "Node/node-1": after}
    return run


def test_a_field_that_the_undo_left_alone_because_somebody_else_set_it_is_theirs() -> None:
    run = contested_run("left alone: /spec/unschedulable is now 'maybe', not ours", {"unschedulable": "maybe"})
    verdict = judged(run, "restored")
    assert verdict.outcome is Outcome.PASS
    assert verdict.evidence == ('changed by somebody else: Node/node-1 unschedulable was false, is "maybe"',)


def test_our_own_value_is_ours_whatever_the_undo_says_and_so_is_every_other_field() -> None:
    said = "left alone: /spec/unschedulable is now False, not ours"
    assert judged(contested_run(said, {"unschedulable": True}), "restored").outcome is Outcome.FAIL
    both = contested_run(said, {"unschedulable": False, "taints": ["spot=true:NoSchedule"]})
    assert judged(both, "restored").outcome is Outcome.FAIL


def test_capacity_that_is_not_back_on_a_node_of_ours_fails_f18() -> None:
    run = contested_run(
        "restored /spec/unschedulable", {"unschedulable": False, "allocatable": {"nvidia.com/gpu": "0"}}
    )
    run.fingerprint_before = {"Node/node-1": {"unschedulable": False, "allocatable": {"nvidia.com/gpu": "4"}}}
    verdict = judged(run, "restored")
    assert verdict.outcome is Outcome.FAIL
    assert 'allocatable/nvidia.com~1gpu was "4", is "0"' in verdict.reason


def test_a_helper_object_with_the_runs_label_that_stays_fails() -> None:
    run = good_run()
    run.fingerprint_after = {
        **(run.fingerprint_after or {}),
        "Pod/agents/gpu-hog": {"labels": {"gameday.local/run": "x"}},
    }
    assert "gpu-hog is new" in judged(run, "restored").reason


def test_what_somebody_else_changed_is_told_and_fails_nothing() -> None:
    run = good_run()
    run.fingerprint_after = {"PodDisruptionBudget/agents/planner": {"minAvailable": 3}}
    verdict = judged(run, "restored")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["changes_by_others"] == 2
    assert any("minAvailable was 2, is 3" in line for line in verdict.evidence)


def test_a_residue_of_ours_fails_with_its_command() -> None:
    run = good_run()
    run.say(
        179, "harness", "residue", "Node node-1", ours=True, difference="cordoned", command="kubectl uncordon node-1"
    )
    assert judged(run, "restored").remedy == "kubectl uncordon node-1"


def test_a_fingerprint_that_could_not_be_taken_is_inconclusive() -> None:
    run = good_run()
    run.fingerprint_after = None
    assert judged(run, "restored").outcome is Outcome.INCONCLUSIVE


def test_an_undo_record_that_is_missing_from_the_record_is_inconclusive() -> None:
    run = good_run()
    run.ended(Ending.CRASHED, "SIGKILL")
    run.undo.clear()
    verdict = judged(run, "restored")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "kill-a-third" in verdict.reason


def test_a_record_that_lost_events_does_not_prove_that_all_is_restored() -> None:
    record = good_run().record()
    events = record.timeline.events
    torn = replace(record, timeline=replace(record.timeline, events=(*events[:9], *events[10:])))
    spec = next(a for a in record.experiment.assertions if a.kind == "restored")
    verdict = ASSERTIONS["restored"].check(torn, spec)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "events are missing" in verdict.reason
