"""The twin's parts: simulated time, queue, cluster and gateway keep the rules of what they stand for."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.fakes.autoscaling import Stabiliser, per_pod
from harness.fakes.clock import FakeClock
from harness.fakes.cluster import SimulatedCluster
from harness.fakes.gateway import SimRequest, SimulatedGateway
from harness.fakes.kube import FakeActor, FakeLease
from harness.fakes.ledger import FakeLedger
from harness.fakes.queue import SimulatedQueue
from harness.fakes.switches import VARIABLE, Switches
from harness.fakes.workloads import SimPdb, SimWorkload
from harness.model.errors import PortError, Refusal, SpecError
from harness.model.fault import UndoRecord

APP = {"app": "planner"}
RECORD = UndoRecord("r-1", "run-a", "kill", "v1", "Pod", "agents", "planner-1", "u1", "none", outcome="replaced")


def seeded() -> Random:
    return Random(1)  # noqa: S311 - a test that must repeat


def cluster_of(replicas: int, min_available: int | None = None) -> tuple[FakeClock, SimulatedCluster, SimWorkload]:
    clock = FakeClock()
    cluster = SimulatedCluster(clock, seeded())
    workload = SimWorkload("agents", "planner", APP, replicas)
    cluster.add_workload(workload)
    if min_available is not None:
        cluster.pdbs.append(SimPdb("agents", "planner", APP, min_available))
    cluster.step(0.0)
    clock.every_step(cluster.step)
    return clock, cluster, workload


# time -----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1, 20), max_size=10))
def test_sleeping_is_the_only_thing_that_moves_time(durations_s: list[float]) -> None:
    clock = FakeClock()
    seen: list[float] = []
    clock.every_step(seen.append)
    for duration_s in durations_s:
        clock.sleep(duration_s)
    assert clock.now_s() == pytest.approx(sum(max(0.0, d) for d in durations_s), abs=1e-6)
    assert seen == sorted(seen)
    steps = [late - early for early, late in zip([0.0, *seen], seen, strict=False)]
    assert all(0 < step <= 0.25 + 1e-9 for step in steps)


# queue ----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=40))
def test_no_task_is_lost_whatever_comes_and_however_many_adapters_there_are(steps: list[tuple[int, int]]) -> None:
    queue = SimulatedQueue()
    for number, (tasks, adapters) in enumerate(steps):
        now_s = number * 0.25
        queue.add(tasks, now_s)
        queue.work(adapters, now_s + 0.25)
        assert queue.enqueued == queue.done + queue.depth
        assert queue.depth == queue.lag + queue.pending
        assert (queue.age_s(now_s + 0.25) > 0) == (queue.depth > 0)


def test_an_adapter_does_twenty_tasks_a_second() -> None:
    queue = SimulatedQueue()
    queue.add(1000, 0.0)
    for step in range(1, 41):
        queue.work(1, step * 0.25)
    assert queue.done == 200


def test_without_adapters_nothing_is_done_and_the_oldest_task_ages() -> None:
    queue = SimulatedQueue()
    queue.add(3, 1.0)
    queue.work(0, 11.0)
    assert (queue.done, queue.lag, queue.age_s(11.0)) == (0, 3, 10.0)


# cluster --------------------------------------------------------------------------------------------------------------


def test_a_killed_pod_is_gone_at_once_and_replaced_by_another_uid() -> None:
    clock, cluster, workload = cluster_of(3)
    victim = cluster.serving(workload)[0].fact
    assert FakeActor(cluster, clock, Switches()).delete_pod(victim, grace_s=0)
    assert len(cluster.serving(workload)) == 2
    clock.sleep(3.0)
    assert len(cluster.serving(workload)) == 3
    assert victim.uid not in {pod.fact.uid for pod in cluster.pods}


def test_a_budget_lets_go_what_it_can_spare_and_no_more() -> None:
    clock, cluster, workload = cluster_of(3, min_available=2)
    actor = FakeActor(cluster, clock, Switches())
    first, second = (pod.fact for pod in cluster.serving(workload)[:2])
    assert actor.evict_pod(first, dry_run=True).status == "accepted"
    assert len(cluster.serving(workload)) == 3
    assert actor.evict_pod(first).status == "accepted"
    blocked = actor.evict_pod(second)
    assert blocked.status == "blocked"
    assert "budget planner needs 2 healthy pods and has 2 currently" in blocked.message
    clock.sleep(3.0)
    assert actor.evict_pod(second).status == "accepted"
    assert actor.evict_pod(first).status == "gone"


def test_two_budgets_over_one_pod_are_refused() -> None:
    clock, cluster, workload = cluster_of(3, min_available=1)
    cluster.pdbs.append(SimPdb("agents", "rival", APP, 1))
    pod = cluster.serving(workload)[0].fact
    assert FakeActor(cluster, clock, Switches()).evict_pod(pod).status == "overlap"


def test_a_budgets_status_says_what_the_pods_are() -> None:
    clock, cluster, workload = cluster_of(3, min_available=2)
    actor = FakeActor(cluster, clock, Switches())
    actor.delete_pod(cluster.serving(workload)[0].fact, 0)
    pdb = actor.pdbs("agents")[0]
    assert (pdb.current_healthy, pdb.desired_healthy, pdb.expected_pods, pdb.disruptions_allowed) == (2, 2, 3, 0)


def test_a_workload_that_shrinks_lets_its_newest_pods_go() -> None:
    clock, cluster, workload = cluster_of(2)
    old = {pod.fact.uid for pod in cluster.serving(workload)}
    workload.replicas = 5
    clock.sleep(3.0)
    workload.replicas = 2
    clock.sleep(3.0)
    assert {pod.fact.uid for pod in cluster.pods} == old


def test_what_says_nothing_new_is_not_published() -> None:
    clock, cluster, _ = cluster_of(3)
    before = len(cluster.outbox)
    clock.sleep(10.0)
    assert len(cluster.outbox) == before


# gateway --------------------------------------------------------------------------------------------------------------


def test_a_lost_pod_takes_its_requests_in_flight_along() -> None:
    _, cluster, workload = cluster_of(1)
    answers: list[SimRequest] = []
    gateway = SimulatedGateway(lambda: cluster.serving(workload), seeded(), answered=answers.append)
    gateway.send(0, 1.0, 1.0)
    gateway.lose(cluster.serving(workload)[0].fact.name, 1.001)
    gateway.send(1, 2.0, 2.0)
    gateway.step(3.0)
    assert [(a.seq, a.status) for a in answers] == [(0, 503), (1, 200)]
    assert gateway.by_class == {5: 1, 2: 1}


def test_without_a_serving_pod_every_request_is_503() -> None:
    gateway = SimulatedGateway(lambda: [], seeded())
    gateway.send(0, 1.0, 1.0)
    gateway.step(2.0)
    assert gateway.by_class == {5: 1}


def test_a_pod_sheds_what_it_cannot_do() -> None:
    _, cluster, workload = cluster_of(1)
    gateway = SimulatedGateway(lambda: cluster.serving(workload), seeded())
    for number in range(400):
        gateway.send(number, number * 0.01, number * 0.01)  # 100 rps, a pod does about 38
    gateway.step(10.0)
    assert 0.4 < gateway.by_class[5] / 400 < 0.75


# autoscaling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "current", "wanted"), [(60, 3, 3), (65, 3, 3), (70, 3, 4), (50, 3, 3), (0, 3, 0)])
def test_replicas_follow_the_ratio_beyond_the_tolerance(value: float, current: int, wanted: int) -> None:
    assert per_pod(value, 20, current) == wanted


def test_replicas_rise_at_once_and_fall_only_after_the_stabilisation_window() -> None:
    stabiliser = Stabiliser()
    asked = [stabiliser.settle(t, r, c) for t, r, c in [(0, 6, 3), (5, 3, 6), (10, 3, 6), (15, 3, 6), (20, 3, 6)]]
    assert asked == [6, 6, 6, 3, 3]


# ledger, Lease, switches ----------------------------------------------------------------------------------------------


def test_the_ledger_gives_open_records_newest_first_and_forgets_done_ones_on_close() -> None:
    ledger = FakeLedger()
    ledger.write(RECORD)
    ledger.write(UndoRecord("r-2", "run-b", "kill", "v1", "Pod", "agents", "p", "u", "none"))
    assert [r.record_id for r in ledger.open_records()] == ["r-2", "r-1"]
    done = ledger.undo(ledger.open_records("run-a")[0])
    assert done.done
    assert ledger.open_records("run-a") == []
    ledger.close("run-a")
    ledger.close("run-b")
    assert [r.record_id for r in ledger.records] == ["r-2"]


def test_an_undo_that_fails_says_so_and_leaves_its_record_open() -> None:
    ledger = FakeLedger(Switches(undo_fails=True), [RECORD])
    with pytest.raises(PortError):
        ledger.undo(RECORD)
    assert list(ledger.open_records()) == [RECORD]


def test_one_run_holds_the_lease() -> None:
    lease = FakeLease(FakeClock())
    lease.acquire("run-a")
    with pytest.raises(Refusal, match="run-a"):
        lease.acquire("run-b")
    lease.release()
    assert not lease.held


def test_switches_come_from_the_environment_and_unknown_ones_are_named() -> None:
    assert Switches.from_environ({}) == Switches()
    assert Switches.from_environ({VARIABLE: '{"hpa_missing": true}'}).hpa_missing
    for text in ('{"hpa_mising": true}', "[1]", "{"):
        with pytest.raises(SpecError, match=VARIABLE):
            Switches.from_environ({VARIABLE: text})
