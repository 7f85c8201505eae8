"""What must be true for a verdict to mean anything. Each is pure over the record and three-valued.

An assumption that does not hold, or that cannot be told, turns answers that lean on it INCONCLUSIVE (`harness.judge`);
it never makes anything FAIL by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from assertions.early_undo import taken_back_early
from assertions.windows import offered_requests, stages
from harness.model.fault import Effect, FaultPlan, Injection
from harness.model.load import TURN_MARK, Arrivals, Stage
from harness.model.record import Ending, Record
from harness.model.signal import Floats, SignalHarvest, coverage_of, sample_times
from harness.model.time import Window
from harness.model.timeline import Event
from harness.model.verdict import Assumption

BIN_S = 5.0
BIN_SLACK_RATIO = 0.9
"""A bin of 5 s may lie this much under the floor: its edges cut through the second in which a request starts."""

BIN_SPILL = 1.0
"""One request more: it may be due on this side of a bin's edge and start on the other, which is much of a small bin."""

CHANCE_DEVIATIONS = 4.0
"""Arrivals by chance are fewer than the profile's mean by so many standard deviations in one stage of 30,000. What the
generator says of itself knows how many they were, and is held to the floor itself."""

CPU_MAX_RATIO = 0.9
"""Locust's own limit: above 90 % of a core its figures are about itself (CASES D09)."""

CPU_HOLD_S = 5.0
LATE_S = 0.5
LATE_MAX_RATIO = 0.01
DROPPED_MAX_RATIO = 0.005
SKEW_MAX_S = 2.0

LOOP_LAG_MAX_S = 2.0
"""A generator whose timers are so late saw nothing of what happened meanwhile; lesser lags show in its late starts."""
GENERATOR_REMEDY = "give the load generator its own cores, add workers, or lower load.scale"
FLOOR_REMEDY = "a burst that was not sent proves nothing: " + GENERATOR_REMEDY


def load_reached_floor(record: Record) -> Assumption:
    """Tell whether the load that was sent reached its floor in baseline and burst (CASES D04, D05, D06).

    Counted twice: from the request log (whole stages and bins of 5 s) and from what the generator says of itself.
    """
    name = "load_reached_floor"
    parts = [(stage, window) for stage, window in stages(record) if stage.name in {"baseline", "burst"}]
    if not parts:
        return Assumption(name, None, "no load was started", "see why the run ended before its load")
    missing = {"baseline", "burst"} & {s.name for s in record.experiment.load.stages} - {s.name for s, _ in parts}
    if missing:
        reason = f"the load ended before its {' and '.join(sorted(missing))}"
        return Assumption(name, False, reason, "see why the run ended early")
    starts = _column(_arrivals(record), "start_s")
    low = [text for stage, window in parts for text in _short_of_floor(record, starts, stage, window)]
    if low:
        return Assumption(name, False, "; ".join(low), FLOOR_REMEDY)
    told = [f"{stage.name} {_ratio_of(starts, stage, window):.1%} of the requests offered" for stage, window in parts]
    return Assumption(name, True, ", ".join(told))


def _short_of_floor(record: Record, starts: Floats, stage: Stage, window: Window) -> Iterable[str]:
    floor = record.experiment.load.floor_ratio
    whole = record.experiment.drilled or window.duration_s >= stage.duration_s - BIN_S  # a drill ends with its people
    if not whole:
        yield f"{stage.name} was cut off after {window.duration_s:.0f} of {stage.duration_s:.0f} s"
    arrivals, ratio = record.experiment.load.arrivals, _ratio_of(starts, stage, window)
    if not ratio >= floor - (_chance_ratio(stage, window) if arrivals == Arrivals.POISSON else 0.0):
        yield f"{stage.name}: {ratio:.1%} of the requests offered were started, the floor is {floor:.0%}"
        return
    even = arrivals == Arrivals.EVEN
    at_s, started, offered = _worst_bin(starts, stage, window) if even else _worst_said(record, stage, window)
    if not started + BIN_SPILL >= floor * BIN_SLACK_RATIO * offered:
        share = f"only {started / offered:.1%} of the requests offered were started"
        yield f"{stage.name}: {share} in the 5 s from +{at_s:.0f}s"
    said = _said_ratio(record, stage, window)
    if said is None:
        yield f"{stage.name}: the generator said nothing of itself"
    elif not said >= floor:
        yield f"{stage.name}: the generator says that it reached {said:.1%} of its rate, the floor is {floor:.0%}"


def _ratio_of(starts: Floats, stage: Stage, window: Window) -> float:
    offered = offered_requests(stage, 0.0, window.duration_s)
    started = np.count_nonzero((starts >= window.start_s) & (starts < window.end_s))
    return started / offered if offered > 0 else math.nan


def _chance_ratio(stage: Stage, window: Window) -> float:
    offered = offered_requests(stage, 0.0, window.duration_s)
    return CHANCE_DEVIATIONS / math.sqrt(offered) if offered > 0 else 0.0


def _worst_bin(starts: Floats, stage: Stage, window: Window) -> tuple[float, float, float]:
    """Return when the worst span of 5 s began, and how many requests it started and should have started."""
    whole = math.floor(window.duration_s / BIN_S + 1e-9)
    edges = window.start_s + BIN_S * np.arange(whole + 1)
    if not whole:
        edges = np.array([window.start_s, window.end_s])
    counts, _ = np.histogram(starts, bins=edges)
    since_s = edges - window.start_s
    offered = [offered_requests(stage, from_s, to_s) for from_s, to_s in pairwise(since_s)]
    return _worst(edges[:-1], counts, offered, window)


def _worst_said(record: Record, stage: Stage, window: Window) -> tuple[float, float, float]:
    """Return the same by what the generator says that it offered: arrivals by chance follow no integral."""
    inside = [e for e in record.timeline.of("load", stage.name) if window.start_s + 1 <= e.t_s <= window.end_s]
    spans = [inside[first : first + round(BIN_S)] for first in range(0, len(inside) - round(BIN_S) + 1, round(BIN_S))]
    started, offered = (
        [sum(_number(e, name) for e in span) for span in spans] for name in ("achieved_rps", "offered_rps")
    )
    return _worst([span[0].t_s - 1.0 for span in spans], started, offered, window)


def _worst(
    begins_s: Iterable[float], started: Iterable[float], offered: Iterable[float], window: Window
) -> tuple[float, float, float]:
    """Return the span that is furthest below what was offered; one in which nothing was due is none."""
    spans = [span for span in zip(begins_s, started, offered, strict=True) if span[2] > 0]
    return min(spans, key=lambda span: (span[1] + BIN_SPILL) / span[2], default=(window.start_s, 0.0, 0.0))


def _said_ratio(record: Record, stage: Stage, window: Window) -> float | None:
    """Return achieved over offered by the generator's own snapshots, without those that straddle an edge."""
    inside = [e for e in record.timeline.of("load", stage.name) if window.start_s + 1 <= e.t_s <= window.end_s]
    offered = sum(_number(e, "offered_rps") for e in inside)
    return sum(_number(e, "achieved_rps") for e in inside) / offered if offered > 0 else None


def generator_healthy(record: Record) -> Assumption:
    """Tell whether the load generator's figures are about the platform and not about itself (CASES D05, D09)."""
    name = "generator_healthy"
    snapshots = list(record.timeline.of("load"))
    if not snapshots:
        return Assumption(name, None, "the generator said nothing of itself", "see logs/locust.log of the run")
    ills = [
        *_lost_workers(record, snapshots),
        *_overload(snapshots),
        *_held_up(snapshots),
        *_late(record),
        *_unstarted(record, snapshots),
    ]
    if record.requests_lost:
        ills.append(f"{record.requests_lost} rows of the request log were lost")
    if ills:
        return Assumption(name, False, "; ".join(ills), GENERATOR_REMEDY)
    cpu = max(_number(e, "cpu_ratio") for e in snapshots)
    return Assumption(name, True, f"at most {cpu:.0%} of a core, no worker and no row lost")


def _lost_workers(record: Record, snapshots: list[Event]) -> Iterable[str]:
    for edge in record.timeline.of("load-edge", "lost"):
        yield f"the generator was lost at +{edge.t_s:.0f}s: {edge.detail.get('reason', 'no reason given')}"
    most = 0.0
    for event in snapshots:
        workers = _number(event, "workers")
        if workers < most and event.subject not in {"idle", "ended"}:
            yield f"{most - workers:.0f} of {most:.0f} workers were lost by +{event.t_s:.0f}s"
            return
        most = max(most, workers)


def _overload(snapshots: list[Event]) -> Iterable[str]:
    hot_since: float | None = None
    for event in snapshots:
        if _number(event, "cpu_ratio") < CPU_MAX_RATIO:
            hot_since = None
            continue
        hot_since = event.t_s if hot_since is None else hot_since
        if event.t_s - hot_since >= CPU_HOLD_S:
            yield f"it used over {CPU_MAX_RATIO:.0%} of a core for {CPU_HOLD_S:.0f} s from +{hot_since:.0f}s"
            return


def _held_up(snapshots: list[Event]) -> Iterable[str]:
    """Name the second in which the generator itself stood still: what it measured then is about itself (CASES D09)."""
    told = [(lag_s, e.t_s) for e in snapshots if math.isfinite(lag_s := _number(e, "loop_lag_s"))]
    lag_s, at_s = max(told, default=(0.0, 0.0))
    if lag_s > LOOP_LAG_MAX_S:
        yield f"it was held up for {lag_s:.1f} s by +{at_s:.0f}s (limit {LOOP_LAG_MAX_S:g} s)"


def _late(record: Record) -> Iterable[str]:
    arrivals = _arrivals(record)
    lateness = _column(arrivals, "start_s") - _column(arrivals, "intended_s")
    if len(lateness):
        ratio = float(np.mean(lateness > LATE_S))
        if ratio > LATE_MAX_RATIO:
            yield f"{ratio:.1%} of the requests started more than {LATE_S:g} s late (limit {LATE_MAX_RATIO:.0%})"


def _unstarted(record: Record, snapshots: list[Event]) -> Iterable[str]:
    told = [value for e in snapshots if math.isfinite(value := _number(e, "dropped"))]
    dropped = told[-1] if told else math.nan  # a total: what a silent worker seemed to owe is taken back later
    offered = dropped + len(_arrivals(record))
    if offered and dropped / offered > DROPPED_MAX_RATIO:
        yield f"{dropped:.0f} of {offered:.0f} requests found no free user (limit {DROPPED_MAX_RATIO:.1%})"


def faults_took_effect(record: Record) -> Assumption:
    """Tell whether every planned fault bit, with its full number of victims, and lasted (CASES A02, A05, A11)."""
    name = "faults_took_effect"
    planned = record.experiment.faults
    if not planned:
        return Assumption(name, True, "the experiment has no faults")
    done = {injection.fault: injection for injection in record.timeline.injections()}
    ills = [text for plan in planned for text in _ineffective(plan, done.get(plan.name))]
    early = {} if record.experiment.drilled else taken_back_early(record)  # what people take back they have mended
    ills += [f"fault {name} was taken back too early: {told}" for name, told in early.items()]
    unclear = not early and all(done.get(p.name) is None or done[p.name].effect is not Effect.ABSENT for p in planned)
    if ills:
        remedy = "see the fault's events and logs/chaos.log; a fault that did not bite tests nothing"
        return Assumption(name, None if unclear and _all_acted(done, planned) else False, "; ".join(ills), remedy)
    return Assumption(name, True, f"{len(planned)} of {len(planned)} faults confirmed")


def _all_acted(done: Mapping[str, Injection], planned: tuple[FaultPlan, ...]) -> bool:
    return all(plan.name in done for plan in planned)


def _ineffective(plan: FaultPlan, done: Injection | None) -> Iterable[str]:
    if done is None:
        yield f"fault {plan.name} was never injected"
        return
    if done.effect is not Effect.CONFIRMED:
        yield f"fault {plan.name}: effect {done.effect.value} ({done.reason or 'no reason given'})"
    victims = {victim.get("uid") for victim in done.victims}
    if done.asked < 1 or len(victims) < done.asked:
        yield f"fault {plan.name} hit {len(victims)} of {done.asked} victims"


def metrics_fresh(record: Record) -> Assumption:
    """Tell whether every harvested signal has whole answers without holes over the load window (CASES C01, C11)."""
    name = "metrics_fresh"
    window = record.timeline.load_window()
    signals = record.harvest.signals
    if not signals or window is None:
        return Assumption(name, None, "no signal was harvested" if window else "no load was started")
    ills: dict[str, list[str]] = {}
    for signal, harvest in signals.items():
        for problem in _stale(record, harvest, window):
            ills.setdefault(problem.removeprefix(f"signal {signal}: "), []).append(signal)
    told = "; ".join(f"{', '.join(names)}: {problem}" for problem, names in ills.items())
    remedy = "see that Prometheus scrapes every target all through the run"
    return Assumption(name, not ills, told or f"{len(signals)} signals without holes", remedy if ills else "")


def _stale(record: Record, harvest: SignalHarvest, window: Window) -> Iterable[str]:
    signal = harvest.signal
    problem = record.harvest.problem(signal.name)
    if problem:
        yield problem
        return
    gap_s = coverage_of(sample_times(harvest.series), window, 1.0).gap_max_s
    if gap_s > harvest.hole_max_s:
        yield f"signal {signal.name}: a hole of {gap_s:.0f} s (limit {harvest.hole_max_s:g} s)"


def observation_complete(record: Record) -> Assumption:
    """Tell whether the cluster was watched without a hole while the load was on (CASES B01, B02)."""
    name = "observation_complete"
    window = record.timeline.load_window()
    if window is None:
        return Assumption(name, None, "no load was started")
    watches = list(record.timeline.of("watch"))
    if not any(e.detail.get("state") == "open" for e in watches):
        return Assumption(
            name,
            None,
            "nothing shows that the cluster was watched",
            "see the watch events in events.jsonl",
        )
    holes = [e for e in watches if e.detail.get("state") in {"hole", "lost"} and window.contains(e.t_s)]
    told = [f"the watch of {e.subject} {_ill(e)} at +{e.t_s:.0f}s ({e.detail.get('reason', '')})" for e in holes]
    remedy = "see why the API server could not be watched; run again" if holes else ""
    return Assumption(name, not holes, "; ".join(told) or "no watch had a hole", remedy)


def _ill(watch: Event) -> str:
    return "was lost" if watch.detail["state"] == "lost" else "had a hole"


def run_completed(record: Record) -> Assumption:
    """Tell whether the run went through all of its phases."""
    header = record.header
    ending = "was cut off" if header.ending is None else header.ending.value
    done = header.ending is Ending.COMPLETED
    reason = "the run completed" if done else f"the run {ending}: {header.reason or 'no reason given'}"
    return Assumption("run_completed", done, reason, "" if done else "mend the reason and run again")


def record_whole(record: Record) -> Assumption:
    """Tell whether everything that was stored could be read (`harness.store_read` notes what could not)."""
    if not record.timeline.events:
        return Assumption("record_whole", None, "there is no event", "the run folder is damaged: run again")
    notes = [str(event.detail.get("message", "")) for event in record.timeline.of("note", "store")]
    remedy = "the run folder is damaged: run again" if notes else ""
    return Assumption("record_whole", not notes, "; ".join(notes) or "every line was read", remedy)


def clocks_agree(record: Record) -> Assumption:
    """Tell whether the clock of Prometheus lies within 2 s of ours, so that windows mean the same on both."""
    skew_s = record.harvest.skew_s
    if not record.harvest.signals or not math.isfinite(skew_s):
        return Assumption("clocks_agree", None, "the clock of Prometheus is not known", "see that Prometheus answers")
    good = abs(skew_s) <= SKEW_MAX_S
    reason = f"the clock of Prometheus differs from ours by {skew_s:+.2f} s (limit {SKEW_MAX_S:g} s)"
    return Assumption("clocks_agree", good, reason, "" if good else "synchronise the clocks (NTP)")


def _arrivals(record: Record) -> pd.DataFrame:
    """Return the requests that the rate asked for: turns of conversations are none, and must not fill it up."""
    if not record.experiment.load.conversations:
        return record.requests
    return record.requests[~record.requests["endpoint"].astype(str).str.startswith(TURN_MARK)]


def _column(requests: pd.DataFrame, name: str) -> Floats:
    return requests[name].to_numpy(dtype=np.float64)


def _number(event: Event, key: str) -> float:
    value = event.detail.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan


ASSUMPTIONS: Mapping[str, Callable[[Record], Assumption]] = {
    "run_completed": run_completed,
    "load_reached_floor": load_reached_floor,
    "generator_healthy": generator_healthy,
    "faults_took_effect": faults_took_effect,
    "observation_complete": observation_complete,
    "metrics_fresh": metrics_fresh,
    "clocks_agree": clocks_agree,
    "record_whole": record_whole,
}
"""Every assumption by name, in the order in which a report shows them."""
