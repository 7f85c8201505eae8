"""How long a fault of an experiment file is held, and the actions that an assertion may name."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from experiments.faults.registry import FAULTS
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from tests.unit.test_spec import good, read, text_of


def held(settings: str) -> Experiment:
    """Read the good file with its fault `a` replaced by one that has to be taken back."""
    faults = {**FAULTS, "kill_pods": replace(FAULTS["kill_pods"], undo="patch")}
    data = good()
    data["method"] = data["method"][:1]
    data["extensions"][0]["faults"] = {"a": yaml.safe_load(settings)}
    return read(text_of(data), faults=faults)


def test_a_fault_that_is_taken_back_is_held_as_long_as_the_file_says() -> None:
    (plan,) = held("{hold: 20s}").faults
    assert (plan.hold_s, plan.max_hold_s) == (20.0, 50.0)  # 30 s on top for its evidence

    (plan,) = held("{hold: 20s, max_hold: 45s}").faults
    assert (plan.hold_s, plan.max_hold_s) == (20.0, 45.0)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("{max_hold: 20s}", "a does not say how long it is held — set a.hold"),
        ("{hold: 20s, max_hold: 20s}", "leaves no time for the evidence"),
        ("{hold: 40s}", "ends after the burst"),
    ],
)
def test_a_fault_whose_hold_cannot_be_kept_is_refused(settings: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        held(settings)


def test_a_hold_on_a_fault_that_leaves_nothing_to_take_back_is_refused() -> None:
    data = good()
    data["extensions"][0]["faults"] = {"a": {"hold": "5s"}}

    with pytest.raises(SpecError, match="leaves nothing to take back"):
        read(text_of(data))


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"kind": "drain_outcome", "fault": "drian"}, "the method has no action 'drian'"),
        ({"kind": "workload_recovery", "workload": "agents/planner", "after": "c"}, "the method has no action 'c'"),
        ({"kind": "drain_outcome", "fault": "a", "expect": "blocked"}, "name the budget"),
    ],
)
def test_an_assertion_about_a_fault_names_one_of_the_method(written: dict[str, Any], problem: str) -> None:
    data = good()
    data["extensions"][0]["assertions"]["about-a-fault"] = written
    with pytest.raises(SpecError, match=problem):
        read(text_of(data))
