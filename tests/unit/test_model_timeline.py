"""What a timeline folds its events into: phases, the span of load, faults that were carried out, facts."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from harness.model.facts import NodeFact, PodFact
from harness.model.fault import Effect, Injection, Loss
from harness.model.time import PhaseName, Window
from harness.model.timeline import Event, Timeline

Told = tuple[float, str, str, dict[str, Any]]
VICTIM = {"kind": "Pod", "namespace": "agents", "name": "planner-0", "uid": "u"}


def timeline(*told: Told) -> Timeline:
    events = (Event(n, t_s, "x", kind, subject, detail) for n, (t_s, kind, subject, detail) in enumerate(told, 1))
    return Timeline(datetime(2026, 11, 25, tzinfo=UTC), tuple(events))


def fault(t_s: float, step: str, name: str = "kill", **more: Any) -> Told:
    return t_s, "fault", name, {"step": step, **more}


def test_a_phase_goes_from_edge_to_edge_or_to_the_last_event() -> None:
    whole = timeline(
        (1.0, "phase", "baseline", {"edge": "start"}),
        (5.0, "phase", "baseline", {"edge": "end"}),
        (5.0, "phase", "burst", {"edge": "start"}),
        (9.0, "note", "x", {}),
    )
    baseline, burst = whole.phase(PhaseName.BASELINE), whole.phase(PhaseName.BURST)
    assert baseline is not None and (baseline.name, baseline.window) == (PhaseName.BASELINE, Window(1.0, 5.0))
    assert burst is not None and burst.window == Window(5.0, 9.0)
    assert whole.phase(PhaseName.SETTLE) is None
    assert whole.end_s == 9.0
    assert timeline().end_s == 0.0


def test_the_span_of_load_begins_with_its_start_and_ends_with_its_end_or_the_record() -> None:
    started: Told = (2.0, "load-edge", "started", {})
    ended: Told = (7.0, "load-edge", "ended", {})
    last: Told = (9.0, "note", "x", {})
    assert timeline(started, ended, last).load_window() == Window(2.0, 7.0)
    assert timeline(started, last).load_window() == Window(2.0, 9.0)
    assert timeline(ended, last).load_window() is None
    assert timeline((1.0, "load-edge", "ended", {}), started).load_window() == Window(2.0, 2.0)


def test_events_and_facts_are_found_by_kind_and_subject() -> None:
    pods = [PodFact(f"u{n}", "agents", f"planner-{n}", ready=n > 0) for n in range(2)]
    node = NodeFact("n", "", "general-1")
    told = [(float(n), fact.kind, fact.subject, fact.detail()) for n, fact in enumerate([*pods, node])]
    whole = timeline(*told)
    assert whole.facts(PodFact) == [(0.0, pods[0]), (1.0, pods[1])]
    assert whole.facts(PodFact, lambda pod: pod.ready) == [(1.0, pods[1])]
    assert [event.seq for event in whole.of("pod")] == [1, 2]
    assert [event.seq for event in whole.of("pod", "agents/planner-1")] == [2]
    assert list(whole.of("pod", "general-1")) == []
    assert node.subject == "general-1"
    assert PodFact.from_detail({**pods[0].detail(), "of-tomorrow": 1}) == pods[0]


def test_a_fault_is_what_its_events_say_together() -> None:
    whole = timeline(
        fault(1.0, "due", action="kill_pods"),
        fault(2.0, "permit", action="kill_pods", asked=1, loss="eviction"),
        fault(3.0, "acted", victims=[VICTIM]),
        fault(4.0, "evidence", effect="CONFIRMED", reason="uid gone"),
    )
    assert whole.injections() == (
        Injection("kill", "kill_pods", Window(2.0, 4.0), Loss.EVICTION, 1, (VICTIM,), Effect.CONFIRMED, "uid gone"),
    )


def test_a_fault_without_a_permit_was_not_carried_out_and_one_that_says_little_is_unclear() -> None:
    assert timeline(fault(1.0, "due"), fault(2.0, "denied")).injections() == ()
    (bare,) = timeline(fault(2.0, "permit")).injections()
    assert bare == Injection("kill", "", Window(2.0, 2.0), Loss.NONE, 0, (), Effect.UNCLEAR, "")


@pytest.mark.parametrize("spoilt", [{"loss": "magic"}, {"effect": "MAYBE"}])
def test_a_fault_in_the_words_of_another_version_is_not_readable(spoilt: dict[str, str]) -> None:
    said = {"loss": "eviction", "effect": "CONFIRMED", "reason": "seen"} | spoilt
    (found,) = timeline(fault(2.0, "permit", **said)).injections()
    assert (found.loss, found.effect) == (Loss.NONE, Effect.UNCLEAR)
    assert found.reason == f"not readable: loss {said['loss']!r}, effect {said['effect']!r}"


def test_faults_come_in_the_order_in_which_they_were_first_told_and_last_to_their_undo() -> None:
    whole = timeline(
        fault(1.0, "permit", "one"),
        fault(2.0, "permit", "two"),
        fault(3.0, "evidence", "one"),
        (6.0, "undo", "one", {"step": "start", "operation": "patch"}),
        (7.0, "undo", "one", {"step": "done", "operation": "patch"}),
        (8.0, "undo", "one", {"step": "done", "operation": "none"}),
        (9.0, "undo", "one", {"step": "failed", "operation": "patch"}),
        (9.0, "undo", "two", {"step": "done"}),
    )
    assert [(found.fault, found.window) for found in whole.injections()] == [
        ("one", Window(1.0, 7.0)),
        ("two", Window(2.0, 2.0)),
    ]


def test_events_that_lie_before_their_permit_do_not_turn_its_window_round() -> None:
    (found,) = timeline(fault(5.0, "permit"), fault(4.0, "evidence")).injections()
    assert found.window == Window(5.0, 5.0)
    assert not math.isinf(found.window.duration_s)
