"""The observer against a stub: who we are (CASES B07), stale metrics (F20), an absent CRD, a list that is refused."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from harness.drivers.kubernetes.observer import KubernetesObserver, identity_permissions, observer_permissions
from harness.drivers.kubernetes.resources import (
    DEPLOYMENTS,
    EVENTS,
    HPAS,
    JOBS,
    NODES,
    PDBS,
    PODS,
    SCALED_OBJECTS,
    STATEFUL_SETS,
)
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError
from harness.model.experiment import Scope
from tests.unit.kubernetes_stub import pod, pod_list, status, stub_api

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/agents/pods"
SCOPE = Scope(("agents",))
WATCHED = (PODS, DEPLOYMENTS, STATEFUL_SETS, HPAS, PDBS, JOBS, EVENTS)


def observe(connection):
    return KubernetesObserver(connection, RealClock.starting_now())


@pytest.mark.parametrize("user", ["system:anonymous", ""])
def test_credentials_that_did_not_arrive_are_an_error_b07(user):
    with stub_api() as (stub, connection):
        stub.on("POST", REVIEW, lambda e: e.json(201, {"status": {"userInfo": {"username": user}}}))
        with pytest.raises(PortError, match=r"the API server sees .* — the credentials of context stub did not reach"):
            observe(connection).identify()
        assert [e.path for e in stub.requests] == [REVIEW], "nothing more is read of a cluster that does not know us"


def sample(name, age_s, *cpus):
    taken = datetime.now(UTC) - timedelta(seconds=age_s)
    containers = [{"name": str(number), "usage": {"cpu": cpu}} for number, cpu in enumerate(cpus)]
    return {"metadata": {"name": name}, "timestamp": taken.strftime("%Y-%m-%dT%H:%M:%SZ"), "containers": containers}


def test_pod_metrics_are_cores_of_all_containers_and_stale_ones_are_left_out_f20():
    items = [sample("fresh", 10, "100m", "50000000n"), sample("stale", 600, "1")]
    with stub_api() as (stub, connection):
        stub.on("GET", METRICS, lambda e: e.json(200, {"items": items}))
        assert observe(connection).pod_metrics("agents") == {"fresh": pytest.approx(0.15)}


@pytest.mark.parametrize("code", [404, 503])
def test_metrics_that_are_down_are_empty_and_refused_ones_are_an_error_f20(code):
    with stub_api() as (stub, connection):
        stub.on("GET", METRICS, lambda e: e.json(code, status(code, "ServiceUnavailable", "down")))
        assert observe(connection).pod_metrics("agents") == {}
        stub.on("GET", METRICS, lambda e: e.json(403, status(403, "Forbidden", "no")))
        with pytest.raises(PortError):
            observe(connection).pod_metrics("agents")


def serve_lists(stub, *resources):
    stub.on("GET", NODES.path(), lambda e: e.json(200, pod_list("1")))
    stub.on("GET?watch", NODES.path(), lambda e: e.stream(then="silent"))
    for resource in resources:
        stub.on("GET", resource.path("agents"), lambda e: e.json(200, pod_list("1")))
        stub.on("GET?watch", resource.path("agents"), lambda e: e.stream(then="silent"))


def test_scaled_objects_are_watched_only_where_their_crd_is_installed():
    entry = {"name": "scaledobjects", "kind": "ScaledObject", "namespaced": True}
    with stub_api() as (stub, connection):
        serve_lists(stub, *WATCHED, SCALED_OBJECTS)
        without = observe(connection)
        without.start(SCOPE)
        without.stop()
        stub.on("GET", "/apis/keda.sh/v1alpha1", lambda e: e.json(200, {"resources": [entry]}))
        with_keda = observe(connection)
        with_keda.start(SCOPE)
        with_keda.stop()
    subject = "scaledobjects.keda.sh in agents"
    assert subject not in {o.subject for o in without.poll()}
    assert subject in {o.subject for o in with_keda.poll()}


def test_a_list_that_is_refused_ends_the_start_and_leaves_no_watch_behind():
    with stub_api() as (stub, connection):
        serve_lists(stub, *WATCHED)
        stub.on("GET", PDBS.path("agents"), lambda e: e.json(403, status(403, "Forbidden", "pdbs is forbidden")))
        observer = observe(connection)
        with pytest.raises(PortError, match="pdbs is forbidden"):
            observer.start(SCOPE)
        states = [o.detail["state"] for o in observer.poll() if o.kind == "watch"]
    assert states.count("open") == states.count("closed") > 0


def test_a_change_carries_the_time_at_which_it_was_seen():
    added = {"type": "ADDED", "object": pod("a", "u1", "2")}
    with stub_api() as (stub, connection):
        serve_lists(stub, *WATCHED)
        stub.on("GET?watch", PODS.path("agents"), lambda e: e.stream(added, then="silent"))
        clock = RealClock.starting_now()
        observer = KubernetesObserver(connection, clock)
        observer.start(SCOPE)
        seen = []
        deadline = time.monotonic() + 10
        while not any(o.kind == "pod" for o in seen) and time.monotonic() < deadline:
            seen += observer.poll()
            time.sleep(0.01)
        observer.stop()
        assert 0 <= next(o.t_s for o in seen if o.kind == "pod") <= clock.now_s()


def test_the_permissions_that_are_asked_for_cover_lists_and_watches_once_each():
    texts = [str(p) for p in observer_permissions(("agents",), keda=True)]
    assert len(texts) == len(set(texts))
    expected = {"watch nodes", "list pods in agents", "watch scaledobjects.keda.sh in agents",
                "watch jobs.batch in agents",
                "list resourcequotas in agents", "list pods.metrics.k8s.io in agents"}  # fmt: skip
    assert expected <= set(texts)
    assert "watch resourcequotas in agents" not in texts


def test_a_cluster_is_told_by_reading_kube_system_and_each_namespace_itself():
    texts = [str(p) for p in identity_permissions(("agents", "gameday-system"))]
    assert texts == [f"get namespaces in {name}" for name in ("kube-system", "agents", "gameday-system")]
