"""Contract of `ClusterObserver`: identity, permissions, watching, fingerprint."""

import pytest

from harness.model.experiment import Scope
from harness.model.facts import JobFact, NodeFact, PodFact, WorkloadFact
from harness.model.fault import Permission
from harness.model.fingerprint import fingerprint_difference

pytestmark = pytest.mark.testbed


@pytest.fixture
def observer(world):
    return world.observer()


def collected(world, observer, wanted):
    """Poll until an observation satisfies `wanted`; return all that were seen, the last one included."""
    seen = []

    def look():
        seen.extend(observer.poll())
        return seen if any(wanted(o) for o in seen) else None

    return world.until(look, "the observation")


def test_a_cluster_says_who_it_is_and_who_we_are(observer):
    identity = observer.identify()
    assert identity.kube_system_uid
    assert identity.api_server.startswith("https://127.0.0.1:")
    assert identity.user
    assert identity.user != "system:anonymous"
    assert identity.server_version


def test_b07_permissions_that_we_lack_are_returned_and_those_we_have_are_not(real_world):
    observer = real_world.observer()
    have = Permission("list", "pods", namespace=real_world.namespace)
    lack = Permission("delete", "nodes")
    assert list(observer.allowed([have, lack])) == [lack]


def test_a_namespace_has_labels_and_an_absent_one_has_none(world, observer):
    assert observer.namespace_labels(world.namespace)["gameday.local/opt-in"] == "true"
    assert observer.namespace_labels("no-such-namespace") is None


def test_the_clocks_of_one_machine_agree(observer):
    assert abs(observer.skew_s()) <= 2.0


def test_the_present_state_is_known_once_watching_has_started(world, observer):
    pods = world.deploy("planner", 2)
    observer.start(Scope((world.namespace,)))
    assert {p.uid for p in observer.current(PodFact.kind)} >= {p.uid for p in pods}
    assert [w.spec_replicas for w in observer.current(WorkloadFact.kind)] == [2]
    assert world.node in {n.name for n in observer.current(NodeFact.kind)}
    seen = observer.poll()
    assert {o.detail["state"] for o in seen if o.kind == "watch"} == {"open"}
    assert {o.subject for o in seen if o.kind == "pod"} >= {p.subject for p in pods}
    assert {o.actor for o in seen} == {"cluster"}


def test_a_killed_pod_is_seen_to_go_and_its_replacement_to_become_ready(world, observer):
    victim, _ = world.deploy("planner", 2)
    observer.start(Scope((world.namespace,)))
    before = {p.uid for p in observer.current(PodFact.kind)}
    world.actor().delete_pod(victim, 0)
    seen = collected(world, observer, lambda o: o.kind == "pod" and o.detail["uid"] not in before and o.detail["ready"])
    assert [o.detail["deleted"] for o in seen if o.kind == "pod" and o.detail["uid"] == victim.uid][-1] is True
    assert victim.uid not in {p.uid for p in observer.current(PodFact.kind)}
    assert not [o for o in seen if o.kind == "watch" and o.detail["state"] in {"hole", "lost"}]


def test_observations_come_once_in_the_order_of_time(world, observer):
    world.deploy("planner", 1)
    observer.start(Scope((world.namespace,)))
    first = observer.poll()
    assert [o.t_s for o in first] == sorted(o.t_s for o in first)
    assert [o for o in observer.poll() if o.kind == "watch"] == []


def test_kubernetes_events_of_before_are_left_out_and_new_ones_are_seen(real_world):
    observer = real_world.observer()
    (pod,) = real_world.deploy("planner", 1)
    observer.start(Scope((real_world.namespace,)))
    assert [o for o in observer.poll() if o.kind == "k8s-event"] == []
    real_world.actor().delete_pod(pod, 0)
    seen = collected(real_world, observer, lambda o: o.kind == "k8s-event" and o.detail["reason"] == "SuccessfulCreate")
    assert all(o.detail["involved"]["name"] for o in seen if o.kind == "k8s-event")


def test_pod_metrics_are_empty_where_there_is_no_metrics_server_f20(real_world):
    observer = real_world.observer()
    assert observer.pod_metrics(real_world.namespace) == {}


def test_the_fingerprint_of_an_untouched_cluster_stays_the_same_while_pods_come_and_go(world, observer):
    victim, _ = world.deploy("planner", 2)
    before = observer.fingerprint(Scope((world.namespace,)))
    world.actor().delete_pod(victim, 0)
    world.until(lambda: world.actor().pod(victim.namespace, victim.name) is None, "the pod is gone")
    assert fingerprint_difference(before, observer.fingerprint(Scope((world.namespace,)))) == []


def test_a_cordon_is_a_difference_of_fingerprints(real_world):
    observer = real_world.observer()
    before = observer.fingerprint(Scope((real_world.namespace,)))
    real_world.set_node(True, {"gameday.local/owner": "run"})
    found = fingerprint_difference(before, observer.fingerprint(Scope((real_world.namespace,))))
    assert [str(d) for d in found] == [
        f"Node/{real_world.node} /annotations/gameday.local~1owner: None → 'run'",
        f"Node/{real_world.node} /unschedulable: False → True",
    ]


def test_stop_can_be_called_at_any_time_and_ends_every_watch(real_world):
    observer = real_world.observer()
    observer.stop()
    observer.start(Scope((real_world.namespace,)))
    watches = {o.subject for o in observer.poll() if o.kind == "watch"}
    observer.stop()
    observer.stop()
    assert {o.subject for o in observer.poll() if o.kind == "watch" and o.detail["state"] == "closed"} == watches


def test_a_job_is_followed_until_it_is_complete_with_the_pod_that_it_owns(real_world):
    observer = real_world.observer()
    observer.start(Scope((real_world.namespace,)))
    real_world.job("evaluation", 0.5)
    seen = collected(real_world, observer, lambda o: o.kind == "job" and o.detail["complete"] is True)
    facts = [JobFact.from_detail(o.detail) for o in seen if o.kind == "job"]
    assert facts[0].complete is None
    assert (facts[-1].succeeded, facts[-1].active, facts[-1].failed_for_good) == (1, 0, None)
    assert facts[-1].completed_unix_s >= facts[-1].created_unix_s
    pods = [PodFact.from_detail(o.detail) for o in seen if o.kind == "pod"]
    assert {p.owner for p in pods} == {"Job/evaluation"}
    assert {p.priority for p in pods} == {0}
