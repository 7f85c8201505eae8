"""Did every pod of a selector get a node in time? From its making to its schedule, also for those that still wait.

Pure. It asks about waiting alone: a pod that was scheduled and never became Ready is the matter of other kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assertions.definition import (
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    limit_s,
    param,
    params_object,
    unclear,
)
from assertions.pod_lives import NAMESPACE, SELECTOR, PodLife, pod_lives
from assertions.watching import PODS, blind_spots
from assertions.windows import judged_window
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "pending_time"
SCHEMA = params_object(
    {
        "namespace": NAMESPACE,
        "selector": SELECTOR,
        "within": duration("from a pod's making until it has a node", "30s"),
        "created_min": {
            "type": "integer",
            "minimum": 0,
            "default": 1,
            "description": "fewest pods that must have been made during the run for a pass; 0: none need be",
        },
    },
    required=["namespace", "selector"],
)
SHOWN_MAX = 5


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the time without a node of every pod that was made, or still waited, while the run was judged."""
    namespace, selector = str(spec.params["namespace"]), str(spec.params["selector"])
    limit = limit_s(spec, SCHEMA, "within")
    expected = f"no pod of {selector} in {namespace} waits longer than {limit:g} s for a node"
    window = judged_window(record)
    if window is None:
        return conclude(spec, [unclear("no load was started", "see why the run ended early")], expected)
    lives = [life for life in pod_lives(record, namespace, selector) if _waited_in(life, window)]
    blind = blind_spots(record, [PODS], namespace, window)
    checks = [*_checks(lives, limit, window, blind), *_count_checks(lives, int(param(spec, SCHEMA, "created_min")))]
    figures = {"pods": float(len(lives))}
    if lives:
        figures["pending_max_s"] = max(_wait_s(life, window) for life in lives)
    return conclude(spec, checks, expected, window=window, figures=figures)


def _waited_in(life: PodLife, window: Window) -> bool:
    return life.created_s < window.end_s and _end_s(life, window) >= window.start_s


def _end_s(life: PodLife, window: Window) -> float:
    """Return when its wait ended: it got a node, or it went without one; else the window's end."""
    ends = [t for t in (life.scheduled_s, life.gone_s, window.end_s) if t is not None]
    return min(ends)


def _wait_s(life: PodLife, window: Window) -> float:
    return max(0.0, _end_s(life, window) - life.created_s)


def _told(life: PodLife, window: Window) -> str:
    reason = f" ({life.reason})" if life.reason else ""
    end = _end_s(life, window)
    how = "" if end == life.scheduled_s else " and went without a node" if end == life.gone_s else " and still waits"
    return f"pod {life.name} waited {_wait_s(life, window):.1f} s{reason}{how}"


def _checks(lives: Sequence[PodLife], limit: float, window: Window, blind: Sequence[str]) -> Iterator[Check]:
    late = sorted((life for life in lives if _wait_s(life, window) > limit), key=lambda life: -_wait_s(life, window))
    for life in late[:SHOWN_MAX]:
        text = _told(life, window)
        if blind:
            yield unclear(f"{text}, but {'; '.join(blind)}", "see why the API server could not be watched", text)
        else:
            yield broken(f"{text}, the limit is {limit:g} s", "kubectl describe pod: see what the scheduler says")
    if len(late) > SHOWN_MAX:
        yield held(f"{len(late) - SHOWN_MAX} more waited longer than {limit:g} s")
    waiting = [life for life in lives if life not in late and _end_s(life, window) == window.end_s]
    for life in waiting[:SHOWN_MAX]:
        text = _told(life, window)
        yield unclear(f"{text} at the end of the record, {limit:g} s are allowed", "let the run last longer", text)
    if blind and not late:
        yield unclear("; ".join(blind), "see why the API server could not be watched")
    if not late and not waiting:
        longest = max(lives, key=lambda life: _wait_s(life, window), default=None)
        yield held(
            f"{len(lives)} pods; " + ("none waited" if longest is None else f"longest: {_told(longest, window)}")
        )


def _count_checks(lives: Sequence[PodLife], created_min: int) -> Iterator[Check]:
    scheduled = [life for life in lives if life.scheduled_s is not None]
    if len(lives) < created_min:
        made = "no pod was made" if not lives else f"only {len(lives)} pods were made"
        reason = f"{made} during the run: nothing had to be scheduled"
        if lives:
            reason = f"{made} during the run, {created_min} are asked for"
        yield unclear(reason, "see that the namespace and selector are right and that something scales")
    elif lives and not scheduled:
        yield unclear("no pod ever got a node: they went before the limit", "see who deleted them")


DEFINITION = Definition(
    kind=KIND,
    question="Did every pod get a node in time?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("run_completed", "load_reached_floor", "faults_took_effect", "observation_complete"),
    needs_for_fail=(),
)
