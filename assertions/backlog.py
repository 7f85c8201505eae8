"""Did the queue's backlog stay young, and was it worked off after the burst? Age of the oldest task, time to drain.

Pure. The age gauge alone is no verdict (CASES G10): the counts of enqueued and finished tasks must tell the same story,
and a task that is neither finished, dead nor in the queue is lost. None of it is read as 0 where it is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

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
from assertions.queue_sources import KAFKA_SIGNALS, SOURCES
from assertions.queue_view import REMEDY, SIGNALS, QueueView
from assertions.temporal import Span, eventually_within, spans
from assertions.windows import demand_window, judged_window, stage_window
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "backlog"
SCHEMA = params_object(
    {
        "source": {"enum": list(SOURCES), "default": "redis-stream", "description": "what kind of queue it is"},
        "in_order": {
            "type": "boolean",
            "default": False,
            "description": "source counts: tasks are finished in the order in which they came: counts give the age",
        },
        "age_max": duration("age of the oldest unfinished task", "5m"),
        "drained_within": duration("time from the end of the burst until the queue is short again", "5m"),
        "drained_depth": {
            "type": "integer",
            "minimum": 0,
            "default": 5,
            "description": "tasks; or as many as during the baseline, if those were more",
        },
        "expect_tasks": {
            "type": "boolean",
            "default": True,
            "description": "false: the load enqueues nothing, and the queue must stay readable and empty",
        },
    }
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the backlog from the start of the load to the end of the run (CASES G10, G11)."""
    age_max_s, drained_s = limit_s(spec, SCHEMA, "age_max"), limit_s(spec, SCHEMA, "drained_within")
    expected = _expected(spec, age_max_s, drained_s)
    window = judged_window(record)
    if window is None:
        return conclude(spec, [unclear("no load was started", "see why the run ended early")], expected)
    view = SOURCES[str(param(spec, SCHEMA, "source"))](record.harvest, window)
    in_order = bool(param(spec, SCHEMA, "in_order"))
    checks = [
        _age_check(view, age_max_s, in_order),
        *_use_checks(view, spec),
        *_trust_checks(view),
        *_lost_checks(view),
    ]
    if view.enqueued > 0:
        checks.append(_drain_check(record, view, spec, drained_s, window))
    return conclude(
        spec,
        checks,
        expected,
        window=window,
        coverage=view.coverage,
        evidence=_evidence(view),
        figures=_figures(record, view, window),
    )


def _expected(spec: AssertionSpec, age_max_s: float, drained_s: float) -> str:
    if not param(spec, SCHEMA, "expect_tasks"):
        return "the load enqueues nothing: the queue stays empty, and can be read all the time"
    return (
        f"the oldest task is never older than {age_max_s:.0f} s, and the queue is short again within "
        f"{drained_s:.0f} s after the burst"
    )


def _age_check(view: QueueView, age_max_s: float, in_order: bool) -> Check:
    """A single sample above the limit is proof, whatever is missing elsewhere."""
    oldest_s = view.age_max_s
    if not math.isfinite(oldest_s):
        return unclear("the age of the oldest task is not known at any time", REMEDY)
    observed = f"oldest task {oldest_s:.1f} s (at +{view.age_max_at_s:.0f}s)"
    if oldest_s > age_max_s:
        reason = (
            f"the oldest task was {oldest_s:.0f} s old at +{view.age_max_at_s:.0f}s, the limit is {age_max_s:.0f} s"
        )
        return broken(reason, "see whether the consumers grew in time, and what they waited for", observed)
    if not in_order and view.age_bound_s > age_max_s:  # NaN where the age is measured and needs no bound
        bound = f"up to {view.age_bound_s:.0f} s" if math.isfinite(view.age_bound_s) else "of any age"
        reason = f"counts prove {oldest_s:.0f} s, but a task that was passed over could be {bound}"
        return unclear(reason, "export the age of the oldest task, or say in_order: true", observed)
    return held(observed)


def _use_checks(view: QueueView, spec: AssertionSpec) -> Iterator[Check]:
    expect = bool(param(spec, SCHEMA, "expect_tasks"))
    if not math.isfinite(view.enqueued):
        yield unclear("it is not known whether any task was enqueued", REMEDY)
    elif expect and view.enqueued <= 0:
        remedy = "let the load make tool calls (load.options.tool_calls), or set expect_tasks: false"
        yield unclear("nothing was queued: an empty queue proves nothing", remedy, "0 tasks enqueued")
    elif not expect and view.age_max_s > 0:
        yield broken(f"a task waited {view.age_max_s:.1f} s, and none was expected", "find out who enqueued it")
    else:
        yield held(f"{view.enqueued:.0f} tasks enqueued, {view.finished:.0f} finished")


def _trust_checks(view: QueueView) -> Iterator[Check]:
    for problem in (*view.problems, *view.contradictions):
        yield unclear(problem, REMEDY)


def _lost_checks(view: QueueView) -> Iterator[Check]:
    if not view.loss_known:
        yield held("lost tasks are left out: offsets do not show them")
    elif not math.isfinite(view.lost):
        yield unclear("enqueued, done, dead and waiting tasks were never seen together", REMEDY)
    elif view.lost > 0:
        reason = f"{view.lost:.0f} tasks were enqueued and are neither done, dead nor in the queue"
        yield broken(reason, "look for their ids in the consumers' logs: a task was acknowledged and not done")
    elif view.lost < 0:
        yield unclear(f"{-view.lost:.0f} tasks more are accounted for than were enqueued", REMEDY)
    else:
        yield held("no task lost")


def _drain_check(record: Record, view: QueueView, spec: AssertionSpec, drained_s: float, window: Window) -> Check:
    burst = demand_window(record)
    after = None if burst is None else Window(burst.end_s, window.end_s)
    if after is None or not after.duration_s:
        return unclear("the burst was not reached, so there is no draining to see", "see why the run ended early")
    limit = max(float(param(spec, SCHEMA, "drained_depth")), _baseline_depth(record, view))
    came, at_s = eventually_within(_short(view, after, limit), drained_s)
    if came:
        return held(f"at most {limit:.0f} tasks waiting {at_s or 0.0:.0f} s after the burst")
    left = view.depth.at(after.end_s)
    left_text = f"{left:.0f} tasks were" if math.isfinite(left) else "an unknown number of tasks was"
    if came is None:
        reason = f"{left_text} waiting at the end of the record, {after.duration_s:.0f} s after the burst"
        return unclear(f"{reason}; the limit is {drained_s:.0f} s", "let the run settle longer (settle)")
    reason = f"more than {limit:.0f} tasks were still waiting {drained_s:.0f} s after the burst ({left_text} left)"
    return broken(reason, "see whether the consumers grew, and their rate against the rate of enqueued tasks")


def _short(view: QueueView, window: Window, limit: float) -> Sequence[Span]:
    return spans(view.depth, window, lambda depth: depth <= limit)


def _baseline_depth(record: Record, view: QueueView) -> float:
    baseline = stage_window(record, "baseline")
    if baseline is None:
        return 0.0
    values = view.depth.within(baseline).values
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else 0.0


def _evidence(view: QueueView) -> list[str]:
    return [f"oldest task {view.age_max_s:.1f} s at +{view.age_max_at_s:.0f}s ({view.age_from})"]


def _figures(record: Record, view: QueueView, window: Window) -> Mapping[str, float]:
    burst = demand_window(record)
    figures = {
        "backlog_age_max_s": view.age_max_s,
        "backlog_depth_max": view.depth_max,
        "tasks_enqueued": view.enqueued,
        "tasks_finished": view.finished,
        "tasks_lost": view.lost,
    }
    if burst is not None:
        _, at_s = eventually_within(_short(view, Window(burst.end_s, window.end_s), 0.0), 0.0)
        figures |= {} if at_s is None else {"backlog_empty_after_s": at_s}
    return figures


DEFINITION = Definition(
    kind=KIND,
    question="Did the queue's backlog stay young, and was it worked off?",
    judge=judge,
    params_schema=SCHEMA,
    signals=(*SIGNALS, *KAFKA_SIGNALS),
    needs_for_pass=(
        "run_completed",
        "load_reached_floor",
        "generator_healthy",
        "faults_took_effect",
        "clocks_agree",
    ),  # not metrics_fresh: the view asks the same, and of the signals of this kind of queue alone
    needs_for_fail=(),
)
