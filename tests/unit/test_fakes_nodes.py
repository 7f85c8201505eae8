"""The twin's nodes and pods under faults: hang, crash, loss, a Lease that two runs want."""

from random import Random

import pytest

from harness.fakes.clock import FakeClock
from harness.fakes.cluster import SimulatedCluster
from harness.fakes.kube import FakeActor, FakeLease
from harness.fakes.nodes import STOPPED
from harness.fakes.switches import Switches
from harness.fakes.workloads import FROZEN, KILL, SimWorkload
from harness.model.errors import Refusal
from harness.model.fault import ObjectRef
from harness.model.pointer import escape


class Stage:
    """A cluster with three planner pods."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = SimulatedCluster(self.clock, Random(1))  # noqa: S311 - must repeat
        self.workload = SimWorkload("agents", "planner", {"app": "planner"}, 3)
        self.cluster.add_workload(self.workload)
        self.clock.every_step(self.cluster.step)
        self.actor = FakeActor(self.cluster, self.clock, Switches())

    def annotate(self, ref: ObjectRef, key: str, value: str | None) -> None:
        seen = self.actor.get(ref)
        assert seen is not None
        self.actor.patch(ref, seen, {f"/metadata/annotations/{escape(key)}": value})


def test_a_frozen_pod_answers_nothing_at_once_is_unready_later_and_comes_back() -> None:
    stage = Stage()
    pod = stage.cluster.serving(stage.workload)[0]
    ref = ObjectRef("v1", "Pod", pod.fact.name, "agents")
    stage.annotate(ref, FROZEN, "true")
    stage.clock.sleep(0.5)
    assert (pod.fact.ready, stage.cluster.reachable(pod)) == (True, False)
    stage.clock.sleep(5)
    assert (pod.fact.ready, pod in stage.cluster.pods) == (False, True)
    stage.annotate(ref, FROZEN, None)
    stage.clock.sleep(2)
    assert (pod.fact.ready, stage.cluster.reachable(pod)) == (True, True)


def test_a_killed_container_is_restarted_once_for_each_order() -> None:
    stage = Stage()
    pod = stage.cluster.serving(stage.workload)[0]
    ref = ObjectRef("v1", "Pod", pod.fact.name, "agents")
    for order, restarts in (("planner/1", 1), ("planner/1", 1), ("planner/2", 2)):
        stage.annotate(ref, KILL, order)
        stage.clock.sleep(3)
        assert (pod.fact.restarts, pod.fact.ready) == (restarts, True)


def test_a_stopped_node_is_missed_its_pods_are_replaced_and_it_serves_again() -> None:
    stage = Stage()
    ref, node = ObjectRef("v1", "Node", "general-2"), stage.cluster.nodes["general-2"]
    lost = [pod.fact.uid for pod in stage.cluster.pods_on("general-2")]
    assert lost
    stage.annotate(ref, STOPPED, "true")
    stage.clock.sleep(4)
    assert (node.ready, node.silent_s is not None) == (True, True)
    stage.clock.sleep(6)
    leaving = [pod for pod in stage.cluster.pods_on("general-2") if pod.fact.terminating]
    assert (node.ready, leaving) == (False, [])
    stage.clock.sleep(14)
    assert len(stage.cluster.serving(stage.workload)) == 3
    assert all(pod.fact.terminating for pod in stage.cluster.pods_on("general-2"))
    stage.annotate(ref, STOPPED, None)
    stage.clock.sleep(3)
    assert (node.ready, node.obj["spec"]["taints"], stage.cluster.pods_on("general-2")) == (True, [], [])


def test_two_runs_over_one_twin_contend_for_the_lease() -> None:
    clock = FakeClock()
    taken: dict[str, str] = {}
    one, other = FakeLease(clock, Switches(), taken), FakeLease(clock, Switches(), taken)
    one.acquire("first")
    with pytest.raises(Refusal, match="first"):
        other.acquire("second")
    assert (one.held, other.held) == (True, False)
    other.release()
    assert (one.held, other.held) == (True, False)
    one.release()
    other.acquire("second")
    assert (one.held, other.held) == (False, True)
