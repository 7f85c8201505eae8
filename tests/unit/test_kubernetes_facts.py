"""API objects to facts: what is absent is never 0 and never healthy (CASES A12, A13, A14, B05)."""

import pytest

from harness.drivers.kubernetes.facts import (
    hpa_fact,
    job_fact,
    match_labels,
    node_fact,
    pdb_fact,
    pod_fact,
    quantity,
    scaled_object_fact,
    unix_s,
    workload_fact,
)

META = {"name": "x", "namespace": "agents", "uid": "u", "resourceVersion": "7"}


def obj(spec=None, status=None, **meta):
    return {"metadata": {**META, **meta}, "spec": spec or {}, "status": status or {}}


def conditions(**found):
    return [
        {"type": kind, "status": state, "lastTransitionTime": "2026-11-25T02:00:00Z"} for kind, state in found.items()
    ]


@pytest.mark.parametrize(
    ("status", "meta", "ready"),
    [
        ({"phase": "Running", "conditions": conditions(Ready="True")}, {}, True),
        ({"phase": "Running", "conditions": conditions(Ready="False")}, {}, False),
        ({"phase": "Running", "conditions": conditions(Ready="Unknown")}, {}, False),
        (
            {"phase": "Running", "conditions": conditions(Ready="True")},
            {"deletionTimestamp": "2026-11-25T02:00:00Z"},
            False,
        ),
        ({"phase": "Pending"}, {}, False),
        ({"phase": "Pending", "conditions": None}, {}, False),
        ({}, {}, False),
    ],
)
def test_a_pod_is_ready_by_its_condition_and_only_while_it_is_not_terminating_a12(status, meta, ready):
    fact = pod_fact(obj(status=status, **meta))
    assert fact.ready is ready
    assert fact.terminating is ("deletionTimestamp" in meta)


def test_a_running_pod_keeps_its_times_owner_restarts_and_node():
    owners = [{"kind": "Job", "name": "no"}, {"kind": "ReplicaSet", "name": "planner-1", "controller": True}]
    status = {
        "phase": "Running",
        "conditions": conditions(PodScheduled="True", Ready="True"),
        "containerStatuses": [{"restartCount": 2, "state": {"running": {}}}, {"restartCount": 1}],
    }
    fact = pod_fact(obj({"nodeName": "general-1"}, status, ownerReferences=owners, labels={"app": "planner"}))
    assert (fact.owner, fact.restarts, fact.node) == ("ReplicaSet/planner-1", 3, "general-1")
    assert fact.scheduled_unix_s == fact.ready_unix_s == unix_s("2026-11-25T02:00:00Z")
    assert fact.labels == {"app": "planner"}


@pytest.mark.parametrize(
    ("status", "disruption", "reason"),
    [
        ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]},
         "EvictionByEvictionAPI", ""),
        ({"conditions": [{"type": "DisruptionTarget", "status": "False", "reason": "EvictionByEvictionAPI"}]}, "", ""),
        ({"phase": "Failed", "reason": "Evicted"}, "", "Evicted"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}, "", "CrashLoopBackOff"),
        ({"containerStatuses": [{"state": {"terminated": {"reason": "OOMKilled"}}}]}, "", "OOMKilled"),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}, "", "Unschedulable"),
    ],
)  # fmt: skip
def test_why_a_pod_is_as_it_is(status, disruption, reason):
    fact = pod_fact(obj(status=status))
    assert (fact.disruption, fact.reason) == (disruption, reason)


def test_a_cordoned_node_may_be_ready_and_says_that_it_is_cordoned_a14():
    taints = [{"key": "gpu", "value": "true", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]
    status = {"conditions": conditions(Ready="True"), "allocatable": {"nvidia.com/gpu": "4"}}
    fact = node_fact(obj({"unschedulable": True, "taints": taints}, status))
    assert fact.ready
    assert fact.unschedulable
    assert fact.taints == ["a=:NoExecute", "gpu=true:NoSchedule"]
    assert fact.allocatable == {"nvidia.com/gpu": "4"}


def test_absent_lists_of_a_bare_node_are_empty():
    fact = node_fact({"metadata": {"name": "n", "uid": "u"}})
    assert (fact.ready, fact.taints, fact.labels, fact.allocatable, fact.namespace) == (False, [], {}, {}, "")


def test_absent_counters_of_a_workload_are_zero_and_its_generations_are_kept_a13():
    fact = workload_fact({**obj({"replicas": 3}, {"observedGeneration": 1}, generation=2), "kind": "StatefulSet"})
    assert (fact.generation, fact.observed_generation) == (2, 1)
    assert (fact.spec_replicas, fact.ready_replicas, fact.available_replicas) == (3, 0, 0)
    assert fact.workload_kind == "StatefulSet"


def test_replicas_zero_is_zero_and_not_unknown_a13():
    assert workload_fact(obj({"replicas": 0})).spec_replicas == 0


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}


def test_a_fresh_hpa_knows_nothing_b05():
    fact = hpa_fact(obj({"maxReplicas": 12, "metrics": [CPU]}, {"currentMetrics": None, "desiredReplicas": 0}))
    assert (fact.current_replicas, fact.desired_replicas, fact.cpu_current_percent) == (None, None, None)
    assert (fact.able, fact.active, fact.limited) == (None, None, None)
    assert (fact.min_replicas, fact.max_replicas, fact.cpu_target_percent) == (1, 12, 70)


def test_a_working_hpa_says_what_it_wants_and_why():
    current = {
        "type": "Resource",
        "resource": {"name": "cpu", "current": {"averageUtilization": 143, "averageValue": "143m"}},
    }
    status = {
        "conditions": [*conditions(AbleToScale="True", ScalingLimited="False"),
                       {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}],
        "currentReplicas": 3, "desiredReplicas": 9, "currentMetrics": [current],
    }  # fmt: skip
    reference = {"kind": "Deployment", "name": "planner", "apiVersion": "apps/v1"}
    fact = hpa_fact(obj({"minReplicas": 3, "maxReplicas": 12, "scaleTargetRef": reference, "metrics": [CPU]}, status))
    assert (fact.current_replicas, fact.desired_replicas, fact.cpu_current_percent) == (3, 9, 143)
    assert (fact.able, fact.active, fact.limited, fact.active_reason) == (True, True, False, "ValidMetricFound")
    assert fact.target == "Deployment/planner"


@pytest.mark.parametrize(
    ("current", "value"),
    [({"averageValue": "12500m"}, 12.5), ({"value": "40"}, 40.0), ({"value": "0", "averageValue": "1k"}, 0.0)],
)
def test_external_metrics_of_kedas_hpa_are_read_by_name(current, value):
    metric = {"type": "External", "external": {"metric": {"name": "s0-redis-streams-tool-tasks"}, "current": current}}
    fact = hpa_fact(
        obj({"maxReplicas": 10}, {"conditions": conditions(AbleToScale="True"), "currentMetrics": [metric]})
    )
    assert fact.metric_current == {"s0-redis-streams-tool-tasks": value}
    assert fact.cpu_current_percent is None


def test_an_empty_current_metric_is_left_out():
    status = {"conditions": conditions(AbleToScale="True"), "currentMetrics": [{"type": ""}]}
    assert hpa_fact(obj({"maxReplicas": 1}, status)).metric_current == {}


def test_a_scaled_object_without_status_takes_kedas_defaults_and_knows_nothing():
    fact = scaled_object_fact(obj({"scaleTargetRef": {"name": "tool-adapter"}}))
    assert (fact.target, fact.min_replicas, fact.max_replicas) == ("Deployment/tool-adapter", 0, 100)
    assert (fact.polling_interval_s, fact.cooldown_s) == (30.0, 300.0)
    assert (fact.ready, fact.active, fact.fallback, fact.paused) == (None, None, None, False)


def test_a_scaled_object_that_scales_says_so():
    status = {"hpaName": "keda-hpa-x", "conditions": [
        {"type": "Ready", "status": "True", "reason": "ScaledObjectReady"}, {"type": "Active", "status": "False"},
        {"type": "Fallback", "status": "Unknown"}]}  # fmt: skip
    fact = scaled_object_fact(obj({"scaleTargetRef": {"name": "a"}, "maxReplicaCount": 0, "cooldownPeriod": 0}, status))
    assert (fact.hpa_name, fact.ready, fact.active, fact.fallback) == ("keda-hpa-x", True, False, None)
    assert (fact.ready_reason, fact.max_replicas, fact.cooldown_s) == ("ScaledObjectReady", 0, 0.0)


@pytest.mark.parametrize(
    ("annotations", "status", "paused"),
    [
        ({"autoscaling.keda.sh/paused": "true"}, {}, True),
        ({"autoscaling.keda.sh/paused": "false"}, {}, False),
        ({"autoscaling.keda.sh/paused-replicas": "0"}, {}, True),
        ({}, {"conditions": conditions(Paused="True")}, True),
        ({}, {"conditions": conditions(Paused="Unknown")}, False),
    ],
)
def test_a_scaled_object_is_paused_by_annotation_or_condition(annotations, status, paused):
    assert scaled_object_fact(obj(status=status, annotations=annotations)).paused is paused


def test_a_fresh_budget_has_no_figures_though_its_status_holds_zeros_f02():
    zeros = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}
    fact = pdb_fact(obj({"minAvailable": 2}, zeros, generation=1))
    assert (fact.current_healthy, fact.desired_healthy, fact.disruptions_allowed, fact.computed) == (
        None,
        None,
        None,
        None,
    )
    assert (fact.min_available, fact.max_unavailable) == ("2", None)


def test_a_computed_budget_shows_the_clusters_own_rounding_f02():
    status = {
        "observedGeneration": 1,
        "currentHealthy": 3,
        "desiredHealthy": 1,
        "disruptionsAllowed": 2,
        "expectedPods": 3,
    }
    fact = pdb_fact(obj({"maxUnavailable": "40%"}, status, generation=1))
    assert (fact.max_unavailable, fact.desired_healthy, fact.disruptions_allowed, fact.computed) == ("40%", 1, 2, True)


@pytest.mark.parametrize(("generation", "reason"), [(2, "SufficientPods"), (1, "SyncFailed")])
def test_a_budget_is_not_computed_while_its_controller_lags_or_fails(generation, reason):
    allowed = {"type": "DisruptionAllowed", "status": "True", "reason": reason}
    assert (
        pdb_fact(obj(status={"observedGeneration": 1, "conditions": [allowed]}, generation=generation)).computed
        is False
    )


def test_a_selector_expression_never_selects_too_much():
    expressions = [{"key": "app", "operator": "In", "values": ["planner"]}, {"key": "tier", "operator": "Exists"}]
    labels = match_labels({"matchLabels": {"a": "b"}, "matchExpressions": expressions})
    assert labels == {"a": "b", "app": "planner", "tier Exists ()": ""}
    assert match_labels(None) == {}


@pytest.mark.parametrize(("text", "value"), [("250m", 0.25), ("1Ki", 1024.0), ("12345n", 1.2345e-05), ("2", 2.0)])
def test_quantities(text, value):
    assert quantity(text) == pytest.approx(value)


def test_a_job_that_has_not_spoken_has_no_conditions_and_counts_nothing():
    fact = job_fact(obj(spec={"completions": 1}))
    assert (fact.complete, fact.failed_for_good, fact.completed_unix_s) == (None, None, None)
    assert (fact.active, fact.succeeded, fact.failed, fact.completions, fact.parallelism) == (0, 0, 0, 1, 1)


def test_a_job_tells_how_it_ended():
    done = {"succeeded": 2, "failed": 1, "completionTime": "2026-11-25T02:00:00Z",
            "conditions": conditions(Complete="True")}  # fmt: skip
    fact = job_fact(obj(spec={"parallelism": 2, "suspend": True}, status=done, labels={"job": "eval"}))
    assert (fact.complete, fact.succeeded, fact.failed, fact.parallelism) == (True, 2, 1, 2)
    assert fact.completed_unix_s == unix_s("2026-11-25T02:00:00Z")
    assert (fact.suspended, fact.labels) == (True, {"job": "eval"})
    failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
    over = job_fact(obj(status={"conditions": failed}))
    assert (over.failed_for_good, over.reason) == (True, "BackoffLimitExceeded")


def test_a_pod_carries_its_priority_and_an_unknown_one_is_not_0():
    assert pod_fact(obj(spec={"priority": 1000})).priority == 1000
    assert pod_fact(obj()).priority is None


def test_an_hpas_behavior_is_read_and_kubernetes_defaults_fill_the_rest():
    hpa = {
        "metadata": {"uid": "u", "namespace": "a", "name": "h"},
        "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"tolerance": "50m", "stabilizationWindowSeconds": 20}}},
    }
    found = hpa_fact(hpa)
    assert (found.up_tolerance_ratio, found.up_stabilisation_s, found.down_stabilisation_s) == (0.05, 20.0, 300.0)
    hpa["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    assert (hpa_fact(hpa).down_stabilisation_s, hpa_fact(hpa).up_tolerance_ratio) == (0.0, 0.1)
