"""What became of the agents' tasks: none lost, few done twice, few late, and no storm of retries.

Pure. Counts are of task ids, so a task that is executed twice is a duplicate and not two tasks; retry amplification is
what the backends got for each request that the client sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from assertions.definition import Check, Definition, broken, conclude, held, param, params_object, unclear
from assertions.windows import judged_window
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.signal import increase
from harness.model.time import Window
from harness.model.verdict import Verdict, at_most

KIND = "agent_outcomes"
ENQUEUED, DONE, DEAD, DUPLICATE, LATE, DEPTH, BACKEND = (
    "tasks_unique_enqueued", "tasks_unique_done", "tasks_dead", "tasks_duplicate", "tasks_late", "queue_depth",
    "planner_requests_total",
)  # fmt: skip
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
    }
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the tasks that came between the start of the load and the end of the run."""
    expected = _expected(spec)
    window = judged_window(record)
    if window is None:
        return conclude(spec, [unclear("no load was started", "see why the run ended early")], expected)
    figures = _figures(record, window)
    checks = [*_task_checks(figures, spec), _amplification_check(record, figures, spec)]
    return conclude(spec, checks, expected, window=window, figures=figures)


def _expected(spec: AssertionSpec) -> str:
    lost, dead = (int(param(spec, SCHEMA, key)) for key in ("lost_max", "dead_max"))
    twice, late = (float(param(spec, SCHEMA, key)) for key in ("duplicate_max_ratio", "late_max_ratio"))
    times = float(param(spec, SCHEMA, "amplification_max"))
    return f"at most {lost} tasks lost, {dead} dead, {twice:.1%} done twice, {late:.1%} late; {times:g} tries a request"


def _figures(record: Record, window: Window) -> dict[str, float]:
    """Return counts over the window; NaN where one is not known."""
    rise = {name: _rise(record, name, window) for name in (ENQUEUED, DONE, DEAD, DUPLICATE, LATE, DEPTH)}
    sent = float(len(record.requests))
    problem = record.harvest.problem(BACKEND)
    got = math.nan if problem else increase(record.harvest.series(BACKEND), window)
    return {
        "tasks_enqueued": rise[ENQUEUED],
        "tasks_done": rise[DONE],
        "tasks_dead": rise[DEAD],
        "tasks_lost": rise[ENQUEUED] - rise[DONE] - rise[DEAD] - rise[DEPTH],
        "tasks_duplicate": rise[DUPLICATE],
        "tasks_late": rise[LATE],
        "amplification": got / sent if sent else math.nan,
    }


def _rise(record: Record, name: str, window: Window) -> float:
    """Return how much a gauge of ids rose over a window; NaN for a partial answer, a hole at its end, or no number."""
    series, asked = record.harvest.series(name), record.harvest.signals.get(name)
    if record.harvest.problem(name) or asked is None:
        return math.nan
    times = np.concatenate([one.t_s for one in series])
    order = np.argsort(times, kind="stable")
    times, values = times[order], np.concatenate([one.values for one in series])[order]
    inside = (times >= window.start_s) & (times < window.end_s)
    if not inside.any() or window.end_s - times[inside][-1] > asked.hole_max_s:
        return math.nan
    before = values[times < window.start_s]
    first = before[-1] if len(before) else values[inside][0]
    return float(values[inside][-1] - first)


def _task_checks(figures: Mapping[str, float], spec: AssertionSpec) -> Iterator[Check]:
    enqueued, done = figures["tasks_enqueued"], figures["tasks_done"]
    if enqueued == 0:
        yield unclear("no task was enqueued: nothing can be said of tasks", "let the load make tool calls")
        return
    for name, limit in (("lost", "lost_max"), ("dead", "dead_max")):
        yield _limit(f"tasks {name}", figures[f"tasks_{name}"], float(param(spec, SCHEMA, limit)), "g")
    twice, late = figures["tasks_duplicate"] / enqueued, figures["tasks_late"] / done if done else math.nan
    yield _limit("tasks done twice", twice, float(param(spec, SCHEMA, "duplicate_max_ratio")), ".2%")
    yield _limit("tasks late", late, float(param(spec, SCHEMA, "late_max_ratio")), ".2%")


def _amplification_check(record: Record, figures: Mapping[str, float], spec: AssertionSpec) -> Check:
    problem = record.harvest.problem(BACKEND)
    if problem:
        return unclear(f"retry amplification cannot be told: {problem}", f"add {BACKEND} to the query pack")
    return _limit("tries a request", figures["amplification"], float(param(spec, SCHEMA, "amplification_max")), ".2f")


def _limit(what: str, value: float, limit: float, form: str) -> Check:
    if not math.isfinite(value):
        return unclear(f"{what}: not known", REMEDY)
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
    needs_for_pass=(
        "run_completed",
        "load_reached_floor",
        "generator_healthy",
        "faults_took_effect",
        "metrics_fresh",
        "clocks_agree",
    ),
    needs_for_fail=("run_completed", "clocks_agree"),
)
