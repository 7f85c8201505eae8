"""Did the expected alerts fire, in time, and no other? Asked of Prometheus' own series ALERTS.

Pure. Silence proves nothing by itself: without a loaded rule nothing can fire, so an alert that did not fire is FAIL
only where it is known which rules are loaded.
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
from assertions.windows import demand_window, judged_window
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "alerts"
FIRING, RULES = "alerts_firing", "alert_rules"
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
    problem = _problem(record)
    if problem:
        remedy = f"add {FIRING} and {RULES} to the query pack; see that Prometheus loads the rules"
        return conclude(spec, [unclear(problem, remedy)], expected, window=window)
    fired = _fired(record, window)
    checks = [*_wanted_checks(record, wanted, fired, since_s, within_s, window), *_other_check(fired, wanted, allowed)]
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


def _problem(record: Record) -> str:
    """Return why the series cannot be leaned on; no series at all is an answer here: nothing fired."""
    found = record.harvest.signals.get(FIRING)
    problem = record.harvest.problem(FIRING)
    silent = found is not None and not found.error and not found.warnings
    return "" if silent else problem


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
    record: Record, wanted: Sequence[str], fired: dict[str, float], since_s: float, within_s: float, window: Window
) -> Iterator[Check]:
    loaded = {one.labels.get("alertname", "") for one in record.harvest.series(RULES) if (one.values > 0).any()}
    for name in wanted:
        if name in fired:
            yield _in_time(name, fired[name] - since_s, within_s)
        elif loaded and "" not in loaded and name not in loaded:  # a count of rules names none
            yield broken(f"there is no rule {name}: it cannot fire", "see the rule files of Prometheus")
        elif not loaded or record.harvest.problem(RULES):
            yield unclear(f"{name} did not fire, and it is not known whether its rule is loaded", f"add {RULES}")
        elif window.end_s < since_s + within_s:
            yield unclear(f"{name} did not fire by the end of the record", "let the run settle longer (settle)")
        else:
            yield broken(f"{name} did not fire within {within_s:g} s", "see its expression and its `for`")


def _in_time(name: str, after_s: float, within_s: float) -> Check:
    if after_s < 0:
        return unclear(f"{name} fired {-after_s:.0f} s before the fault: it answers something else", "see what it saw")
    told = f"{name} fired after {after_s:.0f} s"
    return held(told) if after_s <= within_s else broken(f"{told}, the limit is {within_s:g} s", "see its `for`", told)


def _other_check(fired: dict[str, float], wanted: Sequence[str], allowed: Sequence[str]) -> Iterator[Check]:
    others = [f"{name} at +{t_s:.0f}s" for name, t_s in fired.items() if name not in {*wanted, *allowed}]
    if others:
        yield broken(f"fired, and was not expected: {', '.join(others)}", "expect or allow it, or mend what it saw")
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
