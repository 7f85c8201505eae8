"""Records that `drain_outcome` and `job_progress` must pass, fail or leave open; losses by drains and lost nodes."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.facts import JobFact, NodeFact, PodFact
from harness.model.fault import Loss
from harness.model.verdict import Outcome, Verdict
from tests.replay.builders import Run, add_loss, asserting, good_run, judged, pdb, pod, workload
from tests.replay.fault_builders import node_victim, one_fault, tell_fault

DRAIN, JOB = "drain_outcome", "job_progress"
BUDGET = "agents/planner"


def node(**changes: Any) -> NodeFact:
    return NodeFact("uid-n2", "", "n2", ready=True, **changes)


def drained(run: Run, **params: Any) -> Verdict:
    verdict: Verdict = judged(asserting(run, DRAIN, **({"fault": "drain"} | params)), DRAIN)
    return verdict


def outcome(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {"pod": f"agents/{name}", "uid": f"uid-{name}", "status": status, **more}


def drain_run(left: int = 2, effect: str = "CONFIRMED", **detail: Any) -> Run:
    """Return a run that drains node n2 with planner-0 and planner-1 from +97 s to +105 s, undone at +130 s."""
    run = one_fault(good_run(), "drain", Loss.DRAIN)
    run.fact(1, node())
    for i in range(2):
        run.fact(89, pod(f"planner-{i}", node="n2"))
    run.fact(89, pod("logs-1", node="n2", owner="DaemonSet/logs", labels={"app": "logs"}))
    said: dict[str, Any] = {
        "drained": True,
        "outcomes": [outcome(f"planner-{i}", "evicted") for i in range(2)],
    } | detail
    tell_fault(run, "drain", Loss.DRAIN, [node_victim("n2")], acted_s=105, effect=effect, **said)
    run.fact(97.3, node(unschedulable=True))
    for i in range(left):
        add_loss(run, 98 + 2 * i, f"planner-{i}", "EvictionByEvictionAPI")
    run.fact(130, node())
    return run


def test_a_node_whose_pods_are_gone_by_uid_is_drained_f08() -> None:
    verdict = drained(drain_run(), within="10s")
    assert verdict.outcome is Outcome.PASS
    assert "2 pods left n2" in verdict.observed
    assert "the last pod had left after 3.0 s" in verdict.observed


def test_evictions_that_were_granted_are_no_drain_while_a_pod_is_still_there_f08() -> None:
    verdict = drained(drain_run(left=1))
    assert verdict.outcome is Outcome.FAIL
    assert "1 of 2 pods had not left when the undo began: agents/planner-1" in verdict.reason
    assert "the drain says that agents/planner-1 left" in verdict.reason


def test_a_pod_that_leaves_only_after_the_undo_was_not_drained() -> None:
    run = drain_run(left=1)
    add_loss(run, 140, "planner-1")
    assert "had not left when the undo began" in drained(run).reason


def test_a_drain_that_takes_too_long_fails() -> None:
    assert "the limit is 2 s" in drained(drain_run(), within="2s").reason


def test_a_node_that_is_uncordoned_before_the_undo_fails() -> None:
    run = drain_run()
    run.fact(120, node())
    assert "took pods again at +120.0s" in drained(run).reason


def test_a_drain_that_was_blocked_against_expectation_fails_though_it_is_not_confirmed() -> None:
    run = drain_run(left=1, effect="ABSENT", drained=False, blocked_by=[BUDGET])
    verdict = drained(run)
    assert verdict.outcome is Outcome.FAIL
    assert f"blocked by {BUDGET}" in verdict.reason


def test_what_a_drain_spares_need_not_leave() -> None:
    said = [outcome("planner-0", "evicted"), outcome("planner-1", "skipped", reason="bare pod")]
    assert drained(drain_run(left=1, outcomes=said)).outcome is Outcome.PASS


def test_a_node_without_pods_to_evict_leaves_it_open() -> None:
    run = drain_run()
    run.drop("pod", lambda t, s, d: d["node"] != "n2")
    assert "nothing was drained" in drained(run).reason


def test_a_drain_that_is_not_proven_or_not_seen_leaves_it_open_a02() -> None:
    assert drained(drain_run(effect="UNCLEAR")).outcome is Outcome.INCONCLUSIVE
    assert drained(drain_run(), fault="typo").outcome is Outcome.INCONCLUSIVE
    run = drain_run()
    run.say(104, "cluster", "watch", "pods in agents", state="hole", gap_s=3.0, reason="reset")
    assert drained(run).outcome is Outcome.INCONCLUSIVE
    run = drain_run()
    run.drop("node", lambda t, s, d: False)
    assert drained(run).outcome is Outcome.INCONCLUSIVE


def blocked_run(**detail: Any) -> Run:
    """Return a drain that the planner's budget stops after one pod."""
    outcomes = [outcome("planner-0", "evicted"), outcome("planner-1", "blocked", blocked_by=BUDGET, blocked_s=6.0)]
    said: dict[str, Any] = {"drained": False, "blocked_by": [BUDGET], "outcomes": outcomes}
    return drain_run(left=1, **(said | detail))


def test_a_drain_that_its_budget_blocks_as_expected_passes() -> None:
    verdict = drained(blocked_run(), expect="blocked", budget=BUDGET)
    assert verdict.outcome is Outcome.PASS
    assert f"budget {BUDGET} blocked 1 pods, for up to 6 s" in verdict.observed
    assert "n2 is schedulable at the end" in verdict.observed


def test_a_drain_that_was_not_blocked_or_by_another_budget_fails_f01() -> None:
    assert "nothing blocked the drain" in drained(drain_run(), expect="blocked", budget=BUDGET).reason
    other = blocked_run(blocked_by=["agents/other"], outcomes=[])
    assert "blocked by agents/other and not by agents/planner" in drained(other, expect="blocked", budget=BUDGET).reason


def test_a_blocked_drain_that_leaves_its_cordon_fails() -> None:
    run = blocked_run()
    run.drop("node", lambda t, s, d: t < 130)
    assert "still cordoned" in drained(run, expect="blocked", budget=BUDGET).reason


def test_a_blocked_drain_that_took_pods_below_the_budget_fails() -> None:
    run = blocked_run()
    run.drop("pdb")
    run.fact(1, pdb(min_available="9", desired_healthy=9))
    verdict = drained(run, expect="blocked", budget=BUDGET)
    assert verdict.outcome is Outcome.FAIL
    assert "pods were evicted below budget agents/planner" in verdict.reason


def test_a_blocked_drain_without_a_budget_or_without_a_word_on_it_is_open() -> None:
    assert "which budget" in drained(blocked_run(), expect="blocked").reason
    silent = blocked_run(blocked_by=[], outcomes=[])
    assert "does not say what blocked it" in drained(silent, expect="blocked", budget=BUDGET).reason
    run = blocked_run()
    run.drop("pdb")
    assert drained(run, expect="blocked", budget=BUDGET).outcome is Outcome.INCONCLUSIVE


# Blame ----------------------------------------------------------------------------------------------------------------


def budget_verdict(run: Run) -> Verdict:
    run.drop("pdb")
    run.fact(1, pdb(min_available="9", desired_healthy=9, expected_pods=9))
    run.drop("workload")
    run.fact(1, workload(9))
    verdict: Verdict = judged(asserting(run, "pdb_safety", pdb=BUDGET), "pdb_safety")
    return verdict


def test_a_drain_below_the_demand_is_voluntary_and_named() -> None:
    verdict = budget_verdict(drain_run())
    assert "planner-0 by node drain" in verdict.reason
    assert "voluntary: an eviction was granted" in verdict.reason


def test_a_lost_node_is_involuntary_and_named_f05() -> None:
    run = one_fault(good_run(), "lose", Loss.NODE)
    run.fact(89, pod("planner-0", node="n2"))
    tell_fault(run, "lose", Loss.NODE, [node_victim("n2")])
    run.fact(110, pod("planner-0", node="n2", ready=False))
    verdict = budget_verdict(run)
    assert "planner-0 by node loss" in verdict.reason


# Jobs -----------------------------------------------------------------------------------------------------------------


def job(**changes: Any) -> JobFact:
    base: dict[str, Any] = {"labels": {"app": "evaluation"}, "completions": 2, "active": 1}
    return JobFact("uid-eval", "agents", "eval", **(base | changes))


def job_pod(name: str, on: str, **changes: Any) -> PodFact:
    return pod(name, labels={"app": "evaluation"}, node=on, owner="Job/eval", **changes)


def job_run(effect: str = "CONFIRMED", on: str = "spot-1") -> Run:
    """Return a run whose Job loses a pod with spot-1 at +97 s, and is complete at +150 s."""
    run = one_fault(good_run(), "reclaim", Loss.NODE)
    run.fact(60, job())
    for i in range(2):
        run.fact(61, job_pod(f"eval-{i}", on))
    tell_fault(run, "reclaim", Loss.NODE, [node_victim("spot-1")], effect=effect)
    run.fact(99, job(succeeded=1))
    run.fact(100, job_pod("eval-1", on, ready=False, deleted=True))
    run.fact(105, job_pod("eval-2", "n3"))
    run.fact(150, job(succeeded=2, active=0, complete=True))
    return run


def progress(run: Run, **params: Any) -> Verdict:
    asked = {"namespace": "agents", "selector": "app=evaluation"} | params
    verdict: Verdict = judged(asserting(run, JOB, **asked), JOB)
    return verdict


def test_a_job_that_completes_though_its_node_was_reclaimed_passes() -> None:
    verdict = progress(job_run(), completed_within="2m", fault="reclaim")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures == {"jobs": 1.0, "restarts": 1.0, "completed_s": pytest.approx(90)}
    assert "reclaim hit eval-0" in verdict.observed


def test_a_job_that_is_late_restarts_too_often_fails_or_is_deleted_fails() -> None:
    assert "the limit is 80 s" in progress(job_run(), completed_within="80s").reason
    assert "needed 1 restarts, the limit is 0" in progress(job_run(), restarts_max=0).reason
    for end, told in ((job(failed_for_good=True, reason="BackoffLimitExceeded"), "BackoffLimitExceeded"),
                      (job(deleted=True), "was deleted at +150.0s")):  # fmt: skip
        run = job_run()
        run.drop("job", lambda t, s, d: t < 150)
        run.fact(150, end)
        verdict = progress(run)
        assert verdict.outcome is Outcome.FAIL
        assert told in verdict.reason


def test_a_job_whose_finished_work_vanishes_fails() -> None:
    run = job_run()
    run.fact(110, job(succeeded=0))
    assert "had 1 pods done and 0 at +110.0s: work was lost" in progress(run).reason


def test_a_job_that_is_not_complete_at_the_end_fails_only_past_its_limit_and_when_it_was_watched() -> None:
    run = job_run()
    run.drop("job", lambda t, s, d: t < 150)
    assert progress(run, completed_within="60s").outcome is Outcome.FAIL
    assert progress(run, completed_within="10m").outcome is Outcome.INCONCLUSIVE
    run.say(160, "cluster", "watch", "jobs.batch in agents", state="hole", gap_s=5.0, reason="reset")
    assert progress(run, completed_within="60s").outcome is Outcome.INCONCLUSIVE


def test_a_job_that_nothing_hit_leaves_it_open() -> None:
    assert "it was never disturbed" in progress(job_run(on="n3")).reason
    assert progress(job_run(effect="UNCLEAR"), fault="reclaim").outcome is Outcome.INCONCLUSIVE
    assert "no Job of app=ghost" in progress(job_run(), selector="app=ghost").reason


def test_a_job_whose_pods_were_never_seen_leaves_it_open() -> None:
    run = job_run()
    run.drop("pod", lambda t, s, d: "eval" not in s)
    assert "its restarts are not known" in progress(run).reason


def test_a_budget_none_of_whose_pods_was_seen_proves_no_block() -> None:
    run = blocked_run()
    run.change("pod", lambda t, s, d: {"labels": {}})
    verdict = drained(run, expect="blocked", budget=BUDGET)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"no pod of budget {BUDGET} was seen" in verdict.reason
