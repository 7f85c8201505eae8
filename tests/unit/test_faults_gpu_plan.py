"""How many devices are free, by the scheduler's arithmetic (experiments.faults.gpu_plan)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.faults.gpu_plan import free_devices, requested, unschedulable_message
from experiments.faults.helper_pods import helper_name, tolerations_of, waiting_pod
from harness.model.target import Target

GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-1g.5gb"
NODE = {
    "metadata": {"name": "gpu-1", "labels": {"kubernetes.io/hostname": "gpu-1"}},
    "spec": {"taints": [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]},
    "status": {"allocatable": {GPU: "4", MIG: "7", "cpu": "8"}},
}


def pod(*limits, phase="Running", **spec):
    containers = [{"resources": {"limits": {GPU: str(n)}}} for n in limits]
    return {"metadata": {}, "spec": {"containers": containers, **spec}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("pods", "free"),
    [
        ([], 4),
        ([pod(1), pod(1)], 2),
        ([pod(1, 2)], 1),
        ([pod(2, phase="Succeeded"), pod(1, phase="Failed")], 4),
        ([pod(1, phase="Pending")], 3),
        ([{**pod(1), "metadata": {"deletionTimestamp": "now"}}], 3),
        ([pod(4), pod(4)], 0),
        ([pod()], 4),
    ],
)
def test_g02_free_is_allocatable_minus_what_living_pods_ask_for(pods, free):
    assert free_devices(NODE, pods, GPU) == free


def test_init_containers_count_by_the_largest_and_sidecars_by_their_sum():
    big = {"resources": {"requests": {GPU: "3"}}}
    sidecar = {"resources": {"limits": {GPU: "1"}}, "restartPolicy": "Always"}
    assert requested(pod(1, initContainers=[big]), GPU) == 3
    assert requested(pod(1, initContainers=[sidecar]), GPU) == 2
    assert requested(pod(1, overhead={GPU: "1"}), GPU) == 2


def test_g07_another_resource_name_is_another_resource():
    assert free_devices(NODE, [pod(4)], MIG) == 7
    assert free_devices({"status": {}}, [], GPU) == 0


@given(st.lists(st.integers(0, 3), max_size=8))
def test_free_is_never_negative_and_never_more_than_allocatable(limits):
    assert 0 <= free_devices(NODE, [pod(n) for n in limits], GPU) <= 4


def test_only_the_schedulers_own_refusal_counts():
    def judged(status, reason):
        condition = {"type": "PodScheduled", "status": status, "reason": reason, "message": "Insufficient gpu"}
        return unschedulable_message({"status": {"conditions": [condition]}})

    assert judged("False", "Unschedulable") == "Insufficient gpu"
    assert judged("False", "SchedulingGated") == judged("True", "") == unschedulable_message({}) == ""


def test_f11_a_helper_pod_carries_no_label_of_the_platform_and_may_do_nothing():
    target = Target("t", "local", "c", "", "", "", "a=b", (), "", "", 1.0, helper_command=("sleep", "9"))
    made = waiting_pod("hold-1", "hold", target, resources={GPU: "1"}, node=NODE, priority_class="low")
    spec, container = made["spec"], made["spec"]["containers"][0]

    assert made["metadata"]["labels"] == {"gameday.local/helper": "hold"}
    assert made["metadata"]["namespace"] == target.system_namespace
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "gpu-1"} and "nodeName" not in spec
    assert spec["tolerations"] == tolerations_of(NODE) == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["automountServiceAccountToken"] is False and spec["securityContext"]["runAsNonRoot"] is True
    assert container["resources"]["requests"] == container["resources"]["limits"] == {GPU: "1"}
    assert container["command"] == ["sleep", "9"] and spec["priorityClassName"] == "low"


def test_names_of_helpers_differ_by_run_fault_and_number():
    names = {helper_name(run, fault, "hold", n) for run in "ab" for fault in "xy" for n in (1, 2)}
    assert len(names) == 8 and all(len(name) < 64 for name in names)
