"""What the charts draw: a record folded into a few series of bounded length. Pure; knows no plotting library.

A million requests become at most `BINS_MAX` points a line, so a report stays small whatever the run was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from harness.model.experiment import WorkloadRef
from harness.model.facts import HpaFact, PdbFact, ScaledObjectFact, WorkloadFact
from harness.model.load import RequestOutcome
from harness.model.record import Ending, Record
from harness.model.signal import Series

BINS_MAX = 1200
_BINS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
LINES_MAX = 8
"""Label sets of one signal that are drawn; more are named, not drawn."""

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
BACKLOG_SIGNALS = {"queue_depth": "tasks waiting", "queue_oldest_task_age_seconds": "oldest task"}

Number = float | int | None


@dataclass(frozen=True)
class Line:
    """One line of a chart; None is a gap. ``step`` lines hold a value until the next point."""

    name: str
    role: str
    x: list[float]
    y: list[Number]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """The lines of one chart, or the reason why there are none."""

    lines: tuple[Line, ...] = ()
    empty: str = ""


def bin_s(record: Record) -> float:
    """Return the width of a bin: one second, or as much as keeps a line under `BINS_MAX` points."""
    span_s = max(record.timeline.end_s, 1.0)
    return float(next((width for width in _BINS_S if span_s / width <= BINS_MAX), math.ceil(span_s / BINS_MAX)))


def no_load_reason(record: Record) -> str:
    """Say why there is no request log."""
    if record.timeline.load_window() is None:
        ending = {
            Ending.REFUSED: "the run was refused before any load",
            Ending.CRASHED: "the run broke off before any load",
        }
        why = ending.get(record.header.ending or Ending.CRASHED, "the run ended before any load")
        return f"No request was sent: {why}."
    return "Load was started, but no request log was stored."


def rate_panel(record: Record) -> Panel:
    """Return offered against achieved rate; achieved counts actual starts in the request log."""
    width_s = bin_s(record)
    told = [(e.t_s, e.detail) for e in record.timeline.of("load") if e.subject not in {"idle", "ended"}]
    lines = []
    if told:
        lines.append(_snapshot_line("offered", "offered", [(t, d.get("offered_rps")) for t, d in told], width_s))
    if not record.requests.empty:
        counts = _per_bin(record.requests["start_s"], width_s)
        lines.append(
            Line("achieved", "achieved", _centres(counts.index, width_s), [float(v) / width_s for v in counts])
        )
    elif told:
        own = [(t, d.get("achieved_rps")) for t, d in told]
        lines.append(_snapshot_line("achieved (by the generator)", "achieved", own, width_s))
    return Panel(tuple(lines)) if lines else Panel(empty=no_load_reason(record))


def _snapshot_line(name: str, role: str, told: list[tuple[float, Number]], width_s: float) -> Line:
    frame = pd.DataFrame(told, columns=["t_s", "value"]).astype(float)
    means = frame["value"].groupby((frame["t_s"] - 0.5) // width_s).mean()
    return Line(name, role, _centres(means.index, width_s), [_known(v) for v in means])


def _per_bin(t_s: pd.Series, width_s: float) -> pd.Series:
    """Count rows per bin; bins between the first and the last without a row are 0."""
    counts = (t_s // width_s).astype(int).value_counts().sort_index()
    return counts.reindex(range(int(counts.index.min()), int(counts.index.max()) + 1), fill_value=0)


def _centres(bins: Iterable[float], width_s: float) -> list[float]:
    return [round((float(b) + 0.5) * width_s, 3) for b in bins]


def _known(value: float | None) -> Number:
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def success_panel(record: Record) -> Panel:
    """Return the share of good requests per bin, by intended start (a stall hurts the second it was due in)."""
    log = record.requests
    if log.empty:
        return Panel(empty=no_load_reason(record))
    width_s = bin_s(record)
    bins = (log["intended_s"] // width_s).astype(int)
    good = (log["outcome"] == RequestOutcome.OK.value).groupby(bins).agg(["sum", "count"])
    notes = [f"{total - ok:,} bad of {total:,}" for ok, total in zip(good["sum"], good["count"], strict=True)]
    ratios: list[Number] = [round(float(r), 6) for r in good["sum"] / good["count"]]
    lines = [Line("good requests", "success", _centres(good.index, width_s), ratios, notes)]
    objective = _objective(record)
    if objective is not None:
        edges = [float(log["intended_s"].min()), float(log["intended_s"].max())]
        lines.append(Line(f"objective {100 * objective:g} %", "limit", edges, [objective, objective]))
    return Panel(tuple(lines))


def _objective(record: Record) -> float | None:
    spec = record.experiment.assertion("error_budget")
    value = spec.params.get("objective") if spec else None
    return float(value) if isinstance(value, (int, float)) else None


def latency_panel(record: Record) -> Panel:
    """Return latency quantiles per bin, by intended start."""
    log = record.requests
    answered = log[np.isfinite(log["latency_s"].astype(float))] if not log.empty else log
    if answered.empty:
        return Panel(empty=no_load_reason(record) if log.empty else "No request was answered.")
    width_s = bin_s(record)
    groups = answered["latency_s"].astype(float).groupby((answered["intended_s"] // width_s).astype(int))
    counts = groups.count()
    notes = [f"of {n:,}" for n in counts]
    return Panel(
        tuple(
            Line(name, name, _centres(counts.index, width_s), [_known(v) for v in groups.quantile(q)], notes)
            for name, q in QUANTILES.items()
        )
    )


def replica_panel(record: Record, ref: WorkloadRef) -> Panel:
    """Return desired (autoscaler), asked (spec) and Ready replicas of a watched workload, as steps."""
    subject = f"{ref.namespace}/{ref.name}"
    facts = record.timeline.facts(WorkloadFact, _named(subject))
    told = {
        "desired": [(t, h.desired_replicas) for t, h in record.timeline.facts(HpaFact, _scales(record, subject))],
        "asked": [(t, None if f.deleted else f.spec_replicas) for t, f in facts],
        "Ready": [(t, None if f.deleted else f.ready_replicas) for t, f in facts],
    }
    lines = tuple(_step_line(word, word.lower(), points, record) for word, points in told.items() if points)
    return Panel(lines) if lines else Panel(empty=_unwatched(record, f"workload {subject}"))


def _named(subject: str) -> Callable[[WorkloadFact], bool]:
    return lambda fact: fact.subject == subject


def _scales(record: Record, subject: str) -> Callable[[HpaFact], bool]:
    namespace, _, name = subject.partition("/")
    scaled = record.timeline.facts(ScaledObjectFact, lambda s: s.namespace == namespace and _target_is(s.target, name))
    hpas = {s.hpa_name for _, s in scaled}
    return lambda hpa: hpa.namespace == namespace and (_target_is(hpa.target, name) or hpa.name in hpas)


def _target_is(target: str, name: str) -> bool:
    return target.rsplit("/", 1)[-1] == name


def _unwatched(record: Record, what: str) -> str:
    if all(event.actor != "cluster" for event in record.timeline.events):
        return "The cluster was not watched: the run ended before."
    return f"No {what} was seen in {', '.join(record.experiment.scope.namespaces) or 'any namespace'}."


def headroom_panel(record: Record) -> Panel:
    """Return healthy minus desiredHealthy of every disruption budget; below 0 the budget is broken."""
    by_name: dict[str, list[tuple[float, Number]]] = {}
    for t_s, pdb in record.timeline.facts(PdbFact):
        known = not pdb.deleted and pdb.current_healthy is not None and pdb.desired_healthy is not None
        value = (pdb.current_healthy or 0) - (pdb.desired_healthy or 0) if known else None
        by_name.setdefault(pdb.subject, []).append((t_s, value))
    lines = [_step_line(name, "headroom", points, record) for name, points in sorted(by_name.items())]
    return Panel(tuple(lines[:LINES_MAX])) if lines else Panel(empty=_unwatched(record, "disruption budget"))


def _step_line(name: str, role: str, points: Sequence[tuple[float, Number]], record: Record) -> Line:
    """Return steps without repeats, carried on to the end of the run.

    The value that is held is repeated once a bin, so that a reader who points anywhere is told it.
    """
    kept = [p for before, p in zip([None, *points], points, strict=False) if before is None or before[1] != p[1]]
    end_s = max(record.timeline.end_s, kept[-1][0])
    changes = dict(kept)
    grid = [t for t in np.arange(kept[0][0], end_s, bin_s(record)).tolist() if t not in changes]
    x = sorted([*changes, *grid, end_s])
    held = np.searchsorted([t for t, _ in kept], x, side="right") - 1
    return Line(name, role, [round(t, 3) for t in x], [kept[int(n)][1] for n in held])


def backlog_panel(record: Record, signal: str) -> Panel:
    """Return the samples of one queue signal."""
    problem = record.harvest.problem(signal)
    if problem:
        live = _live_line(record, signal)
        if live is not None:
            return Panel((live,))
        why = problem if record.harvest.signals else "no metrics were harvested"
        return Panel(empty=f"No samples: {why}.")
    series = record.harvest.series(signal)
    several = len(series) > 1
    return Panel(tuple(_sample_line(one, signal, several) for one in series[:LINES_MAX]))


def _live_line(record: Record, signal: str) -> Line | None:
    """Return the samples of the live view, which stand in where nothing was harvested (they are never judged)."""
    points = [(e.t_s, e.detail.get("value")) for e in record.timeline.of("sample", signal)]
    if not points:
        return None
    name = f"{BACKLOG_SIGNALS[signal]} (live view, not judged)"
    return Line(name, signal, [t for t, _ in points], [_known(v) for _, v in points])


def _sample_line(one: Series, signal: str, several: bool) -> Line:
    frame = pd.DataFrame({"t_s": one.t_s, "value": one.values})
    if len(frame) > BINS_MAX:
        edges = np.linspace(frame["t_s"].min(), frame["t_s"].max(), BINS_MAX)
        frame = frame.groupby(np.digitize(frame["t_s"], edges)).agg({"t_s": "first", "value": "max"})
    labels = ", ".join(f"{k}={v}" for k, v in sorted(one.labels.items()) if k != "__name__")
    name = BACKLOG_SIGNALS.get(signal, signal) + (f" ({labels})" if several else "")
    return Line(name, signal, [round(float(t), 3) for t in frame["t_s"]], [_known(v) for v in frame["value"]])
