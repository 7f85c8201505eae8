"""Did the expected alerts fire, in time, and no other? Asked of Prometheus' own series ALERTS.

Pure. Silence proves nothing by itself: without a loaded rule, or without Prometheus, nothing can fire. So what did not
fire counts, for good or ill, only while Prometheus is known to have had rules; what did fire is proof in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

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
from assertions.windows import demand_window, judged_window
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.signal import coverage_of
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "alerts"
FIRING, RULES = "alerts_firing", "alert_rules"
REMEDY = f"add {FIRING} and {RULES} to the query pack; see that Prometheus runs, loads its rules and scrapes itself"
_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
SCHEMA = params_object(
    {
        "expect": {**_NAMES, "default": [], "description": "alerts that must fire, by alertname"},
        "allow": {**_NAMES, "default": [], "description": "alerts that may fire"},
        "within": duration("from the fault, or from the burst where there is no fault", "5m"),
        "fault": {"type": "string", "description": "the fault that they answer; by default the first one"},
    }
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge which alerts fired from the start of the load to the end of the run."""
    wanted, allowed = [str(n) for n in param(spec, SCHEMA, "expect")], [str(n) for n in param(spec, SCHEMA, "allow")]
    within_s = limit_s(spec, SCHEMA, "within")
    expected = f"{', '.join(wanted) or 'no alert'} fires within {within_s:g} s, and no other"
    window, since_s = judged_window(record), _since_s(record, spec)
    if window is None or since_s is None:
        check = unclear("there was no fault and no burst that an alert could answer", "see why the run ended early")
        return conclude(spec, [check], expected, window=window)
    fired = _fired(record, window)
    checks = [
        *_wanted_checks(record, wanted, fired, Window(since_s, since_s + within_s), window),
        *_other_check(fired, {*wanted, *allowed}, _blindness(record, window)),
    ]
    evidence = [f"+{t_s:.1f}s {name} fired" for name, t_s in sorted(fired.items(), key=lambda one: one[1])]
    figures = {f"{name}_s": t_s - since_s for name, t_s in fired.items() if name in wanted}
    return conclude(spec, checks, expected, window=window, evidence=evidence, figures=figures)


def _since_s(record: Record, spec: AssertionSpec) -> float | None:
    named = param(spec, SCHEMA, "fault")
    starts = [i.window.start_s for i in record.timeline.injections() if named in {None, i.fault}]
    if starts or named is not None:
        return min(starts, default=None)
    burst = demand_window(record)
    return None if burst is None else burst.start_s


def _blindness(record: Record, window: Window) -> str:
    """Return why silence within a window proves nothing; empty where it does."""
    asked = record.harvest.signals.get(FIRING)
    if asked is None or asked.error or asked.warnings:  # no series at all is an answer here: nothing fired
        return record.harvest.problem(FIRING)
    problem = record.harvest.problem(RULES)
    if problem:
        return f"it is not known whether any rule is loaded ({problem})"
    times = np.unique(np.concatenate([one.t_s[one.values > 0] for one in record.harvest.series(RULES)]))
    if not len(times):
        return "Prometheus has no rule loaded, so that nothing can fire"
    gap_s = coverage_of(times, window, 1.0).gap_max_s
    limit_s = record.harvest.signals[RULES].hole_max_s
    return f"no loaded rule was seen for {gap_s:.0f} s (limit {limit_s:g} s)" if gap_s > limit_s else ""


def _fired(record: Record, window: Window) -> dict[str, float]:
    """Return when each alert was first seen to fire within the window."""
    first: dict[str, float] = {}
    for series in record.harvest.series(FIRING):
        inside = series.within(window)
        firing = inside.t_s[inside.values == 1]
        name = series.labels.get("alertname", "")
        if len(firing):
            first[name] = min(first.get(name, float("inf")), float(firing[0]))
    return first


def _wanted_checks(
    record: Record, wanted: Sequence[str], fired: dict[str, float], due: Window, window: Window
) -> Iterator[Check]:
    loaded = {one.labels.get("alertname", "") for one in record.harvest.series(RULES) if (one.values > 0).any()}
    for name in wanted:
        blind = _blindness(record, due.intersect(window) or due)
        if name in fired:
            yield _in_time(name, fired[name] - due.start_s, due.duration_s)
        elif blind:
            yield unclear(f"{name} was not seen to fire, but {blind}", REMEDY)
        elif "" not in loaded and name not in loaded:  # a count of rules names none
            yield broken(f"there is no rule {name}: it cannot fire", "see the rule files of Prometheus")
        elif window.end_s < due.end_s:
            yield unclear(f"{name} did not fire by the end of the record", "let the run settle longer (settle)")
        else:
            yield broken(f"{name} did not fire within {due.duration_s:g} s", "see its expression and its `for`")


def _in_time(name: str, after_s: float, within_s: float) -> Check:
    if after_s < 0:
        return unclear(f"{name} fired {-after_s:.0f} s before the fault: it answers something else", "see what it saw")
    told = f"{name} fired after {after_s:.0f} s"
    return held(told) if after_s <= within_s else broken(f"{told}, the limit is {within_s:g} s", "see its `for`", told)


def _other_check(fired: dict[str, float], may_fire: set[str], blind: str) -> Iterator[Check]:
    others = [f"{name} at +{t_s:.0f}s" for name, t_s in fired.items() if name not in may_fire]
    if others:
        yield broken(f"fired, and was not expected: {', '.join(others)}", "expect or allow it, or mend what it saw")
    elif blind:
        yield unclear(f"whether another alert fired cannot be told: {blind}", REMEDY)
    else:
        yield held("no other alert")


DEFINITION = Definition(
    kind=KIND,
    question="Did the expected alerts fire, and no other?",
    judge=judge,
    params_schema=SCHEMA,
    signals=(FIRING, RULES),
    needs_for_pass=("run_completed", "load_reached_floor", "generator_healthy", "faults_took_effect", "clocks_agree"),
    needs_for_fail=("faults_took_effect", "clocks_agree"),
)
