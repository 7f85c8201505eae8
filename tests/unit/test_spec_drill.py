"""The drill block of an experiment file: what it becomes, and what is wrong with it."""

from dataclasses import replace
from typing import Any

import pytest

from experiments.faults.registry import FAULTS
from harness.model.drill import DrillFault, DrillPlan, Mark
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from tests.unit.test_spec import good, put, read, text_of

DRILL: dict[str, Any] = {
    "limit": "15m",
    "targets": {"detected": "2m", "acknowledged": "3m", "diagnosed": "8m", "mitigated": "12m"},
    "allow": ["Another"],
    "faults": {
        "a": {"answer": "It was a.", "expect": ["AnAlert"], "expect_within": "90s", "hints": ["look", "look there"]},
    },
}


def drilled_file(key: str = "", value: Any = None, **changes: Any) -> Experiment:
    """Read the good file with a drill block, of which one thing is other; its fault `a` has to be taken back."""
    faults = {**FAULTS, "kill_pods": replace(FAULTS["kill_pods"], undo="patch")}
    data = good()
    data["method"] = data["method"][:1]
    data["extensions"][0] |= {"faults": {"a": {"hold": "20s"}}, "drill": text_data(DRILL)}
    if key:
        put(data, f"extensions/0/drill/{key}", value)
    return read(text_of(data), **({"faults": faults} | changes))


def text_data(value: Any) -> Any:
    """Return a copy of plain data."""
    return {k: text_data(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_without_the_block_it_is_no_drill() -> None:
    assert read(text_of(good())).drill is None


def test_the_block_becomes_a_plan_in_seconds() -> None:
    targets_s = {Mark.DETECTED: 120.0, Mark.ACKNOWLEDGED: 180.0, Mark.DIAGNOSED: 480.0, Mark.MITIGATED: 720.0}
    fault = DrillFault("a", "It was a.", ("AnAlert",), 90.0, ("look", "look there"))
    assert drilled_file().drill == DrillPlan(900.0, targets_s, (fault,), ("Another",))


def test_what_may_be_left_out_has_defaults() -> None:
    plan = drilled_file("faults/a", {"answer": "It was a."}).drill
    assert plan is not None and plan.faults == (DrillFault("a", "It was a."),)
    plan = drilled_file("targets", {"mitigated": "12m"}).drill
    assert plan is not None and plan.targets_s == {Mark.MITIGATED: 720.0}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("limit", ..., r"drill.limit: missing — longest time"),
        ("limit", "soon", r"drill.limit: got 'soon'"),
        ("limit", "11m", r"drill.limit: 660 s is over before the last target, 720 s — raise it"),
        ("targets", {}, r"drill.targets: is empty"),
        ("targets/mended", "5m", r"drill.targets.mended: unknown key 'mended' — allowed: acknowledged, detected"),
        ("targets/diagnosed", "2m", r"targets.diagnosed: 120 s is not later than acknowledged, 180 s — targets rise"),
        ("targets/detected", 0, r"targets.detected: 0 s is not later than 0 s"),
        ("faults", {}, r"drill.faults: is empty — actions of the method"),
        ("faults/aa", {"answer": "x"}, r"drill.faults.aa: the method has no action 'aa' — did you mean 'a'\?"),
        ("faults/a/answer", ..., r"faults.a.answer: missing — one sentence for the reveal"),
        ("faults/a/expect", "AnAlert", r"faults.a.expect: got 'AnAlert', needs a list"),
        ("faults/a/hint", "x", r"faults.a.hint: unknown key 'hint' — did you mean 'hints'\?"),
        ("allowed", [], r"drill.allowed: unknown key 'allowed' — did you mean 'allow'\?"),
    ],
)
def test_a_wrong_block_is_one_clear_error_at_its_key(key: str, value: Any, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        drilled_file(key, value)


def test_a_fault_that_is_over_at_once_leaves_people_nothing_to_find() -> None:
    data = good()
    data["extensions"][0]["drill"] = text_data(DRILL)
    with pytest.raises(SpecError, match=r"drill.faults.a: kill_pods is over at once"):
        read(text_of(data))


def test_the_error_names_the_line() -> None:
    text = text_of(good()) + "  drill:\n    limit: 1m\n    targets: {mitigated: 2m}\n    faults: {}\n"
    with pytest.raises(SpecError, match=r"trial.yaml:\d+: extensions\[0\].drill.faults: is empty"):
        read(text)
