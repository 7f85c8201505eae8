"""Faults that get one setting wrong, on a real API server: proof, undo, and whoever set it meanwhile is respected."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.faults.context import FaultError
from experiments.faults.network import SIGNAL as QUEUE_UNAVAILABLE
from experiments.faults.rollout import SIGNAL as ANSWERS
from harness.drivers.kubernetes.connection import MERGE_PATCH, Call
from harness.model.fault import ObjectRef
from harness.model.signal import Signal
from tests.contract.cluster_world import SYSTEM_NAMESPACE
from tests.contract.fault_stage import GPU_NODE, Stage, marks

pytestmark = pytest.mark.testbed

POLICIES = Path(__file__).parents[2] / "testbed" / "manifests" / "base"
PLATFORM = {"planner": "agents", "redis": "platform-infra"}


@dataclass
class Counter:
    """A metrics store with one counter, whose value the test makes up from the cluster."""

    answer: Callable[[], Mapping[str, float]]

    def instant(self, signal: Signal) -> Mapping[str, float]:
        assert signal.query == "q"
        return self.answer()


def send(stage: Stage, verb: str, path: str, body: Any, content_type: str = "application/json") -> dict[str, Any]:
    """Do something as a person with every right would."""
    return stage.world._admin.send(Call(f"{verb} {path}", verb, path, body=body, content_type=content_type))


# break_rollout --------------------------------------------------------------------------------------------------------

READY = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}
SERVER = (
    "import http.server as h, os\n"
    "class A(h.BaseHTTPRequestHandler):\n"
    "  def do_GET(self):\n"
    "    self.send_response(200 if self.path == '/readyz' else 404); self.end_headers()\n"
    "  def log_message(self, *_): pass\n"
    "h.HTTPServer((os.environ['BIND_IP'], 8080), A).serve_forever()\n"
)


@pytest.fixture
def planner(stage: Stage) -> ObjectRef:
    """A Deployment of two pods that say when they are ready."""
    ref = ObjectRef("apps/v1", "Deployment", "planner", stage.world.namespace)
    container = {
        "name": "planner", "image": "gameday-platform:dev", "command": ["python", "-c", SERVER],
        "readinessProbe": READY, "env": [{"name": "A", "value": "1"}],
    }  # fmt: skip
    labels = {"app": "planner"}
    spec = {
        "replicas": 2,
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels},
                     "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}},
    }  # fmt: skip
    path = f"/apis/apps/v1/namespaces/{ref.namespace}/deployments"
    send(stage, "POST", path, {"metadata": {"name": ref.name}, "spec": spec})
    settled(stage, ref)
    return ref


def settled(stage: Stage, ref: ObjectRef) -> dict[str, Any]:
    def looks() -> dict[str, Any] | None:
        found = stage.get(ref)
        status, meta = found.get("status", {}), found["metadata"]
        counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")}
        return found if counts == {2} and status["observedGeneration"] == meta["generation"] else None

    return stage.until(looks, "two pods of the newest template are Ready and no others are there")


def template(found: Mapping[str, Any]) -> Any:
    return found["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("image", r"(ErrImagePull|ImagePullBackOff)"),
        ("command", "CrashLoopBackOff"),
        ("probe", "runs and is not Ready"),
    ],
)
def test_a_rollout_gets_stuck_in_the_kubelets_words_and_goes_back(
    stage: Stage, planner: ObjectRef, variant: str, reason: str
) -> None:
    before = template(settled(stage, planner))
    told = stage.carry_out("break_rollout", namespace=planner.namespace, name="planner", variant=variant)
    now = stage.get(planner)
    assert told["effect"] == "CONFIRMED" and len(marks(now)) == 1
    assert any(part in told["reason"] for part in reason.strip("()").split("|"))
    assert now["status"]["readyReplicas"] == 2 and now["status"]["updatedReplicas"] == 1

    (outcome,) = stage.undo()
    assert "restored" in outcome
    after = settled(stage, planner)
    assert template(after) == before and marks(after) == []


def test_a_tag_that_does_not_exist_is_told_by_an_event_as_a_kubelet_does(stage: Stage, planner: ObjectRef) -> None:
    stage.carry_out("break_rollout", namespace=planner.namespace, name="planner", variant="image")

    def events() -> list[str]:
        found = stage.world.actor().find("v1", "Event", planner.namespace)
        return [str(e["message"]) for e in found if e["reason"] == "Failed"]

    (message,) = stage.until(events, "a warning about the image")
    assert message.startswith('Failed to pull image "gameday-platform:v2": rpc error: code = NotFound')
    stage.undo()
    settled(stage, planner)


def test_pods_that_get_ready_and_answer_badly_are_known_by_their_counter(stage: Stage, planner: ObjectRef) -> None:
    def bad_answers() -> dict[str, float]:
        pods = stage.world.actor().pods(planner.namespace, {"app": "planner"})
        new = [p.name for p in pods if p.uid not in old and p.ready]
        return {f'code="503", pod="{name}"': 3.0 for name in new}

    old = {p.uid for p in stage.world.actor().pods(planner.namespace, {"app": "planner"})}
    stage.signals, stage.metrics = {ANSWERS: Signal(ANSWERS, "q", counter=True)}, Counter(bad_answers)
    wrong = {"variant": "env", "env": {"name": "A", "value": "2"}}
    told = stage.carry_out("break_rollout", namespace=planner.namespace, name="planner", **wrong)
    assert told["effect"] == "CONFIRMED" and "bad answers" in told["reason"]
    stage.undo()
    assert template(settled(stage, planner))["env"] == [{"name": "A", "value": "1"}]


def test_a_person_who_rolled_back_is_not_fought(stage: Stage, planner: ObjectRef) -> None:
    """As ``kubectl rollout undo`` does it: the whole template and the annotations of the revision before."""
    before = stage.get(planner)
    stage.carry_out("break_rollout", namespace=planner.namespace, name="planner", variant="image")
    path = f"/apis/apps/v1/namespaces/{planner.namespace}/deployments/planner"
    operations = [
        {"op": "replace", "path": "/spec/template", "value": before["spec"]["template"]},
        {"op": "replace", "path": "/metadata/annotations", "value": before["metadata"]["annotations"]},
    ]
    send(stage, "PATCH", path, operations, "application/json-patch+json")
    theirs = settled(stage, planner)["spec"]
    (outcome,) = stage.undo()
    assert "restored" not in outcome and "already as before" in outcome
    assert stage.get(planner)["spec"] == theirs


def test_a_person_who_rolled_on_is_not_fought(stage: Stage, planner: ObjectRef) -> None:
    stage.carry_out("break_rollout", namespace=planner.namespace, name="planner", variant="image")
    path = f"/apis/apps/v1/namespaces/{planner.namespace}/deployments/planner"
    operations = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mended:1"}]
    send(stage, "PATCH", path, operations, "application/json-patch+json")
    (outcome,) = stage.undo()
    after = settled(stage, planner)
    assert "left alone" in outcome and template(after)["image"] == "mended:1" and marks(after) == []


# pin_autoscaler -------------------------------------------------------------------------------------------------------


@pytest.fixture
def autoscaler(stage: Stage) -> ObjectRef:
    """An autoscaler of nothing, whose controller the test plays: here is no metrics API that it could scale by."""
    ref = ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", "planner", stage.world.namespace)
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"}
    spec = {"minReplicas": 2, "maxReplicas": 9, "scaleTargetRef": aim}
    path = f"/apis/autoscaling/v2/namespaces/{ref.namespace}/horizontalpodautoscalers"
    send(stage, "POST", path, {"metadata": {"name": ref.name}, "spec": spec})
    return ref


def says_limited(stage: Stage, ref: ObjectRef, reason: str) -> None:
    path = f"/apis/autoscaling/v2/namespaces/{ref.namespace}/horizontalpodautoscalers/{ref.name}/status"
    condition = {"type": "ScalingLimited", "status": "True", "reason": reason,
                 "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    status = {"currentReplicas": 2, "desiredReplicas": 2, "conditions": [condition]}
    send(stage, "PATCH", path, {"status": status}, MERGE_PATCH)


def test_an_autoscaler_is_pinned_and_gets_its_bound_back(stage: Stage, autoscaler: ObjectRef) -> None:
    says_limited(stage, autoscaler, "TooManyReplicas")
    told = stage.carry_out("pin_autoscaler", namespace=autoscaler.namespace, name="planner")
    found = stage.get(autoscaler)
    assert told["effect"] == "CONFIRMED" and found["spec"]["maxReplicas"] == 2 and len(marks(found)) == 1
    (outcome,) = stage.undo()
    found = stage.get(autoscaler)
    assert "restored" in outcome and found["spec"]["maxReplicas"] == 9 and marks(found) == []


def test_an_autoscaler_that_wants_no_more_is_no_proof(stage: Stage, autoscaler: ObjectRef) -> None:
    says_limited(stage, autoscaler, "TooFewReplicas")
    with pytest.raises(FaultError, match="ABSENT"):
        stage.carry_out("pin_autoscaler", 8.0, namespace=autoscaler.namespace, name="planner", max_replicas=2)
    stage.undo()
    assert stage.get(autoscaler)["spec"]["maxReplicas"] == 9


def test_a_bound_that_a_person_set_stays(stage: Stage, autoscaler: ObjectRef) -> None:
    says_limited(stage, autoscaler, "TooManyReplicas")
    stage.carry_out("pin_autoscaler", namespace=autoscaler.namespace, name="planner", max_replicas=2)
    path = f"/apis/autoscaling/v2/namespaces/{autoscaler.namespace}/horizontalpodautoscalers/planner"
    send(stage, "PATCH", path, {"spec": {"maxReplicas": 7}}, MERGE_PATCH)
    (outcome,) = stage.undo()
    found = stage.get(autoscaler)
    assert "left alone" in outcome and found["spec"]["maxReplicas"] == 7 and marks(found) == []


# cut_network ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def platform(stage: Stage) -> Iterator[ObjectRef]:
    """The platform's namespaces, policies and labels, with pods that only sleep; yields the policy that lets out."""
    for app, namespace in PLATFORM.items():
        send(stage, "POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for policy in yaml.safe_load_all((POLICIES / namespace / "networkpolicies.yaml").read_text("utf-8")):
            send(stage, "POST", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies", policy)
        container = {"name": app, "image": "sleep", "command": ["sleep", "600"]}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
        body = {"metadata": {"name": app, "labels": {"app": app}}, "spec": spec}

        def account(namespace: str = namespace) -> bool:
            accounts = stage.world._admin.get("accounts", f"/api/v1/namespaces/{namespace}/serviceaccounts")
            return any(one["metadata"]["name"] == "default" for one in accounts["items"])

        stage.until(account, f"the ServiceAccount of {namespace}")
        send(stage, "POST", f"/api/v1/namespaces/{namespace}/pods", body)

    def ready() -> bool:
        pods = [stage.world.actor().pod(namespace, app) for app, namespace in PLATFORM.items()]
        return all(pod is not None and pod.ready for pod in pods)

    stage.until(ready, "planner and redis are Ready")
    yield ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "redis-and-dns", "agents")
    for namespace in PLATFORM.values():
        send(stage, "DELETE", f"/api/v1/namespaces/{namespace}", None)

    def gone() -> bool:
        listed = stage.world._admin.get("namespaces", "/api/v1/namespaces")["items"]
        return not {n["metadata"]["name"] for n in listed} & set(PLATFORM.values())

    stage.until(gone, "both namespaces are gone")


def listeners(stage: Stage) -> list[str]:
    path = Path(stage.world._target["kubeconfig"]).parent / "eds" / "listeners.json"
    return [one["name"] for one in json.loads(path.read_text("utf-8"))["resources"]]


def cut(stage: Stage, max_hold_s: float = 40.0) -> dict[str, Any]:
    policy = {"namespace": "agents", "policy": "redis-and-dns", "selector": "app=planner"}
    return stage.carry_out("cut_network", max_hold_s, **policy)


def test_the_testbed_shuts_the_planners_way_to_redis_and_opens_it_with_the_undo(
    stage: Stage, platform: ObjectRef
) -> None:
    def missed() -> dict[str, float]:
        return {'pod="planner"': 0.0 if listeners(stage) else 5.0}

    stage.signals, stage.metrics = {QUEUE_UNAVAILABLE: Signal(QUEUE_UNAVAILABLE, "q", counter=True)}, Counter(missed)
    assert listeners(stage) == ["planner_redis"]
    told = cut(stage)
    assert told["effect"] == "CONFIRMED" and "rose by 5" in told["reason"] and listeners(stage) == []
    assert len(marks(stage.get(platform))) == 1
    (outcome,) = stage.undo()
    assert "restored" in outcome and marks(stage.get(platform)) == []
    stage.until(lambda: listeners(stage) == ["planner_redis"], "the way is open again")


def test_a_policy_that_a_person_mended_by_applying_the_manifest_stays(stage: Stage, platform: ObjectRef) -> None:
    stage.signals = {QUEUE_UNAVAILABLE: Signal(QUEUE_UNAVAILABLE, "q", counter=True)}
    stage.metrics = Counter(lambda: {"x": 0.0})
    with pytest.raises(FaultError, match=r"ABSENT: .*does not enforce its policies"):
        cut(stage, 8.0)
    found = stage.get(platform)
    selector = found["spec"]["podSelector"]["matchExpressions"][0] | {
        "values": ["planner", "tool-adapter", "evaluation"]
    }
    path = "/apis/networking.k8s.io/v1/namespaces/agents/networkpolicies/redis-and-dns"
    send(stage, "PATCH", path, {"spec": {"podSelector": {"matchExpressions": [selector]}}}, MERGE_PATCH)
    (outcome,) = stage.undo()
    assert "already as before" in outcome and marks(stage.get(platform)) == []


# the demand for GPUs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["hold", "unplug"])
def test_a_workload_that_needs_more_devices_waits_and_is_scaled_back(stage: Stage, backend: str) -> None:
    ref = ObjectRef("apps/v1", "Deployment", "inference", stage.world.namespace)
    limits = {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}
    container = {"name": "main", "image": "sleep", "command": ["sleep", "600"], "resources": limits}
    tolerations = [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    pod = {"containers": [container], "tolerations": tolerations, "terminationGracePeriodSeconds": 1}
    labels = {"app": "inference"}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    path = f"/apis/apps/v1/namespaces/{ref.namespace}/deployments"
    send(stage, "POST", path, {"metadata": {"name": ref.name}, "spec": spec})
    stage.until(lambda: stage.get(ref).get("status", {}).get("readyReplicas") == 1, "one pod of inference runs")

    demand = {"namespace": ref.namespace, "name": ref.name, "replicas": 3}
    told = stage.carry_out("exhaust_gpus", backend=backend, demand=demand)
    assert told["effect"] == "CONFIRMED" and "2 of 3 pods" in told["reason"]
    stage.undo()
    assert stage.get(ref)["spec"]["replicas"] == 1 and marks(stage.get(ref)) == []
    assert stage.get(GPU_NODE)["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert stage.world.actor().find("v1", "Pod", SYSTEM_NAMESPACE, "gameday.local/helper") == []
