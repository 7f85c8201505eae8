"""What became of the agents' tasks: none lost, few done twice, few late, and no storm of retries.

Pure. Counts are of task ids, so a task that is executed twice is a duplicate and not two tasks; retry amplification is
what the planner got for each request that the client sent to it. Counts that deny each other, that began anew, or that
miss requests which were answered prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from assertions.definition import (
    NEEDS_OF_MEASURED,
    Check,
    Definition,
    broken,
    conclude,
    held,
    param,
    params_object,
    unclear,
)
from assertions.queue_view import queue_view
from assertions.windows import judged_window
from harness.model.experiment import AssertionSpec
from harness.model.load import RequestOutcome
from harness.model.record import Record
from harness.model.signal import increase, joined
from harness.model.time import Window
from harness.model.verdict import Outcome, Verdict, at_most

KIND = "agent_outcomes"
ENQUEUED, DONE, DEAD, DUPLICATE, LATE, DEPTH, BACKEND = (
    "tasks_unique_enqueued", "tasks_unique_done", "tasks_dead", "tasks_duplicate", "tasks_late", "queue_depth",
    "planner_requests_total",
)  # fmt: skip
LEDGER = (ENQUEUED, DONE, DEAD, DUPLICATE, LATE, DEPTH)
COUNT_TOLERANCE_RATIO = 0.02
"""A pod that is killed takes what it counted since its last scrape with it."""

REMEDY = "see that the queue exporter is scraped all through the run"
_RATIO = {"type": "number", "minimum": 0, "maximum": 1}
SCHEMA = params_object(
    {
        "lost_max": {"type": "integer", "minimum": 0, "default": 0, "description": "neither done, dead nor waiting"},
        "dead_max": {"type": "integer", "minimum": 0, "default": 0, "description": "given up (dead letters)"},
        "duplicate_max_ratio": {**_RATIO, "default": 0.01, "description": "of the tasks that were enqueued"},
        "late_max_ratio": {**_RATIO, "default": 0.01, "description": "of the tasks that were done"},
        "amplification_max": {
            "type": "number",
            "minimum": 1,
            "default": 1.5,
            "description": "requests that the planner got for each one that the client sent",
        },
        "endpoint": {
            "type": "string",
            "minLength": 1,
            "default": "/v1/plan",
            "description": "part of the name of the endpoint whose requests the planner counts",
        },
    }
)


@dataclass(frozen=True, slots=True)
class _Rise:
    """How much a count rose; NaN with the reason where it is not known."""

    value: float
    problem: str = ""


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the tasks that came between the start of the load and the end of the run."""
    expected = _expected(spec)
    window = judged_window(record)
    if window is None:
        return conclude(spec, [unclear("no load was started", "see why the run ended early")], expected)
    rises = {name: _rise(record, name, window) for name in LEDGER}
    figures = _figures(record, rises, window)
    checks = [*_task_checks(figures, rises, spec)]
    amplification, figures["amplification"] = _amplification(record, spec, window)
    checks.append(amplification)
    return conclude(spec, checks, expected, window=window, figures=figures)


def _expected(spec: AssertionSpec) -> str:
    lost, dead = (int(param(spec, SCHEMA, key)) for key in ("lost_max", "dead_max"))
    twice, late = (float(param(spec, SCHEMA, key)) for key in ("duplicate_max_ratio", "late_max_ratio"))
    times = float(param(spec, SCHEMA, "amplification_max"))
    return f"at most {lost} tasks lost, {dead} dead, {twice:.1%} done twice, {late:.1%} late; {times:g} tries a request"


def _figures(record: Record, rises: Mapping[str, _Rise], window: Window) -> dict[str, float]:
    """Return counts over the window; NaN where one is not known."""
    known = not any(rises[name].problem for name in (ENQUEUED, DONE, DEAD, DEPTH))
    lost = queue_view(record.harvest, window, (DEPTH, ENQUEUED, DONE, DEAD)).lost if known else math.nan
    return {
        "tasks_enqueued": rises[ENQUEUED].value,
        "tasks_done": rises[DONE].value,
        "tasks_dead": rises[DEAD].value,
        "tasks_lost": lost,
        "tasks_duplicate": rises[DUPLICATE].value,
        "tasks_late": rises[LATE].value,
    }


def _rise(record: Record, name: str, window: Window) -> _Rise:
    """Return how much a gauge of ids rose over a window, or why that is not known."""
    problem = record.harvest.problem(name)
    if problem:
        return _Rise(math.nan, problem)
    one, limit_s = joined(name, record.harvest.series(name)), record.harvest.signals[name].hole_max_s
    inside = (one.t_s >= window.start_s) & (one.t_s < window.end_s)
    if not inside.any() or window.end_s - one.t_s[inside][-1] > limit_s:
        return _Rise(math.nan, f"signal {name} ends before the run does")
    values = np.concatenate((one.values[one.t_s < window.start_s][-1:], one.values[inside]))
    if not np.isfinite(values).all():
        return _Rise(math.nan, f"signal {name} holds values that are not finite numbers")
    if name != DEPTH and (np.diff(values) < 0).any():
        return _Rise(math.nan, f"signal {name} began anew: what was before it cannot be accounted for")
    return _Rise(float(values[-1] - values[0]))


def _task_checks(figures: Mapping[str, float], rises: Mapping[str, _Rise], spec: AssertionSpec) -> Iterator[Check]:
    enqueued, done = figures["tasks_enqueued"], figures["tasks_done"]
    if enqueued == 0:
        yield unclear("no task was enqueued: nothing can be said of tasks", "let the load make tool calls")
        return
    twice, late = figures["tasks_duplicate"] / enqueued, figures["tasks_late"] / done if done else math.nan
    for what, value, limit, form, names in (
        ("tasks lost", figures["tasks_lost"], "lost_max", "g", (ENQUEUED, DONE, DEAD, DEPTH)),
        ("tasks dead", figures["tasks_dead"], "dead_max", "g", (DEAD,)),
        ("tasks done twice", twice, "duplicate_max_ratio", ".2%", (DUPLICATE, ENQUEUED)),
        ("tasks late", late, "late_max_ratio", ".2%", (LATE, DONE)),
    ):
        why = "; ".join(rises[name].problem for name in names if rises[name].problem) or "nothing to divide by"
        if value < 0:
            yield unclear(f"{-value:g} tasks more are accounted for than were enqueued", REMEDY)
        else:
            yield _limit(what, value, float(param(spec, SCHEMA, limit)), form, why)


def _amplification(record: Record, spec: AssertionSpec, window: Window) -> tuple[Check, float]:
    """Compare what the planner counted with what was sent; fewer than were answered is a counter that lost some."""
    endpoint = str(param(spec, SCHEMA, "endpoint"))
    mine = record.requests[record.requests["endpoint"].astype(str).str.contains(endpoint, regex=False)]
    problem = record.harvest.problem(BACKEND)
    if problem:
        return unclear(f"retry amplification cannot be told: {problem}", f"add {BACKEND} to the query pack"), math.nan
    if mine.empty:
        return unclear(f"no request was sent to {endpoint}", "name the planner's endpoint (endpoint)"), math.nan
    got = increase(record.harvest.series(BACKEND), window)
    answered = int((mine["outcome"].astype(str) == RequestOutcome.OK.value).sum())
    check = _limit("tries a request", got / len(mine), float(param(spec, SCHEMA, "amplification_max")), ".2f", BACKEND)
    if check.outcome is Outcome.PASS and got < answered * (1 - COUNT_TOLERANCE_RATIO):
        reason = f"the planner counted {got:.0f} requests, and {answered} were answered well: its counter lost some"
        check = unclear(reason, f"see that every planner is scraped ({BACKEND})", check.observed)
    return check, got / len(mine)


def _limit(what: str, value: float, limit: float, form: str, why: str) -> Check:
    if not math.isfinite(value):
        return unclear(f"{what}: not known ({why})", REMEDY)
    observed = f"{what}: {value:{form}}"
    if at_most(value, limit) is True:
        return held(observed)
    return broken(f"{observed}, the limit is {limit:{form}}", "look for their ids in the consumers' logs", observed)


DEFINITION = Definition(
    kind=KIND,
    question="What became of the agents' tasks?",
    judge=judge,
    params_schema=SCHEMA,
    signals=(ENQUEUED, DONE, DEAD, DUPLICATE, LATE, DEPTH, BACKEND),
    needs_for_pass=NEEDS_OF_MEASURED,
    needs_for_fail=("run_completed", "clocks_agree"),
)
