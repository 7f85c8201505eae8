"""Faults that get one setting wrong (autoscaler, rollout, policy, demand for GPUs): proof, undo, whom undo respects."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from experiments.faults.context import FaultError
from experiments.faults.registry import FAULTS
from harness.drivers.kubernetes.residue import CLUSTER_MARKED_KINDS, MARKED_KINDS
from harness.model.fault import ObjectRef
from tests.unit.fault_stage import Stage, made

PLANNER = ObjectRef("apps/v1", "Deployment", "planner", "agents")
INFERENCE = ObjectRef("apps/v1", "Deployment", "inference", "agents")
HPA = ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", "planner", "agents")
POLICY = ObjectRef("networking.k8s.io/v1", "NetworkPolicy", "redis-and-dns", "agents")
PIN = {"namespace": "agents", "name": "planner"}
CUT = {"namespace": "agents", "policy": "redis-and-dns", "selector": "app=planner"}
DEMAND = {"namespace": "agents", "name": "inference", "replicas": 4}
CONTAINER = "/spec/template/spec/containers/name=planner"


def rollout(variant: str, **more: Any) -> dict[str, Any]:
    return {"namespace": "agents", "name": "planner", "variant": variant, **more}


WRONG_QUEUE = rollout("env", env={"name": "REDIS_ADDRESS", "value": "127.0.0.1:1"})


@pytest.fixture
def stage() -> Iterator[Stage]:
    yield made()


@pytest.fixture
def scaled() -> Iterator[Stage]:
    yield made("scaling-failure")


def test_every_object_that_a_fault_marks_is_looked_at_for_marks() -> None:
    """A mark on a kind that nobody looks at would be a leftover that nobody finds."""
    marked = {kind.kind for kind in (*MARKED_KINDS, *CLUSTER_MARKED_KINDS)}
    assert {HPA.kind, POLICY.kind, PLANNER.kind} <= marked


# pin_autoscaler -------------------------------------------------------------------------------------------------------


def test_a_pinned_autoscaler_says_that_it_wants_more_and_gets_its_bound_back(scaled: Stage) -> None:
    scaled.rate_rps = 60.0
    told = scaled.carry_out("pin_autoscaler", **PIN)
    assert told["effect"] == "CONFIRMED" and "wants more than the 3 pods" in told["reason"]
    assert scaled.get(HPA)["spec"]["maxReplicas"] == 3
    assert len(scaled.twin.cluster.serving(scaled.twin.cluster.workload("agents", "planner"))) == 3  # type: ignore[arg-type]

    (outcome,) = scaled.undo()
    assert "restored /spec/maxReplicas" in outcome and scaled.get(HPA)["spec"]["maxReplicas"] == 12
    scaled.pass_time(20.0)
    assert scaled.get(PLANNER)["spec"]["replicas"] > 3


def test_an_autoscaler_that_wants_no_more_is_not_proven_to_be_pinned(scaled: Stage) -> None:
    with pytest.raises(FaultError, match=r"ABSENT: .*does not want more than the 3 pods"):
        scaled.carry_out("pin_autoscaler", **PIN)


def test_a_bound_that_a_person_set_meanwhile_stays(scaled: Stage) -> None:
    scaled.rate_rps = 60.0
    scaled.carry_out("pin_autoscaler", **PIN)
    scaled.somebody_sets(HPA, {"/spec/maxReplicas": 9})
    (outcome,) = scaled.undo()
    assert "left alone: /spec/maxReplicas is now 9, not ours" in outcome
    assert scaled.get(HPA)["spec"]["maxReplicas"] == 9 and not scaled.get(HPA)["metadata"]["annotations"].keys() - {
        "gameday.local/last-undo"
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"name": "nobody"}, "there is no HorizontalPodAutoscaler agents/nobody"),
        ({"max_replicas": 12}, "it may have 3 to 12 pods"),
        ({"max_replicas": 2}, "it may have 3 to 12 pods"),
    ],
)
def test_an_autoscaler_that_cannot_be_pinned_is_refused(scaled: Stage, arguments: Any, problem: str) -> None:
    assert problem in scaled.problem("pin_autoscaler", **{**PIN, **arguments})


def test_an_autoscaler_that_keda_made_is_refused() -> None:
    keda = made("queue-burst")
    assert "ScaledObject" in keda.problem("pin_autoscaler", namespace="agents", name="keda-hpa-tool-adapter")


# break_rollout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason", "field", "value"),
    [
        (rollout("image"), "ImagePullBackOff", "image", "gameday-platform:v2"),
        (rollout("command"), "CrashLoopBackOff", "command", ["false"]),
        (rollout("probe"), "runs and is not Ready for 8 s", "readinessProbe", {"path": "/status", "port": "http"}),
    ],
)
def test_new_pods_that_never_get_ready_are_the_proof_and_old_ones_serve_on(
    stage: Stage, arguments: Any, reason: str, field: str, value: Any
) -> None:
    before = stage.planner()
    told = stage.carry_out("break_rollout", **arguments)
    assert told["effect"] == "CONFIRMED" and reason in told["reason"] and "0 of 1 new pods are Ready" in told["reason"]
    found = stage.planner()[field]
    assert found == ({"httpGet": value} if field == "readinessProbe" else value)
    workload = stage.twin.cluster.workload("agents", "planner")
    assert workload is not None and len(stage.twin.cluster.serving(workload)) == 3

    (outcome,) = stage.undo()
    assert "restored" in outcome and stage.planner() == before
    stage.pass_time(10.0)
    status = stage.get(PLANNER)["status"]
    assert (status["replicas"], status["updatedReplicas"], status["readyReplicas"]) == (3, 3, 3)


def test_new_pods_that_get_ready_and_answer_badly_are_the_proof(stage: Stage) -> None:
    stage.rate_rps = 30.0
    told = stage.carry_out("break_rollout", **WRONG_QUEUE)
    assert told["effect"] == "CONFIRMED" and "bad answers" in told["reason"]
    stage.undo()
    assert "valueFrom" in stage.planner()["env"][0]
    stage.pass_time(30.0)
    before = dict(stage.twin.gateway.by_class)
    stage.pass_time(10.0)
    assert stage.twin.gateway.by_class[5] == before[5]


def test_ready_pods_without_a_bad_answer_prove_nothing(stage: Stage) -> None:
    with pytest.raises(FaultError, match=r"ABSENT: .*new pods are Ready and gave 0 bad answers"):
        stage.carry_out("break_rollout", **WRONG_QUEUE)


def test_bad_answers_that_nobody_counts_leave_it_unclear(stage: Stage) -> None:
    stage.metrics = None
    with pytest.raises(FaultError, match="UNCLEAR: no metrics source proves it"):
        stage.carry_out("break_rollout", **WRONG_QUEUE)


def test_a_tag_that_exists_after_all_is_no_proof(stage: Stage) -> None:
    stage.somebody_sets(PLANNER, {f"{CONTAINER}/image": "other:1"})
    stage.pass_time(30.0)
    with pytest.raises(FaultError, match=r"ABSENT: .*nothing is wrong with them"):
        stage.carry_out("break_rollout", **rollout("image", tag="2"))


@pytest.mark.parametrize(("theirs", "outcome"), [("gameday-platform:dev", "already as before"), ("x:1", "left alone")])
def test_a_person_who_rolled_back_or_on_is_not_fought(stage: Stage, theirs: str, outcome: str) -> None:
    stage.carry_out("break_rollout", **rollout("image"))
    stage.somebody_sets(PLANNER, {f"{CONTAINER}/image": theirs})
    (told,) = stage.undo()
    assert outcome in told and stage.planner()["image"] == theirs


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (rollout("image", name="nobody"), "there is no Deployment agents/nobody"),
        (rollout("image", tag="dev"), "image at 'gameday-platform:dev' already"),
        (rollout("image", container="other"), "has no container other (it has planner)"),
        (rollout("probe", name="inference"), "has no readiness probe by HTTP"),
    ],
)
def test_a_rollout_that_cannot_be_broken_is_refused(stage: Stage, arguments: Any, problem: str) -> None:
    assert problem in stage.problem("break_rollout", **arguments)


def test_a_rollout_under_way_is_not_disturbed(stage: Stage) -> None:
    stage.carry_out("break_rollout", **rollout("image"))
    assert "has a rollout under way: 3 of its pods" in stage.problem("break_rollout", **rollout("probe"))


# the demand for GPUs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [{"backend": "hold", "priority_class": "platform-critical"}, {"backend": "unplug"}]
)
def test_a_workload_that_then_needs_more_devices_waits_and_is_scaled_back(arguments: Any) -> None:
    stage = made("gpu-shortage")
    told = stage.carry_out("exhaust_gpus", **arguments, demand=DEMAND)
    assert told["effect"] == "CONFIRMED" and "2 of 4 pods of Deployment agents/inference stay Pending" in told["reason"]
    assert {victim["kind"] for victim in told["victims"]} == {"Node", "Deployment"}
    stage.undo()
    assert stage.get(INFERENCE)["spec"]["replicas"] == 2


def test_a_demand_that_preempts_the_holders_does_not_wait() -> None:
    with pytest.raises(FaultError, match=r"ABSENT: .*0 of 4 pods"):
        made("gpu-shortage").carry_out(
            "exhaust_gpus", 30.0, backend="hold", priority_class="platform-batch", demand=DEMAND
        )


@pytest.mark.parametrize(
    ("demand", "problem"),
    [
        ({"name": "nobody"}, "demand: there is no Deployment agents/nobody"),
        ({"replicas": 2}, "has 2 replicas already"),
        ({"name": "planner"}, "scaled by HorizontalPodAutoscaler planner"),
    ],
)
def test_a_demand_that_cannot_be_made_is_refused(scaled: Stage, demand: Any, problem: str) -> None:
    assert problem in scaled.problem("exhaust_gpus", backend="hold", demand={**DEMAND, **demand})


# what the files may say -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "arguments", "good"),
    [
        ("pin_autoscaler", PIN, True),
        ("pin_autoscaler", {**PIN, "max_replicas": 0}, False),
        ("break_rollout", rollout("image"), True),
        ("break_rollout", rollout("env"), False),
        ("break_rollout", WRONG_QUEUE, True),
        ("break_rollout", rollout("nonsense"), False),
        ("break_rollout", rollout("probe", path="no-slash"), False),
        ("cut_network", CUT, True),
        ("cut_network", {"namespace": "agents"}, False),
        ("exhaust_gpus", {"backend": "hold", "demand": DEMAND}, True),
        ("exhaust_gpus", {"backend": "hold", "demand": {"name": "x"}}, False),
    ],
)
def test_arguments_by_their_schema(action: str, arguments: Any, good: bool) -> None:
    assert Draft202012Validator(FAULTS[action].arguments_schema).is_valid(arguments) is good


@pytest.mark.parametrize(
    ("action", "arguments", "needed"),
    [
        ("pin_autoscaler", PIN, {"get horizontalpodautoscalers.autoscaling in agents",
                                 "patch horizontalpodautoscalers.autoscaling in agents"}),
        ("break_rollout", rollout("image"), {"get deployments.apps in agents", "patch deployments.apps in agents"}),
        ("cut_network", CUT, {"get networkpolicies.networking.k8s.io in agents",
                              "patch networkpolicies.networking.k8s.io in agents"}),
    ],
)  # fmt: skip
def test_undoing_needs_no_more_than_to_read_and_patch_the_one_object(
    action: str, arguments: Any, needed: set[str]
) -> None:
    assert {str(permission) for permission in FAULTS[action].undo_permissions(arguments)} == needed
