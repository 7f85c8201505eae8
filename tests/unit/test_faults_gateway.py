"""`gateway_fault`: the switch must be off, the counters must rise, and without a metrics store nothing is confirmed."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from experiments.faults.context import FaultContext, FaultError, drive
from experiments.faults.gateway import GATEWAY_FAULT, SIGNAL
from harness.model.errors import PortError
from harness.model.fault import FaultPlan, ObjectRef, UndoRecord
from harness.model.restoration import SWITCH_CONFIG_MAP as CONFIG_MAP
from harness.model.signal import Signal
from harness.model.target import Target
from harness.ports import Observation, Permit
from tests.unit.fault_doubles import FakeCluster, SteppedClock

SWITCH = ObjectRef("v1", "ConfigMap", CONFIG_MAP, "platform-infra")
OFF = {
    f"gameday.{part}.{key}": value
    for part in ("gateway", "inference", "tool_api")
    for key, value in (("delay_percent", "0"), ("delay_ms", "0"), ("abort_percent", "0"), ("abort_status", "503"))
}
QUERY = Signal(SIGNAL, "q", counter=True)


def target(**changes: Any) -> Target:
    made = Target("t", "local", "c", "", "", "", "a=b", ("platform-infra",), "", "", 1.0, scrape_interval_s=2.0)
    return replace(made, signals={SIGNAL: QUERY}, **changes)


def labels(counter: str, part: str) -> str:
    return f'__name__="envoy_http_fault_{counter}_injected", envoy_http_conn_manager_prefix="{part}", pod="envoy-1"'


@dataclass
class Switch(FakeCluster):
    """A cluster with the one ConfigMap, or without it."""

    data: dict[str, str] | None = field(default_factory=lambda: dict(OFF))
    records: list[UndoRecord] = field(default_factory=list)
    patched: list[Mapping[str, Any]] = field(default_factory=list)

    def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        if ref != SWITCH or self.data is None:
            return None
        meta = {"name": ref.name, "namespace": ref.namespace, "uid": "u", "resourceVersion": "1"}
        return copy.deepcopy({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": self.data})

    def patch(
        self, ref: ObjectRef, seen: Mapping[str, Any], values: Mapping[str, Any], subresource: str = ""
    ) -> Mapping[str, Any]:
        self.patched.append(dict(values))
        return seen

    def write(self, record: UndoRecord) -> Mapping[str, Any]:
        self.records.append(record)
        return {}


@dataclass
class Counters:
    """A metrics store: what it answers depends on the simulated second and on whether the switch was written."""

    answer: Callable[[], Mapping[str, float]]

    def instant(self, signal: Signal) -> Mapping[str, float]:
        assert signal is QUERY
        return self.answer()


@dataclass
class Scene:
    """One fault over a made-up switch and made-up counters."""

    cluster: Switch = field(default_factory=lambda: Switch(SteppedClock(), []))
    seen: list[Observation] = field(default_factory=list)
    target: Target = field(default_factory=target)

    def carry_out(self, answer: Callable[[], Mapping[str, float]] | None, **arguments: Any) -> dict[str, Any]:
        asked = {"namespace": "platform-infra", **arguments}
        plan = FaultPlan("f", "gateway_fault", asked, 0.0, 30.0, GATEWAY_FAULT.loss, "patch", "", 10.0)
        context = FaultContext(
            "run-1", 7, self.cluster, self.cluster, self.cluster.clock, lambda *_: Permit(True), self.seen.append,
            lambda *_: (), target=self.target, metrics=Counters(answer) if answer else None,  # type: ignore[arg-type]
        )  # fmt: skip
        return drive(GATEWAY_FAULT.steps(context, plan), self.cluster.clock)

    def rising(self, counter: str, part: str, start: float = 0.0) -> Callable[[], Mapping[str, float]]:
        """Counters at a start until three seconds after the switch was written, then ten more."""

        def answer() -> Mapping[str, float]:
            on = bool(self.cluster.patched) and self.cluster.clock.t_s >= 3.0
            values = {labels(c, p): start for c in ("aborts", "delays") for p in ("gateway", "tool_api")}
            return values | {labels(counter, part): start + (10.0 if on else 0.0)}

        return answer


def test_what_is_asked_for_is_written_as_text_and_its_undo_holds_what_was_there() -> None:
    scene = Scene()
    told = scene.carry_out(scene.rising("aborts", "tool_api"), part="tool-api", abort_percent=50, abort_status=429)

    keys = ("/data/gameday.tool_api.abort_percent", "/data/gameday.tool_api.abort_status")
    (patched,), (record,) = scene.cluster.patched, scene.cluster.records
    assert [patched[key] for key in keys] == ["50", "429"] and {k for k in patched if "/data/" in k} == set(keys)
    assert [record.prior[key] for key in keys] == ["0", "503"] and record.operation == "patch"
    assert told["effect"] == "CONFIRMED" and "10 aborts at tool-api" in told["reason"]
    assert [v["name"] for v in told["victims"]] == [CONFIG_MAP]


@pytest.mark.parametrize(("counter", "part"), [("aborts", "gateway"), ("delays", "tool_api")])
def test_another_counter_or_another_part_that_rises_is_no_proof(counter: str, part: str) -> None:
    scene = Scene()
    with pytest.raises(FaultError, match="ABSENT: Envoy injected 0 aborts at tool-api"):
        scene.carry_out(scene.rising(counter, part), part="tool-api", abort_percent=50)
    assert scene.cluster.patched, "it was switched on all the same, and its undo is written"


def test_both_counters_must_rise_where_both_were_asked_for() -> None:
    scene = Scene()
    with pytest.raises(FaultError, match="ABSENT: Envoy injected 0 delays, 10 aborts at gateway"):
        scene.carry_out(
            scene.rising("aborts", "gateway"), part="gateway", abort_percent=5, delay_percent=5, delay_ms=300
        )


def test_what_an_earlier_fault_injected_is_not_taken_for_ours() -> None:
    """Its last injections may be in the store one scrape late: the fault waits for them before it begins."""
    scene = Scene()

    def answer() -> Mapping[str, float]:
        return {labels("aborts", "gateway"): 5.0 if scene.cluster.clock.t_s < 1.0 else 9.0}

    with pytest.raises(FaultError, match="ABSENT: Envoy injected 0 aborts"):
        scene.carry_out(answer, part="gateway", abort_percent=50)


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    scene = Scene()

    def answer() -> Mapping[str, float]:
        return {labels("aborts", "gateway"): 4.0 if scene.cluster.patched else 9.0}

    assert "4 aborts" in scene.carry_out(answer, part="gateway", abort_percent=50)["reason"]


def _down() -> Mapping[str, float]:
    raise PortError("prometheus", "query", "connection refused")


@pytest.mark.parametrize(
    ("answer", "signals", "reason"),
    [
        (None, {SIGNAL: QUERY}, "no metrics source proves it"),
        (lambda: {}, {}, "the target's query pack has no signal gateway_faults_injected"),
        (_down, {SIGNAL: QUERY}, "connection refused"),
        (lambda: {labels("aborts", "inference"): 1.0}, {SIGNAL: QUERY}, "knows nothing of gateway"),
    ],
)
def test_without_counters_the_effect_is_unclear_and_never_confirmed(
    answer: Any, signals: Mapping[str, Signal], reason: str
) -> None:
    scene = Scene(target=replace(target(), signals=signals))
    with pytest.raises(FaultError, match=f"UNCLEAR: no metrics source proves it.*{reason}|UNCLEAR: {reason}"):
        scene.carry_out(answer, part="gateway", abort_percent=50)


@pytest.mark.parametrize(
    ("data", "arguments", "problem"),
    [
        (None, {"abort_percent": 5}, "there is no ConfigMap platform-infra/gateway-faults"),
        (OFF | {"gameday.gateway.delay_percent": "20"}, {"abort_percent": 5}, "gateway.delay_percent at 20 already"),
        (OFF, {}, "nothing is asked for"),
    ],
)
def test_a_switch_that_is_absent_or_on_is_left_alone(
    data: dict[str, str] | None, arguments: dict[str, int], problem: str
) -> None:
    scene = Scene(Switch(SteppedClock(), [], data=data))
    with pytest.raises(FaultError, match=problem):
        scene.carry_out(scene.rising("aborts", "gateway"), part="gateway", **arguments)
    assert scene.cluster.patched == [] and scene.cluster.records == []
    assert scene.seen[-1].detail["effect"] == "ABSENT"


def test_faults_on_another_part_do_not_stand_in_the_way() -> None:
    scene = Scene(Switch(SteppedClock(), [], data=OFF | {"gameday.inference.abort_percent": "20"}))
    assert scene.carry_out(scene.rising("aborts", "gateway"), part="gateway", abort_percent=5)["effect"] == "CONFIRMED"


@pytest.mark.parametrize("changes", [{"signals": {}}, {"prometheus_token_env": "TOKEN"}])
def test_a_preview_says_that_there_will_be_no_proof(changes: dict[str, Any]) -> None:
    arguments = {"namespace": "platform-infra", "part": "gateway", "abort_percent": 5}
    cluster = Switch(SteppedClock(), [])
    seen = GATEWAY_FAULT.preview(cluster, arguments, 7, replace(target(), **changes))
    assert "it cannot be proven" in seen.notes[0]
    assert GATEWAY_FAULT.preview(cluster, arguments, 7, target()).notes == ()
    assert "gateway-faults: gameday.gateway.abort_percent back to 0" in seen.undo[0]


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        ({"part": "gateway", "abort_percent": 50}, True),
        ({"part": "tool-api", "abort_percent": 50, "abort_status": 429}, True),
        ({"part": "inference", "delay_percent": 100, "delay_ms": 400}, True),
        ({"part": "gateway"}, False),
        ({"part": "gateway", "delay_percent": 100}, False),
        ({"part": "gateway", "abort_percent": 0}, False),
        ({"part": "gateway", "abort_percent": 101}, False),
        ({"part": "gateway", "abort_percent": 5, "abort_status": 200}, False),
        ({"part": "redis", "abort_percent": 5}, False),
    ],
)
def test_arguments_say_what_is_asked_for(arguments: dict[str, Any], valid: bool) -> None:
    asked = {"namespace": "platform-infra", **arguments}
    assert Draft202012Validator(GATEWAY_FAULT.arguments_schema).is_valid(asked) is valid
