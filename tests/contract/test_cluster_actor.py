"""Contract of `ClusterActor`: every write is of one pod by its uid; an eviction answers what the budget says."""

from dataclasses import replace

import pytest

pytestmark = pytest.mark.testbed


def test_pods_are_found_by_their_labels(world):
    pods = world.deploy("planner", 2)
    actor = world.actor()
    assert {p.uid for p in actor.pods(world.namespace, {"app": "planner"})} == {p.uid for p in pods}
    assert actor.pods(world.namespace, {"app": "nobody"}) == []
    assert actor.pod(world.namespace, pods[0].name).uid == pods[0].uid
    assert actor.pod(world.namespace, "nobody") is None


def test_a_pod_is_deleted_by_its_uid_and_gone_is_no_error(world):
    pod, _ = world.deploy("planner", 2)
    actor = world.actor()
    assert actor.delete_pod(pod, 0) is True
    world.until(lambda: actor.pod(world.namespace, pod.name) is None, "the pod is gone")
    assert actor.delete_pod(pod, 0) is False


def test_another_pod_of_the_same_name_is_not_touched(world):
    (pod,) = world.deploy("planner", 1)
    actor = world.actor()
    former = replace(pod, uid="00000000-0000-0000-0000-000000000000")
    assert actor.delete_pod(former, 0) is False
    assert actor.evict_pod(former).status == "gone"
    assert actor.pod(world.namespace, pod.name).terminating is False


def test_an_eviction_is_accepted_where_no_budget_speaks_and_the_pod_goes(world):
    (pod,) = world.deploy("planner", 1)
    actor = world.actor()
    assert actor.evict_pod(pod).status == "accepted"
    world.until(lambda: actor.pod(world.namespace, pod.name) is None, "the pod is gone")
    assert actor.evict_pod(pod).status == "gone"


def test_a_dry_run_asks_and_touches_nothing(world):
    (pod,) = world.deploy("planner", 1)
    actor = world.actor()
    assert actor.evict_pod(pod, dry_run=True).status == "accepted"
    assert actor.pod(world.namespace, pod.name).terminating is False


def test_a_budget_without_head_room_blocks_and_its_message_says_so_b14(world):
    pod, _ = world.deploy("planner", 2)
    world.budget("planner", "planner", min_available=2)
    result = world.actor().evict_pod(pod)
    assert result.status == "blocked"
    assert "planner" in result.message
    (budget,) = world.actor().pdbs(world.namespace)
    assert (budget.disruptions_allowed, budget.desired_healthy, budget.current_healthy) == (0, 2, 2)


def test_a_budget_with_head_room_lets_one_go(world):
    pod, _ = world.deploy("planner", 2)
    world.budget("planner", "planner", min_available=1)
    assert world.actor().evict_pod(pod).status == "accepted"


def test_two_budgets_on_one_pod_overlap_b14(world):
    pod, _ = world.deploy("planner", 2)
    world.budget("one", "planner", min_available=1)
    world.budget("two", "planner", min_available=1)
    assert world.actor().evict_pod(pod).status == "overlap"


def test_terminate_returns_the_names_that_were_accepted(world):
    pods = world.deploy("planner", 2)
    names = [p.name for p in pods]
    assert list(world.actor().terminate_pods(world.namespace, [*names, "nobody"], 0)) == names
