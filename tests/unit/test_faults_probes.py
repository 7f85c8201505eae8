"""Probes of the steady state answer yes, no, or cannot be told; none of them is vacuous (CASES A12, A13)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from experiments.faults.context import NotUnderGamedayError
from experiments.faults.probes import PROBES, bound_probes, ready_pods_at_least
from harness.model.facts import Fact, WorkloadFact
from harness.model.signal import Signal
from tests.unit.fault_doubles import pod


@dataclass
class Seen:
    """Observer and metrics in one."""

    facts: Mapping[str, Sequence[Fact]] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def current(self, kind: str) -> Sequence[Fact]:
        return self.facts.get(kind, ())

    def instant(self, signal: Signal) -> Mapping[str, float]:
        self.asked.append(signal.query)
        return self.values


SIGNALS = {name: Signal(name, f"q_{name}") for name in ("gateway_requests_total", "queue_oldest_task_age_seconds")}


def ask(seen: Seen, probe: str, signals: Mapping[str, Signal] = SIGNALS, **arguments: Any) -> Any:
    return bound_probes(seen, seen, signals)[probe](**arguments).ok  # type: ignore[arg-type]


PODS = {"namespace": "agents", "selector": "app=planner"}


@pytest.mark.parametrize(
    ("pods", "minimum", "ok"),
    [
        ([pod(0), pod(1)], 2, True),
        ([pod(0), pod(1, ready=False)], 2, False),
        ([pod(0), pod(1, terminating=True)], 2, False),
        ([pod(0), pod(1, phase="Failed")], 2, False),
        ([pod(0), pod(1, namespace="other")], 2, False),
        ([pod(0), pod(1, labels={"app": "other"})], 2, False),
        ([], 0, False),
    ],
)
def test_a12_ready_means_ready_and_not_terminating_and_nobody_is_never_enough(
    pods: list[Any], minimum: int, ok: bool
) -> None:
    assert ask(Seen({"pod": pods}), "ready_pods_at_least", **PODS, minimum=minimum) is ok


def workload(**changes: Any) -> WorkloadFact:
    fields = {"generation": 2, "observed_generation": 2, "spec_replicas": 3, "replicas": 3, "ready_replicas": 3}
    fields |= {"available_replicas": 3, "updated_replicas": 3}
    return WorkloadFact("uid", "agents", "planner", **(fields | changes))


@pytest.mark.parametrize(
    ("changes", "ok"),
    [
        ({}, True),
        ({"observed_generation": 1}, False),
        ({"available_replicas": 0}, False),
        (
            {"spec_replicas": 0, "replicas": 0, "ready_replicas": 0, "available_replicas": 0, "updated_replicas": 0},
            False,
        ),
        ({"spec_replicas": None}, False),
        ({"deleted": True}, False),
    ],
)
def test_a13_a_deployment_is_settled_only_in_its_newest_generation(changes: dict[str, Any], ok: bool) -> None:
    seen = Seen({"workload": [workload(**changes)]})
    assert ask(seen, "deployment_settled", namespace="agents", name="planner") is ok


def test_a13_a_deployment_that_is_not_there_is_not_settled() -> None:
    assert ask(Seen(), "deployment_settled", namespace="agents", name="planner") is False


@pytest.mark.parametrize(
    ("values", "ok"),
    [
        ({'envoy_response_code_class="2"': 100.0, 'envoy_response_code_class="5"': 0.0}, True),
        ({'envoy_response_code_class="2"': 90.0, 'envoy_response_code_class="5"': 10.0}, False),
        ({'envoy_response_code_class="2"': 5.0}, None),
        ({}, None),
        ({'envoy_response_code_class="2"': math.nan}, None),
        ({"something else": 100.0}, None),
    ],
)
def test_the_gateway_answers_only_where_enough_requests_say_so(values: dict[str, float], ok: bool | None) -> None:
    seen = Seen(values=values)
    assert ask(seen, "gateway_answers") is ok
    assert seen.asked == ["sum by (envoy_response_code_class) (increase(q_gateway_requests_total[30s]))"]


@pytest.mark.parametrize(
    ("ages", "ok"), [({"value": 3.0}, True), ({"value": 31.0}, False), ({}, None), ({"value": math.nan}, None)]
)
def test_the_queue_is_short_only_where_its_age_is_known(ages: dict[str, float], ok: bool | None) -> None:
    assert ask(Seen(values=ages), "queue_is_short", age_max_s=30) is ok


def test_a_signal_that_the_target_does_not_have_cannot_be_told() -> None:
    assert ask(Seen(), "queue_is_short", {}) is None and ask(Seen(), "gateway_answers", {}) is None


def test_probes_refuse_outside_a_game_day() -> None:
    with pytest.raises(NotUnderGamedayError, match="gameday run NAME"):
        ready_pods_at_least("agents", "app=planner", 2)


def test_every_probe_is_registered_under_the_name_that_a_file_writes() -> None:
    assert all(definition.name == name for name, definition in PROBES.items())
    assert {definition.module for definition in PROBES.values()} == {"experiments.faults.probes"}
