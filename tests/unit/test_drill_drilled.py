"""An experiment as a drill runs it: one fault, held long enough, and not a word of what it is anywhere outside."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from experiments.faults.helper_pods import helper_name, helper_role
from harness import registries
from harness.assembly import undo_operations
from harness.client import Job
from harness.drill.drilled import NEUTRAL_FAULT, TITLE, drill_facts, drilled, due_s
from harness.drivers.kubernetes.ledger import _name, _record, _text
from harness.fakes.world import twin_target
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from harness.model.fault import UndoRecord, is_drill, owner_annotation, owner_mark
from harness.store import new_run_id

NAMES = [path.stem for path in sorted(registries.EXPERIMENTS_DIR.glob("*.yaml"))]
DRILLS = [(name, fault.fault) for name in NAMES if (plan := registries.load(registries.experiment_path(name)).drill)
          for fault in plan.faults]  # fmt: skip
RUN = new_run_id("drill", datetime(2026, 11, 28, 11, tzinfo=UTC), 7)


def experiment(name: str) -> Experiment:
    return registries.load(registries.experiment_path(name))


@pytest.mark.parametrize(("name", "fault"), DRILLS)
@pytest.mark.parametrize("limit_s", [60.0, 900.0])
def test_one_fault_is_held_as_long_as_the_drill_may_last(name: str, fault: str, limit_s: float) -> None:
    before = experiment(name)
    found = drilled(before, fault, 7, limit_s)
    (plan,), asked = found.faults, next(one for one in before.faults if one.name == fault)
    assert (plan.action, plan.arguments) == (asked.action, asked.arguments)
    assert plan.hold_s is not None and plan.hold_s > limit_s
    assert plan.max_hold_s >= plan.hold_s + asked.max_hold_s - (asked.hold_s or 0.0)
    burst_s = next(stage.duration_s for stage in found.load.stages if stage.name == "burst")
    assert burst_s >= plan.at_s + plan.max_hold_s and plan.at_s >= 5.0
    assert found.timeout_s >= found.load.duration_s + found.settle_s
    assert found.load.peak_rps == before.load.peak_rps
    assert found.scope == before.scope and found.probes == before.probes


@pytest.mark.parametrize(("name", "fault"), DRILLS)
def test_names_that_reach_a_cluster_a_terminal_or_a_channel_say_nothing(name: str, fault: str) -> None:
    found = drilled(experiment(name), fault, 7, 900.0)
    (plan,) = found.faults
    assert (found.name, found.title, plan.name) == ("drill", TITLE, NEUTRAL_FAULT)
    run_id = new_run_id(found.name, datetime(2026, 11, 28, 11, tzinfo=UTC), 7)
    assert re.fullmatch(r"20261128-1100-drill-[0-9a-f]{4}", run_id) and is_drill(run_id)
    document = yaml.safe_load(found.text)
    assert [one["name"] for one in document["method"]] == [NEUTRAL_FAULT]
    assert document["title"] == document["description"] == TITLE


@pytest.mark.parametrize(("name", "fault"), DRILLS)
def test_assertions_about_other_faults_are_left_out_and_the_one_is_named_anew(name: str, fault: str) -> None:
    before, found = experiment(name), drilled(experiment(name), fault, 7, 900.0)
    about = {spec.name: spec.params.get("fault") or spec.params.get("during") for spec in before.assertions}
    kept = {spec.name for spec in found.assertions}
    assert kept == {one for one, whose in about.items() if whose in {None, fault}} - _after_others(before, fault)
    assert found.assertions[-1].kind == "restored"
    assert fault not in json.dumps([dict(spec.params) for spec in found.assertions])


def _after_others(before: Experiment, fault: str) -> set[str]:
    return {spec.name for spec in before.assertions if spec.params.get("after", fault) != fault}


def test_the_moment_of_the_fault_differs_by_seed_and_is_repeatable() -> None:
    assert due_s(7, 900.0) == due_s(7, 900.0)
    moments = {due_s(seed, 900.0) for seed in range(50)}
    assert len(moments) > 30 and 5.0 <= min(moments) and max(moments) <= 50.0
    assert {due_s(seed, 20.0) for seed in range(9)} == {5.0}


def test_a_fault_that_is_not_there_is_one_clear_error() -> None:
    with pytest.raises(SpecError, match="the method has no action 'nothing'"):
        drilled(experiment("gpu-exhaustion"), "nothing", 7, 900.0)


def test_the_header_says_what_it_was_for_the_debrief() -> None:
    job = Job("e.yaml", "g.toml", "local", 7, "runs", fault="unplug-the-gpus", limit_s=60.0, drill_id="d-1")
    told = {"drill_id": "d-1", "experiment": "gpu-exhaustion", "fault": "unplug-the-gpus"}
    assert drill_facts(job, experiment("gpu-exhaustion")) == {"drill": told}
    assert drill_facts(Job("e.yaml", "g.toml", "local", 7, "runs"), experiment("gpu-exhaustion")) == {}


# what stands on objects -----------------------------------------------------------------------------------------------


def test_helpers_are_not_called_after_what_they_do_and_each_has_a_name_of_its_own() -> None:
    names = {helper_name(RUN, NEUTRAL_FAULT, role, number) for role in ("hold", "canary") for number in (1, 2)}
    assert len(names) == 4 and all(re.fullmatch(r"gameday-part-[0-9a-f]{10}-[12]", name) for name in names)
    assert helper_role(RUN, "canary") == "part" and helper_role("20261128-1100-drill-down-7f3a", "canary") == "canary"
    assert helper_name("run-1", "f", "hold", 1).startswith("gameday-hold-")


def test_the_mark_on_a_changed_object_does_not_say_that_it_is_ours() -> None:
    name, value = owner_annotation(RUN, "change-1"), owner_mark(RUN, "change-1")
    assert re.fullmatch(r"config\.local/revision\.[0-9a-f]{12}", name) and re.fullmatch(r"[0-9a-f]{12}", value)
    assert owner_mark("run-1", "undo-1") == "run-1/undo-1"


def record(run_id: str) -> UndoRecord:
    values: Mapping[str, Any] = {"/spec/maxReplicas": 3}
    return UndoRecord("change-1", run_id, "change", "autoscaling/v2", "HorizontalPodAutoscaler", "agents", "planner",
                      "u-1", "patch", prior={"/spec/maxReplicas": 8}, applied=values)  # fmt: skip


def test_the_undo_record_of_a_drill_is_packed_and_reads_the_same() -> None:
    text = _text(record(RUN))
    assert not any(word in text for word in ("planner", "maxReplicas", "Autoscaler", "agents"))
    item = {"metadata": {"name": "n", "namespace": "gameday-system", "uid": "x"}, "data": {"record": text}}
    assert _record(item) == record(RUN)
    assert "planner" not in _name(record(RUN))
    assert "planner" in _text(record("run-1"))  # a game day's stays readable


@pytest.mark.parametrize("text", ["", "AAAA", "no base64!", "eJw="])
def test_a_packed_record_that_is_damaged_is_kept_as_one_that_no_undo_can_carry_out(text: str) -> None:
    item = {"metadata": {"name": "n", "namespace": "s", "uid": "x"}, "data": {"record": text}}
    assert _record(item).operation == "unreadable"


def test_a_reaper_that_cannot_read_packed_records_lets_no_drill_start() -> None:
    found = drilled(experiment("gpu-exhaustion"), "unplug-the-gpus", 7, 60.0)
    assert "packed" in undo_operations(found, twin_target(found))
    assert "packed" not in undo_operations(experiment("gpu-exhaustion"), twin_target(found))
