"""The chaos driver as it ships: real child, real chaoslib, chaosk8s and our actor, on a light testbed's API server."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.faults.registry import FAULTS
from harness.drivers.chaostoolkit import ChaosToolkitDriver
from harness.drivers.system_clock import RealClock
from harness.model.experiment import Experiment
from harness.model.fault import FaultPlan
from tests.contract.test_chaos_driver import Office, Trial, experiment, target

pytestmark = [pytest.mark.testbed, pytest.mark.parametrize("world", ["real"], indirect=True)]


def within(namespace: str, found: Experiment) -> Experiment:
    """Move an experiment's faults into another namespace."""
    written = yaml.safe_load(found.text)
    for activity in written["method"]:
        activity["provider"]["arguments"]["namespace"] = namespace
    plans = tuple(replace(plan, arguments={**plan.arguments, "namespace": namespace}) for plan in found.faults)
    return replace(found, faults=plans, text=yaml.safe_dump(written))


def run_id() -> str:
    return f"chaos-{time.time_ns()}"


@pytest.fixture
def trial(light_testbed: dict[str, Any], tmp_path: Path) -> Iterator[Trial]:
    fields = {key: light_testbed[key] for key in ("context", "kubeconfig", "api_server", "kube_system_uid")}
    driver = ChaosToolkitDriver(replace(target(), **fields), RealClock.starting_now(), tmp_path, run_id(), 7)
    yield Trial(driver)
    driver.stop()


def test_pods_are_killed_by_chaosk8s_and_evicted_by_us_and_both_are_proven(trial: Trial, world: Any) -> None:
    before = {pod.uid for pod in world.deploy("planner", 6)}
    method = experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 0), max_hold_s=30)
    trial.driver.start(within(world.namespace, method), Office())
    trial.until_over()
    assert trial.driver.failure == ""
    kill, evict = trial.timeline().injections()
    assert (kill.effect, evict.effect) == ("CONFIRMED", "CONFIRMED")
    assert len({v["uid"] for v in (*kill.victims, *evict.victims)}) == 4
    after = {pod.uid for pod in world.actor().pods(world.namespace, {"app": "planner"})}
    assert not after & {v["uid"] for v in (*kill.victims, *evict.victims)} and len(after & before) >= 2


def test_only_the_chosen_pods_are_hit(trial: Trial, world: Any) -> None:
    others = {pod.uid for pod in world.deploy("planner-two", 2)}
    world.deploy("planner", 3)
    trial.driver.start(within(world.namespace, experiment(("kill", "kill_pods", 0), max_hold_s=30)), Office())
    trial.until_over()
    assert trial.driver.failure == ""
    assert {pod.uid for pod in world.actor().pods(world.namespace, {"app": "planner-two"})} == others


def test_a08_a_budget_that_blocks_is_named_and_nobody_is_hit(trial: Trial, world: Any) -> None:
    before = {pod.uid for pod in world.deploy("planner", 3)}
    world.budget("keep-three", "planner", 3)
    trial.driver.start(within(world.namespace, experiment(("evict", "evict_pods", 0), max_hold_s=2)), Office())
    trial.until_over()
    assert "disruption budget keep-three needs 3 healthy pods" in trial.driver.failure
    assert trial.timeline().injections()[0].effect == "ABSENT"
    assert {pod.uid for pod in world.actor().pods(world.namespace, {"app": "planner"})} == before


def test_undo_records_are_in_the_cluster_when_the_child_is_gone(trial: Trial, world: Any) -> None:
    world.deploy("planner", 3)
    trial.driver.start(within(world.namespace, experiment(("kill", "kill_pods", 0), max_hold_s=30)), Office())
    trial.until_over()
    records = world.ledger().open_records(trial.driver._run_id)
    assert {record.fault for record in records} == {"kill"} and len(records) == 2
    assert all(record.operation == "none" and record.outcome for record in records)


def test_a16_a_context_that_is_not_in_the_kubeconfig_is_a_clear_failure(
    light_testbed: dict[str, Any], tmp_path: Path, world: Any
) -> None:
    del world  # the module's parameter
    there = replace(target(), context="somebody-elses", kubeconfig=light_testbed["kubeconfig"])
    trial = Trial(ChaosToolkitDriver(there, RealClock.starting_now(), tmp_path, run_id(), 7))
    trial.driver.start(experiment(("kill", "kill_pods", 0)), Office())
    trial.until_over()
    assert "somebody-elses" in trial.driver.failure and trial.timeline().injections() == ()


def test_preview_names_whom_the_run_hits(trial: Trial, world: Any) -> None:
    world.deploy("planner", 5)
    method = within(world.namespace, experiment(("kill", "kill_pods", 0), max_hold_s=30))
    plan: FaultPlan = method.faults[0]
    preview = FAULTS["kill_pods"].preview(world.actor(), plan.arguments, 7)
    trial.driver.start(method, Office())
    trial.until_over()
    assert trial.timeline().injections()[0].victims == preview.victims
