"""Records of nodes that go: what `nodes_scaled` must pass, fail or leave open (CASES F17)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from harness.judge import judge
from harness.model.facts import PdbFact
from harness.model.verdict import Outcome
from tests.replay.builders import BURST_END_S, ORIGIN, Run, asserting, pod
from tests.replay.node_builders import (
    CAME_S,
    DOWN,
    DUE_S,
    KIND,
    LEAVING,
    NEW,
    SYSTEM,
    UNNEEDED_S,
    UP,
    add_node,
    flags,
    long_run,
    mark,
    node_scaled_run,
    remove,
    say_event,
    scaled,
    scaled_node,
    told,
)


def test_f17_nodes_that_come_and_nodes_that_go_have_limits_of_their_own() -> None:
    """The same run: its node came in time, and five minutes after the burst nobody may say that it stays."""
    run = mark(long_run(BURST_END_S + 300), UNNEEDED_S)
    assert scaled(run, UP).outcome is Outcome.PASS
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "0 of 1 node was removed 300 s after the demand" in verdict.reason
    assert f"none had to be before +{DUE_S:.0f}s (scale-down-unneeded-time + scan-interval)" in verdict.reason
    assert "left to a later look, at 2026-11-25 01:54:00 UTC (+780s)" in verdict.reason


def test_f17_a_node_that_goes_as_its_timers_say_passes() -> None:
    verdict = scaled(remove(mark(long_run(900), UNNEEDED_S), DUE_S + 60), DOWN)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["nodes_removed"] == 1
    assert verdict.figures["removed_s"] == pytest.approx(DUE_S + 70 - BURST_END_S)
    assert "timers by its flags: scale-down-unneeded-time 300 s" in verdict.evidence[0]


def test_f17_a_node_that_stays_beyond_its_timers_fails() -> None:
    verdict = scaled(mark(long_run(900), UNNEEDED_S), DOWN)
    assert verdict.outcome is Outcome.FAIL
    assert (
        f"it was due at +{DUE_S:.0f}s (scale-down-unneeded-time + scan-interval), 300 s are allowed" in verdict.reason
    )


def test_a_node_that_goes_too_late_fails() -> None:
    verdict = scaled(remove(mark(long_run(900), UNNEEDED_S), DUE_S + 60), DOWN, removed_within="30s")
    assert verdict.outcome is Outcome.FAIL
    assert "70 s after it was due" in verdict.reason


def test_a_late_node_whose_timer_was_not_seen_leaves_it_open() -> None:
    verdict = scaled(remove(long_run(900), 860), DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "when it was due is not certain" in verdict.reason


def test_the_delay_after_an_addition_decides_where_it_is_longer() -> None:
    run = mark(long_run(700), UNNEEDED_S)
    run.fact(2, flags(scale_down_delay_after_add="20m"))
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"before +{CAME_S + 1200 + 10:.0f}s (scale-down-delay-after-add + scan-interval)" in verdict.reason


def test_a_removal_that_failed_is_told_and_gives_more_time() -> None:
    run = mark(long_run(820), UNNEEDED_S)
    say_event(run, 600, "ScaleDownFailed", "Node", NEW, "failed to drain the node: big could not be evicted")
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "scale-down-delay-after-failure" in verdict.reason
    assert f"{NEW}: ScaleDownFailed (failed to drain the node: big could not be evicted)" in verdict.reason
    assert scaled(run, DOWN, removed_within="20s").outcome is Outcome.FAIL


def test_a_node_that_is_not_ready_has_a_timer_of_its_own() -> None:
    run = mark(long_run(900), UNNEEDED_S, ready=False)
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "scale-down-unready-time" in verdict.reason


def test_a_node_that_was_needed_again_starts_its_timer_anew() -> None:
    run = mark(long_run(900), UNNEEDED_S)
    run.fact(400, scaled_node())
    mark(run, 500)
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"before +{500 + 300 + 10}s" in verdict.reason


def test_candidates_of_the_status_count_where_nodes_are_not_marked() -> None:
    run = long_run(900)
    run.fact(200, told(3, candidates=1, scale_down="CandidatesPresent"))
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.FAIL
    assert "it was due at +510s" in verdict.reason
    run.fact(600, told(3))
    assert "no node was unneeded as far as can be told" in scaled(run, DOWN).reason


BUDGET = PdbFact("uid-b", "agents", "tight", selector={"app": "planner"}, disruptions_allowed=0)
KEPT = [
    ({"local_volumes": ["cache"]}, "has local storage (cache)"),
    ({"safe_to_evict": False}, "is annotated safe-to-evict: false"),
    ({"namespace": SYSTEM, "labels": {"app": "dns"}}, "is of kube-system and has no budget"),
    ({"owner": ""}, "has no controller"),
]


def keep(run: Run, **changes: Any) -> Run:
    """Put a pod on the new node that stays."""
    run.fact(150, pod("stays", **{"node": NEW, "owner": "ReplicaSet/stays", **changes}))
    return run


@pytest.mark.parametrize(("changes", "why"), KEPT)
def test_f17_what_keeps_a_node_is_told_before_and_after_its_timers(changes: dict[str, Any], why: str) -> None:
    verdict = scaled(keep(long_run(BURST_END_S + 300), **changes), DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "left to a later look" in verdict.reason and why in verdict.reason
    verdict = scaled(keep(long_run(900), **changes), DOWN)
    assert verdict.outcome is Outcome.FAIL
    assert f"stays on {NEW} {why}" in verdict.reason


def test_a_budget_without_a_disruption_left_and_an_annotation_of_the_node_keep_it() -> None:
    run = keep(long_run(900))
    run.fact(150, BUDGET)
    reason = scaled(run, DOWN).reason
    assert f"pod agents/stays on {NEW} is held by budget agents/tight, which allows no disruption" in reason
    run = long_run(900)
    run.fact(150, scaled_node(kept=True))
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.FAIL
    assert f"node {NEW} has the annotation scale-down-disabled" in verdict.reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"owner": "DaemonSet/agent", "local_volumes": ["logs"]}, {}),
        ({"local_volumes": ["cache"], "safe_to_evict": True}, {}),
        ({"phase": "Succeeded", "local_volumes": ["cache"]}, {}),
        ({"local_volumes": ["cache"]}, {"skip_nodes_with_local_storage": "false"}),
        ({"namespace": SYSTEM}, {"skip_nodes_with_system_pods": "false"}),
    ],
)
def test_what_keeps_no_node_is_not_blamed(changes: dict[str, Any], said: dict[str, str]) -> None:
    run = keep(long_run(900), **changes)
    run.fact(2, flags(**said))
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "kept by" not in verdict.reason


def test_a_node_with_pods_that_may_move_was_perhaps_in_use() -> None:
    verdict = scaled(keep(long_run(900)), DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no node was unneeded as far as can be told: agents/stays still ran on them" in verdict.reason


def test_a_node_that_went_by_another_hand_leaves_it_open() -> None:
    run = mark(long_run(900), UNNEEDED_S)
    run.fact(500, scaled_node(deleted=True))
    run.events = [e for e in run.events if LEAVING not in str(e[4])]
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"{NEW} went, and nothing shows that the autoscaler removed it" in verdict.reason


def test_a_removal_that_only_an_event_of_the_status_names_is_the_autoscalers() -> None:
    run = mark(long_run(900), UNNEEDED_S)
    run.fact(500, scaled_node(deleted=True))
    said = f'Scale-down: removing empty node "{NEW}"'
    say_event(run, 490, "ScaleDownEmpty", "ConfigMap", "cluster-autoscaler-status", said, SYSTEM)
    assert scaled(run, DOWN).outcome is Outcome.PASS


def test_flags_that_nobody_knows_leave_a_node_that_stays_open_and_the_file_may_state_them() -> None:
    run = mark(long_run(1400), UNNEEDED_S)
    run.drop("nodeautoscalerflags")
    verdict = scaled(run, DOWN)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "its flags are not known" in verdict.reason
    assert "its defaults, for its flags are not known: scale-down-unneeded-time 600 s" in verdict.evidence[0]
    verdict = scaled(run, DOWN, flags={"scale-down-unneeded-time": 120, "scale-down-delay-after-add": "2m"})
    assert verdict.outcome is Outcome.FAIL
    assert "it was due at +300s" in verdict.reason


def test_an_autoscaler_that_removes_nothing_or_has_its_minimum_leaves_it_open() -> None:
    run = mark(long_run(900), UNNEEDED_S)
    run.fact(200, told(target=1))
    assert "every group of nodes has its minimum (general: 1)" in scaled(run, DOWN).reason
    run.fact(2, flags(scale_down_enabled="false"))
    assert "its flag scale-down-enabled is false" in scaled(run, DOWN).reason
    assert "no node was there" in scaled(long_run(900), DOWN, nodes="pool=none").reason


def test_an_autoscaler_that_fell_silent_is_told() -> None:
    run = mark(long_run(900), UNNEEDED_S)
    run.fact(200, told(3, updated_unix_s=ORIGIN.timestamp() + 200))
    assert "the autoscaler says: nothing for 700 s" in scaled(run, DOWN).reason
    run.fact(890, told(3, updated_unix_s=ORIGIN.timestamp() + 890))
    assert "the autoscaler says" not in scaled(run, DOWN).reason


def test_a_hole_of_the_watch_of_nodes_leaves_a_node_that_stays_open() -> None:
    run = mark(long_run(900), UNNEEDED_S)
    run.say(600, "cluster", "watch", "nodes", state="hole", gap_s=20.0, reason="silent")
    assert "the watch of nodes was blind" in scaled(run, DOWN).reason
    assert scaled(run, DOWN).outcome is Outcome.INCONCLUSIVE


def test_several_nodes_are_waited_for() -> None:
    run = add_node(long_run(900), 120, 130, "node-new-1")
    for name, at_s in ((NEW, 500), ("node-new-1", 560)):
        mark(run, UNNEEDED_S, name)
        remove(run, at_s, name)
    assert scaled(run, DOWN, count_min=2).outcome is Outcome.PASS
    run.events = [e for e in run.events if not (e[0] > 500 and "node-new-1" in e[3])]
    verdict = scaled(run, DOWN, count_min=2)
    assert verdict.outcome is Outcome.FAIL
    assert "1 of 2 nodes were removed" in verdict.reason
    run.fact(2, flags(scale_down_delay_after_delete="10m"))
    assert "scale-down-delay-after-delete" in scaled(run, DOWN, count_min=2).reason


def test_a_run_without_a_burst_and_a_run_that_was_cut_off_prove_nothing() -> None:
    run = node_scaled_run()
    run.drop("load-edge")
    assert {scaled(run, direction).outcome for direction in (UP, DOWN)} == {Outcome.INCONCLUSIVE}
    run = asserting(node_scaled_run(), KIND, direction=UP)
    run.header = replace(run.header, ending=None)
    (verdict,) = judge(run.record(), ASSERTIONS, ASSUMPTIONS).verdicts
    assert verdict.outcome is Outcome.INCONCLUSIVE
