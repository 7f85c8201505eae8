"""Did the autoscaler answer the burst in time? A chain of stages, each with its own limit, and the shape of the answer.

Pure. Stages: signal crosses, replicas asked, pods scheduled, pods Ready, first good answer. The shape: saturation at
the maximum, overshoot, flapping, and no loss of replicas while the demand is on (CASES F12, F15).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from assertions.definition import (
    DURATION,
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    limit_s,
    param,
    param_s,
    params_object,
    unclear,
)
from assertions.scaling_expectation import METRICS_DELAY_S, SYNC_S, promise
from assertions.scaling_shape import shape_checks, shape_figures
from assertions.scaling_view import (
    Chain,
    ScalerRef,
    ScalingView,
    chain_of,
    scaling_view,
)
from assertions.temporal import longest_s, spans, steps_of
from assertions.windows import demand_window, judged_window
from harness.model.experiment import AssertionSpec
from harness.model.facts import HpaFact, ScaledObjectFact
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "autoscaler_response"
AS_SPECIFIED = "as-specified"
DEFAULT_ASKED_S = METRICS_DELAY_S + SYNC_S
SCHEMA = params_object(
    {
        "autoscaler": {
            "type": "string",
            "pattern": "^(hpa|scaledobject)/[^/]+/[^/]+$",
            "description": "hpa/NAMESPACE/NAME or scaledobject/NAMESPACE/NAME",
        },
        "expect": {
            "enum": ["scale-up", "hold", "as-specified"],
            "default": "scale-up",
            "description": "hold: replicas must not move; as-specified: they move where the signal leaves the "
            "autoscaler's tolerance, and stay where it does not",
        },
        "signal_within": duration("from the burst until the scaler's signal crosses; no limit by default"),
        "desired_within": duration(
            "from the burst until spec.replicas of the target rises; by default, as the autoscaler's own spec promises"
        ),
        "scheduled_within": duration("from then until the new pods have nodes", "10s"),
        "ready_within": duration("from then until the new pods are Ready", "30s"),
        "answer_within": duration("from the first new pod's readiness to its first good answer", "15s"),
        "inactive_max": duration("longest time that the autoscaler may be unable to scale", "15s"),
        "saturated_max": duration("longest time at the maximum during the burst; no limit by default"),
        "overshoot_max": {"type": "integer", "minimum": 0, "description": "replicas; no limit by default"},
        "direction_changes_max": {
            "type": "integer",
            "minimum": 0,
            "default": 2,
            "description": "flapping: turns by at least 30 % of the peak while the demand is on",
        },
        "drop_max_ratio": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0.34,
            "description": "share of the replicas that an HPA may take back while the demand is on: it may mend an "
            "overshoot, but a larger drop is a scaler that lost sight of the demand",
        },
        "returned_within": {
            "anyOf": [{"const": "as-specified"}, DURATION],
            "description": "from the end of the burst until the replicas are back: a duration, or as-specified (what "
            "the autoscaler's own spec promises); no limit by default",
        },
    },
    required=["autoscaler"],
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the response of an HPA or a ScaledObject to the burst."""
    ref = ScalerRef.parse(str(spec.params["autoscaler"]))
    window, whole = demand_window(record), judged_window(record)
    view = scaling_view(record, ref)
    expected = _expected(spec, ref, view)
    if window is None or whole is None:
        reason = "the burst was not reached, so there was nothing to answer"
        return conclude(
            spec, [unclear(reason, "see why the run ended early, or which stages the profile has")], expected
        )
    dead = _dead(record, ref, view, Window(whole.start_s, window.end_s), limit_s(spec, SCHEMA, "inactive_max"))
    if view is None or dead:
        return conclude(spec, dead, expected, window=window, rests_on=())
    chain = chain_of(record, view, window)
    checks = _checks(record, view, chain, spec, window, whole)
    figures = _figures(chain) | shape_figures(view, window, whole)
    return conclude(spec, checks, expected, window=window, evidence=_evidence(view, chain, window), figures=figures)


def _expected(spec: AssertionSpec, ref: ScalerRef, view: ScalingView | None) -> str:
    if param(spec, SCHEMA, "expect") == "hold":
        return f"{ref} leaves the replicas alone"
    asked_s = _asked_limit_s(spec, view)
    scheduled_s, ready_s = (limit_s(spec, SCHEMA, key) for key in ("scheduled_within", "ready_within"))
    unless = ", unless its signal stays inside its tolerance" if param(spec, SCHEMA, "expect") == AS_SPECIFIED else ""
    return (
        f"{ref} asks for more replicas within {asked_s:g} s of the burst{unless}; the new pods then have nodes within "
        f"{scheduled_s:g} s and are Ready within {ready_s:g} s"
    )


def _asked_limit_s(spec: AssertionSpec, view: ScalingView | None) -> float:
    """Return the file's limit, else what the object's own spec promises."""
    written = param_s(spec, SCHEMA, "desired_within")
    if written is not None:
        return written
    return DEFAULT_ASKED_S if view is None else promise(view).desired_s


# Is it alive? ---------------------------------------------------------------------------------------------------------


def _dead(
    record: Record, ref: ScalerRef, view: ScalingView | None, window: Window, inactive_max_s: float
) -> list[Check]:
    """Return what shows that there was no working autoscaler; that alone fails, whatever the load did."""
    look = f"kubectl -n {ref.namespace} describe {ref.kind} {ref.name}"
    if view is None:
        watched = any(e.detail.get("state") == "open" for e in record.timeline.of("watch"))
        if not watched:
            return [unclear(f"{ref} was never seen, and nothing shows that it was watched", look)]
        return [broken(f"there is no {ref}", look)]
    gone = [t_s for t_s, fact in view.states if fact.deleted and t_s < window.end_s]
    if gone:
        return [broken(f"{ref} was deleted at +{gone[0]:.1f}s", look)]
    paused = [t_s for t_s, f in view.states if isinstance(f, ScaledObjectFact) and f.paused and t_s < window.end_s]
    if paused:
        return [broken(f"{ref} was paused at +{paused[0]:.1f}s", "remove the annotation autoscaling.keda.sh/paused")]
    idle = spans(steps_of((t_s, _able(fact)) for t_s, fact in view.states), window, lambda able: able < 1)
    idle_s = longest_s(idle, holds=True)
    if idle_s > inactive_max_s:
        reasons = ", ".join(dict.fromkeys(_why(f) for _, f in view.states if _able(f) == 0 and _why(f)))
        reason = (
            f"{ref} could not scale for {idle_s:.0f} s (limit {inactive_max_s:g} s; {reasons or 'no reason given'})"
        )
        return [broken(reason, look)]
    return []


def _able(fact: HpaFact | ScaledObjectFact) -> float | None:
    able = fact.active if isinstance(fact, HpaFact) else fact.ready
    return None if able is None else float(able)


def _why(fact: HpaFact | ScaledObjectFact) -> str:
    return fact.active_reason if isinstance(fact, HpaFact) else fact.ready_reason


# The chain ------------------------------------------------------------------------------------------------------------


def _checks(
    record: Record, view: ScalingView, chain: Chain, spec: AssertionSpec, window: Window, whole: Window
) -> list[Check]:
    if math.isnan(chain.before):
        return [unclear(f"the replicas of {view.target or 'the target'} are not known when the burst starts", _WATCH)]
    if param(spec, SCHEMA, "expect") == "hold":
        return [_hold_check(view, window)]
    if chain.asked_s is None:
        return [_not_asked(view, chain, spec, window)]
    return [
        *_signal_check(chain, spec),
        _stage(f"asked for {chain.after:.0f} replicas instead of {chain.before:.0f}", chain.asked_s, chain.start_s,
               _asked_limit_s(spec, view), whole),
        *_pod_checks(chain, spec, whole),
        *_answer_check(chain, spec, whole),
        *shape_checks(record, view, spec, SCHEMA, window, whole),
    ]  # fmt: skip


_WATCH = "see that the workload's namespace is in the experiment's scope"


def _hold_check(view: ScalingView, window: Window) -> Check:
    moves = [(t, old, new) for t, old, new in view.asked.changes() if window.contains(t)]
    if moves:
        t_s, old, new = moves[0]
        return broken(f"the replicas moved from {old:.0f} to {new:.0f} at +{t_s:.1f}s", "see what the scaler measured")
    return held(f"{view.asked.at(window.start_s):.0f} replicas all through the burst")


def _not_asked(view: ScalingView, chain: Chain, spec: AssertionSpec, window: Window) -> Check:
    limit = _asked_limit_s(spec, view)
    observed = f"{chain.before:.0f} replicas all through the burst; {chain.signal or 'the signal is not known'}"
    if chain.before >= view.max_replicas:
        reason = f"{view.target} had its maximum of {view.max_replicas} replicas before the burst"
        return unclear(reason, "wait for the scale-down of the last run, or raise the maximum", observed)
    if chain.signal_s is None:
        if chain.signal and param(spec, SCHEMA, "expect") == AS_SPECIFIED:
            return held(f"no change was due: the signal stayed inside the autoscaler's tolerance ({chain.signal})")
        known = f"the signal never crossed ({chain.signal})" if chain.signal else "the scaler's signal was never seen"
        remedy = "raise the load, or set expect: hold where no scale-up is wanted"
        return unclear(f"no scale-up was needed as far as can be told: {known}", remedy, observed)
    if window.duration_s < limit:
        reason = f"the burst lasted {window.duration_s:.0f} s, less than the limit of {limit:g} s"
        return unclear(reason, "make the burst longer than desired_within", observed)
    reason = (
        f"the signal crossed {chain.signal_s - chain.start_s:.1f} s after the burst ({chain.signal}), "
        f"and no replica was asked for in {window.duration_s:.0f} s"
    )
    return broken(reason, f"kubectl -n {view.ref.namespace} describe {view.ref.kind} {view.ref.name}", observed)


def _stage(what: str, at_s: float | None, since_s: float, limit: float, whole: Window) -> Check:
    """Judge one stage: seen in time, seen late, not seen, or the record ends before the limit."""
    if at_s is not None:
        took_s = max(0.0, at_s - since_s)
        text = f"{what} after {took_s:.1f} s"
        return held(text) if took_s <= limit else broken(f"{text}, the limit is {limit:g} s", _SLOW, text)
    if whole.end_s < since_s + limit:
        return unclear(f"not {what} by the end of the record, {limit:g} s were allowed", "let the run last longer")
    return broken(f"not {what} within {limit:g} s", _SLOW)


_SLOW = "see which stage took the time in the figures: metrics, autoscaler, scheduler, or the pod's own start"


def _signal_check(chain: Chain, spec: AssertionSpec) -> Iterator[Check]:
    limit = param_s(spec, SCHEMA, "signal_within")
    if chain.signal_s is None:
        yield held("when the signal crossed was not seen" + (f" ({chain.signal})" if chain.signal else ""))
    elif limit is not None and chain.signal_s - chain.start_s > limit:
        yield broken(
            f"the signal crossed after {chain.signal_s - chain.start_s:.1f} s, the limit is {limit:g} s", _SLOW
        )
    else:
        yield held(f"signal crossed after {chain.signal_s - chain.start_s:.1f} s ({chain.signal})")


def _pod_checks(chain: Chain, spec: AssertionSpec, whole: Window) -> Iterator[Check]:
    if chain.asked_s is None:
        return
    wanted = chain.after - chain.before
    for what, count, at_s, key in (
        ("scheduled", chain.scheduled, chain.scheduled_s, "scheduled_within"),
        ("Ready", chain.ready, chain.ready_s, "ready_within"),
    ):
        seen = f" ({count} were)" if at_s is None else ""
        pods = "new pod" if wanted == 1 else "new pods"
        yield _stage(f"{wanted:.0f} {pods} {what}{seen}", at_s, chain.asked_s, limit_s(spec, SCHEMA, key), whole)


def _answer_check(chain: Chain, spec: AssertionSpec, whole: Window) -> Iterator[Check]:
    if not chain.answers_known:
        yield held("the first answer of a new pod is left out: the request log does not say which of its pods answered")
    elif chain.first_ready_s is not None:
        yield _stage("first good answer of a new pod", chain.answer_s, chain.first_ready_s,
                     limit_s(spec, SCHEMA, "answer_within"), whole)  # fmt: skip


# Figures --------------------------------------------------------------------------------------------------------------


def _figures(chain: Chain) -> dict[str, float]:
    instants = {
        "signal_s": (chain.signal_s, chain.start_s),
        "hpa_desired_s": (chain.desired_s, chain.start_s),
        "asked_s": (chain.asked_s, chain.start_s),
        "scheduled_s": (chain.scheduled_s, chain.asked_s),
        "ready_s": (chain.ready_s, chain.asked_s),
        "first_answer_s": (chain.answer_s, chain.first_ready_s),
    }
    return {
        name: max(0.0, at - since) for name, (at, since) in instants.items() if at is not None and since is not None
    }


def _evidence(view: ScalingView, chain: Chain, window: Window) -> list[str]:
    moves: Sequence[tuple[float, float, float]] = [m for m in view.asked.changes() if m[0] >= window.start_s]
    lines = [f"+{t_s:.1f}s spec.replicas of {view.target} {old:.0f} -> {new:.0f}" for t_s, old, new in moves[:10]]
    if chain.desired_s is not None:
        lines.append(f"+{chain.desired_s:.1f}s status.desiredReplicas of the HPA rose (a hint: it lags behind)")
    promised = promise(view)
    lines.append(
        f"its own spec promises: asked within {promised.desired_s:g} s ({promised.desired_rule}), back within "
        f"{promised.returned_s:g} s ({promised.returned_rule})"
    )
    fallback = [t_s for t_s, fact in view.states if isinstance(fact, ScaledObjectFact) and fact.fallback]
    return lines + [f"+{t_s:.1f}s {view.ref} fell back to its fallback replicas" for t_s in fallback[:1]]


DEFINITION = Definition(
    kind=KIND,
    question="Did the autoscaler answer the burst in time?",
    judge=judge,
    params_schema=SCHEMA,
    signals=("queue_depth", "queue_lag", "queue_pending"),
    needs_for_pass=(
        "run_completed",
        "load_reached_floor",
        "generator_healthy",
        "faults_took_effect",
        "observation_complete",
    ),
    needs_for_fail=("load_reached_floor", "generator_healthy", "observation_complete"),
)
