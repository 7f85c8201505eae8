"""Did an autoscaler keep its replicas while a fault held, though it was blind? From the deed until the undo is done.

Pure. Demand must not have fallen meanwhile: only the part of the span counts in which the profile asks for at least the
rate at which the fault struck. A drop is then a scaler that read nothing as nothing to do (CASES F14, F15).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from assertions.definition import Check, Definition, broken, conclude, held, params_object, unclear
from assertions.fault_view import FaultView, fault_view, unproven
from assertions.scaling_view import ScalerRef, ScalingView, scaling_view
from assertions.temporal import Steps, always, spans
from assertions.watching import WORKLOADS, blind_spots
from assertions.windows import steady_demand_end_s
from harness.model.experiment import AssertionSpec
from harness.model.facts import HpaFact, ScaledObjectFact
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "replicas_held"
SCHEMA = params_object(
    {
        "autoscaler": {
            "type": "string",
            "pattern": "^(hpa|scaledobject)/[^/]+/[^/]+$",
            "description": "hpa/NAMESPACE/NAME or scaledobject/NAMESPACE/NAME",
        },
        "during": {"type": "string", "minLength": 1, "description": "name of the fault"},
    },
    required=["autoscaler", "during"],
)
WATCH = "see why the API server could not be watched"


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge that spec.replicas never fell below its value at the fault while the demand stayed."""
    ref, name = ScalerRef.parse(str(spec.params["autoscaler"])), str(spec.params["during"])
    expected = f"{ref} takes no replica back while fault {name} holds"
    problem, fault = unproven(record, name), fault_view(record, name)
    if problem is not None or fault is None:
        return conclude(spec, [problem or unclear(f"fault {name} was never carried out")], expected)
    view = scaling_view(record, ref)
    if view is None:
        reason = f"{ref} was never seen"
        remedy = "see that it exists and that its namespace is in the experiment's scope"
        return conclude(spec, [unclear(reason, remedy)], expected)
    window = _constant_demand(record, fault)
    if window is None:
        reason = f"the demand fell, or there was no load, when fault {name} struck"
        return conclude(spec, [unclear(reason, "let the fault hold within the burst")], expected)
    checks = [*_scaler_checks(view, window), *_replica_checks(record, view, fault, window)]
    figures = _figures(view, fault, window)
    return conclude(spec, checks, expected, window=window, evidence=_blackout(view, window), figures=figures)


def _constant_demand(record: Record, fault: FaultView) -> Window | None:
    """Return the part of the fault's span before the profile first asks for less than at the fault."""
    span = fault.held(record)
    until_s = steady_demand_end_s(record, span.start_s)
    end_s = span.end_s if until_s is None else min(span.end_s, until_s)
    return None if until_s is None or end_s <= span.start_s else Window(span.start_s, end_s)


def _scaler_checks(view: ScalingView, window: Window) -> Iterator[Check]:
    gone = [t_s for t_s, fact in view.states if fact.deleted and t_s < window.end_s]
    if gone:
        yield broken(f"{view.ref} was deleted at +{gone[0]:.1f}s", "see who deleted it")
    paused = any(isinstance(f, ScaledObjectFact) and f.paused and t_s < window.end_s for t_s, f in view.states)
    if paused:
        yield unclear(f"{view.ref} was paused: it could not have taken anything back", "run it unpaused")


def _replica_checks(record: Record, view: ScalingView, fault: FaultView, window: Window) -> Iterator[Check]:
    before = view.asked.at(fault.touched_s)
    if math.isnan(before):
        yield unclear(f"the replicas of {view.target or 'the target'} are not known when the fault struck", WATCH)
        return
    least = view.states[-1][1].min_replicas
    observed = (
        f"{before:.0f} replicas when {fault.name} struck, at least {_lowest(view.asked, window):.0f} while it held"
    )
    kept = always(spans(view.asked, window, lambda replicas: replicas >= before))
    if kept is False:
        t_s, low = _first_drop(view.asked, window, before)
        reason = f"the replicas fell from {before:.0f} to {low:.0f} at +{t_s:.1f}s, and the demand had not fallen"
        yield broken(reason, "see what the scaler reads where it has no answer (ignoreNullValues, fallback)", observed)
    elif before <= least:
        reason = (
            f"{view.target} was at its minimum of {least} when the fault struck: nothing could have been taken back"
        )
        yield unclear(reason, "let the fault strike when the burst has scaled it up", observed)
    else:
        yield from _kept(record, view, kept, window, observed)


def _kept(record: Record, view: ScalingView, kept: bool | None, window: Window, observed: str) -> Iterator[Check]:
    kind = view.target.partition("/")[0]
    blind = blind_spots(record, [WORKLOADS.get(kind, "deployments")], view.ref.namespace, window)
    if kept is None or blind:
        reason = "; ".join(blind) or f"the replicas of {view.target} are not known all through"
        yield unclear(reason, WATCH, observed)
    else:
        yield held(observed)


def _lowest(asked: Steps, window: Window) -> float:
    values = asked.within(window).values
    known = values[np.isfinite(values)]
    return float(known.min()) if len(known) else math.nan


def _first_drop(asked: Steps, window: Window, before: float) -> tuple[float, float]:
    part = asked.within(window)
    index = next(i for i, value in enumerate(part.values) if value < before)
    return float(part.t_s[index]), float(part.values[index])


def _blackout(view: ScalingView, window: Window) -> list[str]:
    """Return what shows that the autoscaler could not see: its own conditions while the fault held."""
    told = [text for t_s, fact in [*view.states, *view.hpa] if window.contains(t_s) and (text := _blind(t_s, fact))]
    return list(dict.fromkeys(told))[:10] or [f"{view.ref} never said that it could not scale while the fault held"]


def _blind(t_s: float, fact: HpaFact | ScaledObjectFact) -> str:
    if isinstance(fact, HpaFact) and fact.active is False:
        return f"+{t_s:.1f}s HPA {fact.subject}: ScalingActive=False ({fact.active_reason or 'no reason given'})"
    if isinstance(fact, ScaledObjectFact) and fact.fallback:
        return f"+{t_s:.1f}s ScaledObject {fact.subject}: Fallback=True"
    if isinstance(fact, ScaledObjectFact) and fact.ready is False:
        return f"+{t_s:.1f}s ScaledObject {fact.subject}: Ready=False ({fact.ready_reason or 'no reason given'})"
    return ""


def _figures(view: ScalingView, fault: FaultView, window: Window) -> dict[str, float]:
    return {
        "replicas_before": view.asked.at(fault.touched_s),
        "replicas_min": _lowest(view.asked, window),
        "held_s": window.duration_s,
    }


DEFINITION = Definition(
    kind=KIND,
    question="Did the autoscaler keep its replicas while it was blind?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=(
        "run_completed",
        "load_reached_floor",
        "generator_healthy",
        "faults_took_effect",
        "observation_complete",
    ),
    needs_for_fail=("load_reached_floor", "generator_healthy"),
)
