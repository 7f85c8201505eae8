"""What `gameday rbac` prints is enough for an experiment, and no more, as a real API server judges it."""

from dataclasses import replace

import pytest

from harness import assembly, preflight, registries
from harness.drivers.kubernetes import kubeconfig
from harness.drivers.kubernetes.connection import Call, Connection
from harness.drivers.kubernetes.observer import KubernetesObserver
from harness.drivers.kubernetes.people import PeopleWatch, people_permissions
from harness.model.fault import Permission
from harness.rbac import manifests, subject_of
from tests.contract.cluster_world import SYSTEM_NAMESPACE, WallClock
from tests.unit.conductor_doubles import TARGET

pytestmark = pytest.mark.testbed

UNRELATED = (
    Permission("get", "secrets", namespace=SYSTEM_NAMESPACE),
    Permission("delete", "namespaces"),
    Permission("create", "clusterrolebindings", "rbac.authorization.k8s.io"),
)
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def needs(name, namespace):
    """Return what an experiment needs, with the test's namespace for those of the platform."""
    experiment = registries.load(registries.experiment_path(name))
    target = replace(TARGET, system_namespace=SYSTEM_NAMESPACE)
    asked = (
        *assembly.driver_permissions(experiment, target),
        *preflight.fault_permissions(experiment, registries.faults()),
    )
    here = {"", SYSTEM_NAMESPACE, "kube-system"}
    moved = (p if p.namespace in here else replace(p, namespace=namespace) for p in asked)
    return tuple(dict.fromkeys(moved))


def path_of(manifest):
    namespace = manifest["metadata"].get("namespace", "")
    return f"{RBAC}/" + (f"namespaces/{namespace}/" if namespace else "") + manifest["kind"].lower() + "s"


@pytest.fixture
def grant(real_world):
    """Create manifests as the administrator; take them away after the test."""
    made = []

    def create(found):
        for manifest in found:
            real_world._post(path_of(manifest), manifest)
            made.append(f"{path_of(manifest)}/{manifest['metadata']['name']}")

    yield create
    for path in made:
        real_world._admin.send(Call(f"delete {path}", "DELETE", path))


def connected_as(light_testbed, user):
    """Return a connection that the API server takes for a user's, by impersonation."""
    from kubernetes.client import ApiClient  # noqa: PLC0415 - kept out of collection

    path = light_testbed["kubeconfig"].rsplit("/", 1)[0] + "/admin.kubeconfig"

    def make_client():
        client = ApiClient(kubeconfig.load(path, light_testbed["context"]))
        client.set_default_header("Impersonate-User", user)
        return client

    return Connection(make_client, light_testbed["context"])


def seen_by(light_testbed, user):
    return KubernetesObserver(connected_as(light_testbed, user), WallClock())


@pytest.mark.parametrize("name", ["pod-kill-under-burst", "cascade"])
def test_a_user_with_exactly_the_printed_rights_passes_the_access_review_and_may_do_nothing_else(
    name, real_world, light_testbed, grant
):
    user = f"runner-{real_world.namespace}"
    wanted, observer = needs(name, real_world.namespace), seen_by(light_testbed, user)
    assert set(observer.allowed(wanted)) == set(wanted)  # the review can refuse
    grant(manifests(f"gameday:{name}:{real_world.namespace}", wanted, subject_of(user, "")))
    real_world.until(lambda: not observer.allowed(wanted) or None, f"rights of {user}")
    assert observer.identify().user == user  # what comes first of all
    assert observer.namespace_labels(real_world.namespace) is not None
    assert set(observer.allowed(UNRELATED)) == set(UNRELATED)


def test_a_user_with_a_drills_printed_rights_sees_all_that_people_change(real_world, light_testbed, grant):
    user = f"drill-{real_world.namespace}"
    wanted, observer = people_permissions([real_world.namespace], SYSTEM_NAMESPACE), seen_by(light_testbed, user)
    grant(manifests(f"gameday:drill:{real_world.namespace}", wanted, subject_of(user, "")))
    real_world.until(lambda: not observer.allowed(wanted) or None, f"rights of {user}")
    watch = PeopleWatch(connected_as(light_testbed, user), [real_world.namespace], SYSTEM_NAMESPACE)
    try:
        watch.start()
        watch._learn_ours()
        assert watch.troubles() == []
    finally:
        watch.stop()
