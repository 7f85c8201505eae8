"""The shape of an autoscaler's answer while the demand is on: saturation, overshoot, flapping, drops, the way back.

Pure. Replicas are those that were asked (``spec.replicas``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from assertions.definition import Check, broken, held, param, param_s, unclear
from assertions.scaling_expectation import promise
from assertions.scaling_view import HPA, ScalingView
from assertions.temporal import Steps, eventually_within, spans
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.signal import Floats
from harness.model.time import Window

SWING_MIN_RATIO = 0.3
"""Smaller moves than this share of the peak are no flapping: a scaler that follows a short queue breathes."""


def shape_checks(
    record: Record, view: ScalingView, spec: AssertionSpec, schema: Mapping[str, Any], window: Window, whole: Window
) -> Iterator[Check]:
    """Yield a check for each limit on the shape.

    Args:
        record: The run.
        view: The autoscaler and its target.
        spec: Limits of the experiment file.
        schema: Their schema, with the defaults.
        window: While the demand is on.
        whole: From the start of the load to the end of the run.
    """
    figures = shape_figures(view, window, whole)
    yield _flapping(figures["direction_changes"], int(param(spec, schema, "direction_changes_max")))
    yield from _saturation(figures["saturated_s"], view, param_s(spec, schema, "saturated_max"))
    yield from _overshoot(figures["overshoot_replicas"], spec.params.get("overshoot_max"))
    if view.ref.kind == HPA:
        yield _drop(view.asked.within(window), float(param(spec, schema, "drop_max_ratio")))
    else:
        yield from _starved(record, view, window)
    yield from _return(view, window, whole, _return_limit_s(view, spec, schema))


def shape_figures(view: ScalingView, window: Window, whole: Window) -> dict[str, float]:
    """Return the figures of the shape; a way back that was not seen is left out."""
    asked = view.asked.within(window)
    known = asked.values[np.isfinite(asked.values)]
    if not len(known):
        return {}
    saturated = spans(view.asked, window, lambda replicas: replicas >= view.max_replicas)
    figures = {
        "replicas_before": float(known[0]),
        "replicas_peak": float(known.max()),
        "replicas_end": float(known[-1]),
        "overshoot_replicas": float(known.max() - known[-1]),
        "peak_s": float(asked.t_s[np.isfinite(asked.values)][int(np.argmax(known))] - window.start_s),
        "direction_changes": float(direction_changes(known, SWING_MIN_RATIO * float(known.max()))),
        "saturated_s": sum(span.duration_s for span in saturated if span.holds),
    }
    back_s = _back(view, window, whole, 0.0)[1]
    return figures | ({} if back_s is None or figures["replicas_peak"] <= known[0] else {"returned_s": back_s})


def direction_changes(replicas: Floats, swing_min: float) -> int:
    """Count how often a row of replicas turns from rising to falling or back.

    Args:
        replicas: At least one value.
        swing_min: A move back by less than this many replicas from the last extreme is no turn.
    """
    turns, direction, extreme = 0, 0, float(replicas[0])
    for value in replicas[1:]:
        move = float(value) - extreme
        if direction * move > 0:
            extreme = float(value)
        elif move and abs(move) >= swing_min:
            turns += direction != 0
            direction, extreme = (1 if move > 0 else -1), float(value)
    return turns


def _flapping(changes: float, limit: int) -> Check:
    if changes <= limit:
        return held(f"{changes:.0f} change{'' if changes == 1 else 's'} of direction")
    reason = f"the replicas changed their direction {changes:.0f} times, the limit is {limit}"
    return broken(reason, "lengthen the scale-down stabilisation, or mend the signal")


def _saturation(saturated_s: float, view: ScalingView, limit: float | None) -> Iterator[Check]:
    observed = f"{saturated_s:.0f} s at the maximum of {view.max_replicas}"
    if limit is not None and saturated_s > limit:
        yield broken(f"{observed}, the limit is {limit:g} s", "raise maxReplicas, or add capacity", observed)
    elif saturated_s > 0:
        yield held(observed)


def _overshoot(overshoot: float, limit: Any) -> Iterator[Check]:
    if limit is not None and overshoot > limit:
        reason = f"{overshoot:.0f} replicas more were asked for than the burst kept, the limit is {limit}"
        yield broken(reason, "limit the scale-up rate in the autoscaler's behavior")


def _drop(asked: Steps, limit: float) -> Check:
    known = np.isfinite(asked.values)
    values, times = asked.values[known], asked.t_s[known]
    peaks = np.maximum.accumulate(values)
    drops = np.where(peaks > 0, (peaks - values) / np.maximum(peaks, 1), 0.0)
    worst = int(np.argmax(drops))
    if drops[worst] <= limit:
        return held("no drop while the demand was on" if not drops[worst] else f"a drop of {drops[worst]:.0%} at most")
    reason = (
        f"at +{times[worst]:.1f}s {values[worst]:.0f} of {peaks[worst]:.0f} replicas were left while the demand was on "
        f"(limit {limit:.0%})"
    )
    return broken(reason, "see what the scaler measured then: a lost signal reads as no demand")


def _starved(record: Record, view: ScalingView, window: Window) -> Iterator[Check]:
    """Fail on zero replicas with tasks waiting; a queue's demand is the queue, so smaller drops may be right."""
    depth = record.harvest.series("queue_depth")
    fell = [t_s for t_s, old, new in view.asked.changes() if window.contains(t_s) and new == 0 and old > 0]
    if not fell:
        yield held("never back to zero while the demand was on")
        return
    waiting = [Steps(one.t_s, one.values).at(fell[0]) for one in depth]
    if not waiting or not np.isfinite(waiting).all():
        yield unclear(
            f"scaled to zero at +{fell[0]:.1f}s; whether tasks waited is not known", "see the queue's signals"
        )
    elif max(waiting) > 0:
        reason = f"scaled to zero at +{fell[0]:.1f}s while {max(waiting):.0f} tasks waited"
        yield broken(reason, "see what the scaler measured then: a lost signal reads as an empty queue")
    else:
        yield held("back to zero with an empty queue")


def _return_limit_s(view: ScalingView, spec: AssertionSpec, schema: Mapping[str, Any]) -> float | None:
    if param(spec, schema, "returned_within") == "as-specified":
        return promise(view).returned_s
    return param_s(spec, schema, "returned_within")


def _return(view: ScalingView, window: Window, whole: Window, limit: float | None) -> Iterator[Check]:
    if limit is None:
        return
    came, at_s = _back(view, window, whole, limit)
    if came:
        yield held(f"back to the replicas before the burst {at_s or 0.0:.0f} s after it")
    elif came is None:
        yield unclear(
            f"the record ends before the replicas are back ({limit:g} s allowed)", "let the run settle longer"
        )
    else:
        yield broken(
            f"the replicas were not back {limit:g} s after the burst", "see stabilisation window and cool-down"
        )


def _back(view: ScalingView, window: Window, whole: Window, limit: float) -> tuple[bool | None, float | None]:
    before = view.asked.at(window.start_s)
    after = Window(window.end_s, max(window.end_s, whole.end_s))
    return eventually_within(spans(view.asked, after, lambda replicas: replicas <= before), limit)
