"""A NetworkPolicy that no longer lists its pods: proof, undo, whom undo respects, and what is refused beforehand."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from experiments.faults.context import FaultError
from harness.model.fault import ObjectRef
from tests.unit.fault_stage import Stage, made

POLICY = ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "redis-and-dns", "agents")
CUT = {"namespace": "agents", "policy": "redis-and-dns", "selector": "app=planner"}


@pytest.fixture
def stage() -> Iterator[Stage]:
    yield made()


def test_a_planner_that_misses_its_queue_says_so_and_goes_on_after_the_undo(stage: Stage) -> None:
    stage.rate_rps = 30.0
    told = stage.carry_out("cut_network", **CUT)
    assert told["effect"] == "CONFIRMED" and "planner_queue_unavailable_total rose by" in told["reason"]
    listed = stage.get(POLICY)["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert listed == ["tool-adapter", "evaluation"]

    (outcome,) = stage.undo()
    assert "restored" in outcome
    listed = stage.get(POLICY)["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert listed == ["planner", "tool-adapter", "evaluation"]


def test_a_network_that_enforces_nothing_is_told_in_plain_words() -> None:
    stage = made("network-policy", fault_absent=True)
    stage.rate_rps = 30.0
    with pytest.raises(FaultError, match=r"ABSENT: .*network does not enforce its policies"):
        stage.carry_out("cut_network", **CUT)


def test_a_counter_that_rose_before_proves_no_policy(stage: Stage) -> None:
    stage.rate_rps = 30.0
    listed = "/spec/podSelector/matchExpressions/key=app/values"
    stage.somebody_sets(POLICY, {listed: ["tool-adapter", "evaluation"]})
    stage.pass_time(10.0)
    stage.somebody_sets(POLICY, {listed: ["planner", "tool-adapter", "evaluation"]})
    with pytest.raises(FaultError, match=r"UNCLEAR: .* in the 60 s before the change: that it goes on rising proves"):
        stage.carry_out("cut_network", **CUT)


def test_a_counter_that_rose_long_before_is_as_good_as_new(stage: Stage) -> None:
    stage.rate_rps = 30.0
    stage.carry_out("cut_network", **CUT)
    stage.undo()
    stage.pass_time(70.0)
    told = stage.carry_out("cut_network", **CUT)
    assert told["effect"] == "CONFIRMED"


def test_a_policy_without_a_counter_to_prove_it_leaves_it_unclear(stage: Stage) -> None:
    with pytest.raises(FaultError, match=r"UNCLEAR: .*no signal nothing_total"):
        stage.carry_out("cut_network", **{**CUT, "signal": "nothing_total"})


def test_a_policy_that_a_person_mended_stays_mended(stage: Stage) -> None:
    stage.rate_rps = 30.0
    stage.carry_out("cut_network", **CUT)
    theirs = ["tool-adapter", "evaluation", "planner"]
    stage.somebody_sets(POLICY, {"/spec/podSelector/matchExpressions/key=app/values": theirs})
    (outcome,) = stage.undo()
    assert "left alone" in outcome
    assert stage.get(POLICY)["spec"]["podSelector"]["matchExpressions"][0]["values"] == theirs


def without_default_deny(stage: Stage) -> None:
    ref = ObjectRef(POLICY.api_version, POLICY.kind, "default-deny", "agents")
    stage.twin.store.delete(ref, stage.get(ref)["metadata"]["uid"])


def nothing(stage: Stage) -> None:
    del stage


def alone(stage: Stage) -> None:
    stage.somebody_sets(POLICY, {"/spec/podSelector/matchExpressions/key=app/values": ["planner"]})


@pytest.mark.parametrize(
    ("before", "arguments", "problem"),
    [
        (nothing, {"policy": "nobody"}, "there is no NetworkPolicy agents/nobody"),
        (nothing, {"selector": "app=nobody"}, "no pod matches app=nobody"),
        (nothing, {"selector": "app=inference"}, "does not list app=inference"),
        (nothing, {"policy": "default-deny"}, "does not list app=planner"),
        (without_default_deny, {}, "no other policy keeps app=planner in"),
        (alone, {}, "which the API refuses"),
    ],
)
def test_a_policy_that_cannot_be_changed_so_is_refused(
    stage: Stage, before: Callable[[Stage], None], arguments: Any, problem: str
) -> None:
    before(stage)
    assert problem in stage.problem("cut_network", **{**CUT, **arguments})
