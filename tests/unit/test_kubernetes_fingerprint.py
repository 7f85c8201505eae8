"""What a fingerprint holds and what it leaves out (DESIGN U6), and how two are compared."""

from harness.drivers.kubernetes.fingerprint import node_print, object_print, our_annotations, scaled_targets
from harness.model.fingerprint import Difference, fingerprint_difference


def node(**spec):
    status = {
        "capacity": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "4"},
        "allocatable": {"cpu": "4", "memory": "7Gi", "nvidia.com/gpu": "4"},
    }
    return {"metadata": {"name": "n", "labels": {"zone": "a"}}, "spec": spec, "status": status}


def test_a_cordon_and_our_taints_are_seen_and_the_node_controllers_taints_are_not():
    ours = {"key": "gameday", "value": "x", "effect": "NoSchedule"}
    theirs = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    found = node_print(node(unschedulable=True, taints=[ours, theirs]))
    assert found["unschedulable"] is True
    assert found["taints"] == ["gameday=x:NoSchedule"]
    assert node_print(node())["unschedulable"] is False


def test_devices_are_counted_and_memory_that_wanders_is_not():
    found = node_print(node())
    assert found["capacity"] == found["allocatable"] == {"cpu": "4", "nvidia.com/gpu": "4"}


def deployment(replicas=3, name="planner"):
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "template": {"spec": {}}}}


def test_replicas_under_an_autoscaler_are_not_ours_to_compare_f12():
    hpa = {"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "planner"}}}
    scaled_object = {"metadata": {"name": "s"}, "spec": {"scaleTargetRef": {"name": "tool-adapter"}}}
    scaled = scaled_targets({"HorizontalPodAutoscaler": [hpa], "ScaledObject": [scaled_object]})
    assert scaled == {("Deployment", "planner"), ("Deployment", "tool-adapter")}
    assert "replicas" not in object_print("Deployment", deployment(), scaled)
    assert object_print("Deployment", deployment(name="inference"), scaled)["replicas"] == 3


def test_a_changed_template_or_pause_differs():
    first, second = deployment(), deployment()
    second["spec"] |= {"paused": True, "template": {"spec": {"x": 1}}}
    found = fingerprint_difference(
        {"d": object_print("Deployment", first, set())}, {"d": object_print("Deployment", second, set())}
    )
    assert [d.pointer for d in found] == ["/paused", "/template_sha256"]


def test_an_hpa_that_keda_owns_is_left_out():
    owned = {"metadata": {"name": "h", "ownerReferences": [{"kind": "ScaledObject", "name": "s"}]}, "spec": {}}
    assert object_print("HorizontalPodAutoscaler", owned, set()) is None


def test_annotations_of_faults_are_kept_and_the_trace_of_an_undo_is_not():
    annotations = {
        "gameday.local/owner": "run", "gameday.local/last-undo": "x", "testbed.gameday.local/stopped": "true",
        "autoscaling.keda.sh/paused": "true", "kubectl.kubernetes.io/restartedAt": "y",
    }  # fmt: skip
    kept = our_annotations({"annotations": annotations})
    assert set(kept) == {"gameday.local/owner", "testbed.gameday.local/stopped", "autoscaling.keda.sh/paused"}


def test_equal_fingerprints_have_no_difference():
    assert fingerprint_difference({"Node/n": node_print(node())}, {"Node/n": node_print(node())}) == []


def test_a_difference_names_object_field_and_both_values():
    before = {"Node/n": {"taints": [], "labels": {"a/b": "1"}}}
    after = {"Node/n": {"taints": ["x=:NoSchedule"], "labels": {}}, "Pod/agents/helper": {"gameday.local/run": "r"}}
    assert fingerprint_difference(before, after) == [
        Difference("Node/n", "/labels/a~1b", "1", None),
        Difference("Node/n", "/taints", [], ["x=:NoSchedule"]),
        Difference("Pod/agents/helper", "", None, {"gameday.local/run": "r"}),
    ]
    assert str(fingerprint_difference(before, after)[0]) == "Node/n /labels/a~1b: '1' → None"
