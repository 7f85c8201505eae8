"""What GPUs are called: the experiment says it, else the target, in dry runs, faults, the twin and the judge alike."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.faults.gpu import resource_of
from harness import registries
from harness.fakes.switches import Switches
from harness.fakes.world import Twin
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from harness.settings import load_settings
from tests.unit.conductor_doubles import TARGET
from tests.unit.test_faults_settings import Stage
from tests.unit.twin_runs import rehearse

NVIDIA, AMD, MIG = "nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.5gb"
HOLD = "{backend: hold, priority_class: platform-batch"
UNPLUG = "{backend: unplug"


def exhausting(**arguments: Any) -> Experiment:
    experiment = registries.load(registries.experiment_path("gpu-exhaustion"))
    plans = (replace(plan, arguments={**plan.arguments, **arguments}) for plan in experiment.faults)
    return replace(experiment, faults=tuple(plans))


def staged(experiment: Experiment, gpu_resource: str | None = None) -> Stage:
    twin = Twin(experiment, 1, Switches())
    if gpu_resource is not None:
        twin.target = replace(twin.target, gpu_resource=gpu_resource)
    return Stage(twin)


@pytest.mark.parametrize(
    ("written", "of_target", "found"),
    [({}, "", NVIDIA), ({}, AMD, AMD), ({"resource": MIG}, AMD, MIG), ({"resource": MIG}, "", MIG)],
)
def test_the_experiment_says_it_else_the_target_else_it_is_nvidias_name(
    written: dict[str, str], of_target: str, found: str
) -> None:
    assert resource_of(written, replace(TARGET, gpu_resource=of_target)) == found


@pytest.mark.parametrize("backend", ["hold", "unplug"])
def test_a_fault_takes_and_proves_and_gives_back_what_the_target_names(backend: str) -> None:
    stage = staged(exhausting(resource=AMD), AMD)
    told = stage.carry_out("exhaust_gpus", backend=backend)
    assert (told["effect"], f"Insufficient {AMD}" in told["reason"]) == ("CONFIRMED", True), told
    (acted,) = [seen.detail for seen in stage.seen if seen.detail.get("step") == "acted"]
    assert acted["resource"] == AMD
    stage.undo()
    assert stage.twin.cluster.nodes["gpu-1"].obj["status"]["allocatable"][AMD] == "4"


def test_a_dry_run_asks_for_what_the_target_names_and_says_what_there_is_instead() -> None:
    stage = staged(exhausting(), AMD)
    assert f"no node offers {AMD}; offered are {NVIDIA}" in stage.problem("exhaust_gpus", backend="hold")
    assert stage.problem("exhaust_gpus", backend="hold", resource=NVIDIA) == ""


def test_a_rehearsal_has_the_gpus_that_the_experiment_names_and_the_judge_looks_for_those(tmp_path: Path) -> None:
    text = registries.experiment_path("gpu-exhaustion").read_text()
    for arguments in (HOLD, UNPLUG):
        assert arguments in text
        text = text.replace(arguments, f"{arguments}, resource: {AMD}")
    file = tmp_path / "experiments" / "amd.yaml"
    file.parent.mkdir()
    file.write_text(text)
    found = rehearse(file).verdicts
    assert {name: verdict.outcome.value for name, verdict in found.items()} == dict.fromkeys(found, "PASS")
    assert AMD in found["gpus-back"].expected


def test_a_name_that_is_no_resource_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gameday.toml"
    written = (registries.PROJECT_DIR / "gameday.toml").read_text()
    file.write_text(written.replace('context = ""', 'gpu_resource = "gpu"\ncontext = ""', 1))
    with pytest.raises(SpecError, match="gpu_resource"):
        load_settings(file)
