"""Records of nodes that come, and of no autoscaler: what `nodes_scaled` must pass, fail or leave open (CASES F17)."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.fault import Loss
from harness.model.verdict import Outcome
from tests.replay.builders import pod
from tests.replay.fault_builders import node_victim, one_fault, tell_fault
from tests.replay.node_builders import (
    DOWN,
    GPU,
    NEED_S,
    NEW,
    OFFERED_S,
    TRIGGER_S,
    UP,
    add_node,
    calm_run,
    flags,
    node_scaled_run,
    say_event,
    scaled,
    scaled_node,
    told,
    wait_for_capacity,
)

# Nodes that come ------------------------------------------------------------------------------------------------------


def test_nodes_that_come_in_time_pass_with_the_time_of_each_stage() -> None:
    verdict = scaled(node_scaled_run(), UP, offered_within="60s", count_max=1)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures == {
        "nodes_added": 1, "pods_waiting": 1, "triggered_s": pytest.approx(TRIGGER_S - NEED_S),
        "first_offered_s": pytest.approx(OFFERED_S - TRIGGER_S),
    }  # fmt: skip


def test_a_node_that_comes_late_fails_with_how_late() -> None:
    verdict = scaled(node_scaled_run(), UP, offered_within="30s")
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason == "1 new node offered cpu 45.0 s after that, the limit is 30 s"


def test_an_autoscaler_that_acts_late_fails_and_its_own_delay_for_new_pods_is_allowed() -> None:
    verdict = scaled(node_scaled_run(), UP, triggered_within="2s")
    assert verdict.outcome is Outcome.FAIL
    assert "the autoscaler acted 5.0 s later, the limit is 2 s" in verdict.reason
    run = node_scaled_run()
    run.fact(2, flags(new_pod_scale_up_delay="5s"))
    assert scaled(run, UP, triggered_within="2s").outcome is Outcome.PASS


def test_an_autoscaler_that_never_acts_fails_with_what_it_says() -> None:
    run = wait_for_capacity(calm_run(), end_s=None)
    said = "pod didn't trigger scale-up: 1 max node group size reached"
    say_event(run, 71, "NotTriggerScaleUp", "Pod", "big", said, "agents")
    run.fact(72, told(1, backoffs={"general": "QUOTA_EXCEEDED: no more CPUS"}))
    verdict = scaled(run, UP)
    assert verdict.outcome is Outcome.FAIL
    assert "1 pod found no node (agents/big), and no node was asked for within 30 s" in verdict.reason
    assert f"agents/big: NotTriggerScaleUp ({said})" in verdict.reason
    assert "group general is in backoff (QUOTA_EXCEEDED: no more CPUS)" in verdict.reason


def test_a_node_that_is_ready_without_its_devices_has_not_come_f18() -> None:
    run = node_scaled_run()
    verdict = scaled(run, UP, resource=GPU, offered_within="60s")
    assert verdict.outcome is Outcome.FAIL
    assert f"(1 came; {NEW} is Ready and offers 0 {GPU}" in verdict.reason
    run.fact(118, scaled_node(allocatable={"cpu": "8", GPU: "4"}))
    verdict = scaled(run, UP, resource=GPU, offered_within="60s")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["first_offered_s"] == pytest.approx(118 - TRIGGER_S)


@pytest.mark.parametrize(
    "closed",
    [
        {"ready": False}, {"unschedulable": True}, {"allocatable": {"cpu": "0"}},
        {"taints": ["node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule"]},
    ],
)  # fmt: skip
def test_a_node_that_takes_no_pods_has_not_come(closed: dict[str, Any]) -> None:
    run = node_scaled_run(offered_s=None)
    run.fact(OFFERED_S, scaled_node(**closed))
    verdict = scaled(run, UP, offered_within="60s")
    assert verdict.outcome is Outcome.FAIL
    assert "0 of 1 new node offered cpu within 60 s (1 came; " in verdict.reason


def test_the_taint_of_its_pool_closes_no_node() -> None:
    run = node_scaled_run(offered_s=None)
    run.fact(OFFERED_S, scaled_node(taints=["nvidia.com/gpu=present:NoSchedule"]))
    assert scaled(run, UP).outcome is Outcome.PASS


def test_more_nodes_than_wanted_fail_where_a_limit_is_asked_f18() -> None:
    run = add_node(node_scaled_run(), 130, None, "node-useless")
    assert scaled(run, UP).figures["nodes_added"] == 2
    verdict = scaled(run, UP, count_max=1)
    assert verdict.outcome is Outcome.FAIL
    assert "2 nodes came, 1 at most were to" in verdict.reason


def test_only_nodes_of_the_pool_and_only_pods_of_the_selector_count() -> None:
    run = node_scaled_run()
    assert scaled(run, UP, nodes="pool=gpu", offered_within="60s").outcome is Outcome.FAIL
    assert "no pod waited for a node" in scaled(run, UP, selector="app=other").reason
    assert scaled(run, UP, nodes="pool=general", namespace="agents", selector="app=planner").outcome is Outcome.PASS


def test_where_no_pod_waited_it_is_open_f17() -> None:
    verdict = scaled(calm_run(), UP)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no pod waited for a node, so none had to come" in verdict.reason


def test_a_pod_that_found_a_node_before_the_next_scan_called_for_none() -> None:
    run = wait_for_capacity(calm_run(), end_s=NEED_S + 5)
    assert "no pod waited" in scaled(run, UP).reason
    say_event(run, NEED_S + 1, "TriggeredScaleUp", "Pod", "big", "", "agents")
    assert scaled(run, UP).figures["triggered_s"] == pytest.approx(1.0)


def test_a_need_that_ends_before_the_limit_or_with_the_record_leaves_it_open() -> None:
    verdict = scaled(wait_for_capacity(calm_run(), end_s=NEED_S + 20), UP)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "for 20.0 s only, no node had to come" in verdict.reason
    verdict = scaled(wait_for_capacity(calm_run(), 160, None), UP)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no node was asked for by the end of the record, 30 s are allowed" in verdict.reason


def test_a_node_that_still_starts_within_its_limit_leaves_it_open_f17() -> None:
    verdict = scaled(node_scaled_run(offered_s=None), UP)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "0 of 1 new node offered cpu by the end of the record (1 came; " in verdict.reason


def test_groups_at_their_maximum_leave_it_open() -> None:
    run = wait_for_capacity(calm_run(), end_s=None)
    run.fact(2, told(target=4))
    verdict = scaled(run, UP)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "every group of nodes had its maximum already (general: 4)" in verdict.reason


def test_a_hole_of_the_watch_of_nodes_leaves_a_late_node_and_a_count_open() -> None:
    run = node_scaled_run()
    run.say(105, "cluster", "watch", "nodes", state="hole", gap_s=20.0, reason="silent")
    assert scaled(run, UP, offered_within="60s").outcome is Outcome.PASS
    assert scaled(run, UP, offered_within="30s").outcome is Outcome.INCONCLUSIVE
    assert scaled(run, UP, offered_within="60s", count_max=1).outcome is Outcome.INCONCLUSIVE


def test_a_node_that_a_fault_took_and_that_is_back_was_not_added() -> None:
    run = wait_for_capacity(one_fault(calm_run(), "reclaim", Loss.NODE), end_s=None)
    tell_fault(run, "reclaim", Loss.NODE, [node_victim("node-2")])
    run.fact(112, scaled_node("node-2", uid="uid-again"))
    assert scaled(run, UP).figures["nodes_added"] == 0


def test_a_node_whose_pod_a_fault_killed_was_added_all_the_same() -> None:
    run = one_fault(node_scaled_run(), "kill", Loss.ABRUPT)
    tell_fault(run, "kill", Loss.ABRUPT, [{"kind": "Pod", "namespace": "agents", "name": "p", "uid": "u", "node": NEW}])
    for t_s, fact in ((60, {"node": "", "phase": "Pending", "ready": False, "reason": "Unschedulable"}), (111, {})):
        run.fact(t_s, pod("late", **fact))
    assert scaled(run, UP).figures["nodes_added"] == 1


# No autoscaler --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_without_an_autoscaler_of_nodes_the_assumption_is_not_met_f17(direction: str) -> None:
    run = node_scaled_run()
    run.drop("nodeautoscaler")
    verdict = scaled(run, direction)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    missing = "no autoscaler of nodes tells of itself: ConfigMap kube-system/cluster-autoscaler-status was never seen"
    assert verdict.reason == missing
    run.fact(3, told(deleted=True))
    assert "was deleted" in scaled(run, direction).reason
    run.drop("nodeautoscaler")
    run.fact(3, told(state=""))
    assert "cannot be read" in scaled(run, direction).reason


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_where_no_node_at_all_was_seen_nothing_is_told(direction: str) -> None:
    run = node_scaled_run()
    run.drop("node")
    assert "no node was ever seen" in scaled(run, direction, offered_within="60s").reason


def test_a_status_elsewhere_is_found_by_its_name() -> None:
    run = node_scaled_run()
    run.change("nodeautoscaler", lambda t, s, d: {"namespace": "scaling"})
    assert scaled(run, UP).outcome is Outcome.INCONCLUSIVE
    assert scaled(run, UP, status="scaling/cluster-autoscaler-status").outcome is Outcome.PASS
