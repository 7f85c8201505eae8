"""Fixed ways to spoil a whole record: what was seen, what was measured, what was asked, and how the run went.

Every way is a pure function from a record to a record and draws nothing by chance, so that the same record is spoilt
the same way on every machine. `SPOILINGS` names them all; nothing here judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness.model.facts import FACTS
from harness.model.load import Arrivals
from harness.model.record import Ending, Record
from harness.model.signal import Floats, Harvest, SignalHarvest
from harness.model.timeline import Event, Timeline

Spoiling = Callable[[Record], Record]
Samples = tuple[Floats, Floats]
SHARED = frozenset({"created_unix_s", "scheduled_unix_s", "ready_unix_s", "generation", "observed_generation"})
CLUSTER = frozenset(FACTS)


def with_events(record: Record, events: Iterable[Event]) -> Record:
    """Return the record with these events, in order of time and numbered anew."""
    ordered = sorted(events, key=lambda event: event.t_s)
    numbered = tuple(e if e.seq == number else replace(e, seq=number) for number, e in enumerate(ordered, 1))
    return replace(record, timeline=Timeline(record.timeline.origin, numbered))


def without(*kinds: str) -> Spoiling:
    """Return a spoiling that forgets every event of some kinds."""
    return lambda record: with_events(record, [e for e in record.timeline.events if e.kind not in kinds])


def told(kind: str, edit: Callable[[Event], Mapping[str, Any]]) -> Spoiling:
    """Return a spoiling that tells events of a kind in another way."""

    def spoil(record: Record) -> Record:
        def tell(event: Event) -> Event:
            return replace(event, detail={**event.detail, **edit(event)}) if event.kind == kind else event

        return with_events(record, map(tell, record.timeline.events))

    return spoil


def besides(made: Callable[[Record, float], Iterable[Event]]) -> Spoiling:
    """Return a spoiling that adds events; they are made for the middle of the span under faults."""
    return lambda record: with_events(record, [*record.timeline.events, *made(record, middle_s(record))])


def middle_s(record: Record) -> float:
    """Return when the first fault had just struck, or the middle of a record without any."""
    struck = [injection.window.start_s for injection in record.timeline.injections()]
    return min(struck, default=record.timeline.end_s / 2) + 1.0


def signals(edit: Callable[[SignalHarvest], SignalHarvest]) -> Spoiling:
    """Return a spoiling that changes what came back of every query."""

    def spoil(record: Record) -> Record:
        changed = {name: edit(one) for name, one in record.harvest.signals.items()}
        return replace(record, harvest=replace(record.harvest, signals=changed))

    return spoil


def samples(edit: Callable[[Floats, Floats], Samples]) -> Spoiling:
    """Return a spoiling that changes the samples of every series, given its times and values."""

    def resampled(one: SignalHarvest) -> SignalHarvest:
        edited = [(series, edit(series.t_s, series.values)) for series in one.series]
        return replace(one, series=tuple(replace(s, t_s=t_s, values=values) for s, (t_s, values) in edited))

    return signals(resampled)


def rows(edit: Callable[[Any], Any], lost: int = 0) -> Spoiling:
    """Return a spoiling that changes a copy of the request log, and says how many rows were lost."""

    def spoil(record: Record) -> Record:
        return replace(record, requests=edit(record.requests.astype({"outcome": object})), requests_lost=lost)

    return spoil


def limits(edit: Callable[[str, Any], Any]) -> Spoiling:
    """Return a spoiling that changes the limits of every assertion."""

    def spoil(record: Record) -> Record:
        asked = record.experiment.assertions
        changed = tuple(replace(a, params={k: edit(k, v) for k, v in a.params.items()}) for a in asked)
        return replace(record, experiment=replace(record.experiment, assertions=changed))

    return spoil


def ended(ending: Ending | None, reason: str) -> Spoiling:
    """Return a spoiling that lets the run end in another way."""
    return lambda record: replace(record, header=replace(record.header, ending=ending, reason=reason))


def by_chance(record: Record) -> Record:
    """Return the record as one whose arrivals were drawn by chance."""
    load = replace(record.experiment.load, arrivals=Arrivals.POISSON.value)
    return replace(record, experiment=replace(record.experiment, load=load))


def until(share: float) -> Spoiling:
    """Return a spoiling that keeps events up to a share of the run's length: the record was cut off."""
    return lambda record: with_events(
        record, [e for e in record.timeline.events if e.t_s <= record.timeline.end_s * share]
    )


# What each of them does ----------------------------------------------------------------------------------------------


def _bad_rows(requests: Any) -> Any:
    requests.loc[requests.index % 33 == 0, ["status", "outcome"]] = [503, "bad"]
    return requests


def _slow_rows(requests: Any) -> Any:
    requests.loc[requests.index % 9 == 0, "latency_s"] *= 40
    return requests


def _late_rows(requests: Any) -> Any:
    requests.loc[requests.index % 7 == 0, "start_s"] += 1.5
    return requests


def _unanswered_rows(requests: Any) -> Any:
    requests.loc[requests.index % 50 == 0, ["status", "outcome"]] = [0, "timeout"]
    return requests


def _holes(record: Record, at_s: float) -> Iterable[Event]:
    watched = sorted({e.subject for e in record.timeline.of("watch")})
    return (Event(0, at_s, "cluster", "watch", w, {"state": "hole", "gap_s": 9.0, "reason": "reset"}) for w in watched)


def _lost_watches(record: Record, at_s: float) -> Iterable[Event]:
    watched = sorted({e.subject for e in record.timeline.of("watch")})
    return (Event(0, at_s, "cluster", "watch", w, {"state": "lost", "reason": "forbidden"}) for w in watched)


def _two_holes(record: Record, at_s: float) -> Iterable[Event]:
    later = (replace(hole, t_s=at_s + 12, detail={**hole.detail, "reason": "expired"}) for hole in _holes(record, at_s))
    return [*_holes(record, at_s), *later]


def _dip(record: Record, at_s: float) -> Iterable[Event]:
    """Let every workload have and ask for two replicas less for 6 s."""
    last = {e.subject: e for e in record.timeline.of("workload") if e.t_s <= at_s}
    for event in last.values():
        counts = {key: event.detail[key] for key in ("spec_replicas", "replicas", "available_replicas")}
        fewer = {key: max(value - 2, 0) for key, value in counts.items() if value is not None}
        yield replace(event, t_s=at_s + 2, detail={**event.detail, **fewer})
        yield replace(event, t_s=at_s + 8)


def _stays_high(record: Record, at_s: float) -> Iterable[Event]:
    """Let every workload end with as many replicas as it ever had, and one more that is not there."""
    for event in {e.subject: e for e in record.timeline.of("workload")}.values():
        most = max(e.detail.get("spec_replicas") or 0 for e in record.timeline.of("workload", event.subject))
        yield replace(event, t_s=record.timeline.end_s - 1, detail={**event.detail, "spec_replicas": most + 1})


def _residue(record: Record, at_s: float) -> Iterable[Event]:
    detail = {"difference": "unschedulable: False -> True", "ours": True, "command": "kubectl uncordon node-1"}
    return [Event(0, record.timeline.end_s, "harness", "residue", "Node/node-1", detail)]


def _pods_away(record: Record, at_s: float) -> Iterable[Event]:
    """Let every pod that was Ready be not Ready for 20 s."""
    last = {e.subject: e for e in record.timeline.of("pod") if e.t_s <= at_s}
    ready = [e for e in last.values() if e.detail.get("ready") and not e.detail.get("deleted")]
    for event in ready:
        yield replace(event, t_s=at_s + 0.5, detail={**event.detail, "ready": False})
        yield replace(event, t_s=at_s + 20.5)


def _namesakes(record: Record, at_s: float) -> Iterable[Event]:
    """Add an object of the same name, in another state, in another namespace, for each that has one."""
    for event in record.timeline.events:
        namespace = event.detail.get("namespace") if event.kind in CLUSTER else None
        if namespace:
            other = {key: _another(value) for key, value in event.detail.items() if key not in SHARED}
            named = {"namespace": "others", "uid": f"other-{event.detail.get('uid')}"}
            subject = event.subject.replace(namespace, "others", 1)
            yield replace(event, subject=subject, detail={**event.detail, **other, **named})


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 3 if isinstance(value, int | float) else value


def _second_series(one: SignalHarvest) -> SignalHarvest:
    """Add a series of another instance with half of the values."""
    more = tuple(replace(s, labels={**s.labels, "instance": "other"}, values=s.values / 2) for s in one.series)
    return replace(one, series=(*one.series, *more))


def _unlabelled(one: SignalHarvest) -> SignalHarvest:
    return replace(one, series=tuple(replace(series, labels={}) for series in one.series))


def _spiked(t_s: Floats, values: Floats) -> Samples:
    return t_s, np.where((t_s > 90) & (t_s < 94), values * 10, values)


def _no_word(*keys: str) -> Callable[[Event], Mapping[str, Any]]:
    """Return an edit that empties some details."""
    return lambda event: {key: type(event.detail[key])() for key in keys if event.detail.get(key) is not None}


def _pods_gone(record: Record, at_s: float) -> Iterable[Event]:
    """Let every pod be gone from the middle on."""
    for event in {e.subject: e for e in record.timeline.of("pod")}.values():
        yield replace(event, t_s=max(event.t_s, at_s) + 0.5, detail={**event.detail, "ready": False, "deleted": True})


def _limit(duration: str, objective: float) -> Callable[[str, Any], Any]:
    def edit(key: str, value: Any) -> Any:
        if key.endswith(("within", "max")) and isinstance(value, str):
            return duration
        return objective if key == "objective" else value

    return edit


def _no_limits(record: Record) -> Record:
    """Leave every limit to its default."""
    needed = {"autoscaler", "workload", "pdb", "fault", "after", "during", "selector", "namespace", "victims", "signal"}
    needed |= {"at_most", "at_least", "mode", "source", "expect", "budget", "direction"}
    asked = record.experiment.assertions
    changed = tuple(replace(a, params={k: v for k, v in a.params.items() if k in needed}) for a in asked)
    return replace(record, experiment=replace(record.experiment, assertions=changed))


def _ghost(key: str, value: Any) -> Any:
    named = {"autoscaler", "workload", "pdb", "fault", "after", "during", "selector"}
    return f"{value}-ghost" if key in named else value


def _fingerprint(record: Record) -> Record:
    before = record.fingerprint_before or {}
    return replace(record, fingerprint_after={**dict(list(before.items())[1:]), "Node/new": {"unschedulable": True}})


def _half_told(event: Event) -> Mapping[str, Any]:
    return {"achieved_rps": event.detail.get("achieved_rps", 0.0) / 2}


def _halved(requests: Any) -> Any:
    return requests[requests.index % 2 == 0]


def _shifted(t_s: Floats, values: Floats) -> Samples:
    return t_s + 20.0, values


def _nan(t_s: Floats, values: Floats) -> Samples:
    return t_s, np.where((t_s > 60) & (t_s < 120), np.nan, values)


def _holed(t_s: Floats, values: Floats) -> Samples:
    keep = (t_s < 80) | (t_s > 120)
    return t_s[keep], values[keep]


def _frozen(t_s: Floats, values: Floats) -> Samples:
    last = values[t_s <= 100][-1:]
    return t_s, np.where(t_s > 100, last, values) if len(last) else values


SPOILINGS: Mapping[str, Spoiling] = {
    "as it was": lambda record: record,
    "no metrics": lambda record: replace(record, harvest=Harvest()),
    "signals: nan in the middle": samples(_nan),
    "signals: a hole": samples(_holed),
    "signals: frozen": samples(_frozen),
    "signals: end early": samples(lambda t_s, values: (t_s[t_s < 100], values[t_s < 100])),
    "signals: start late": samples(lambda t_s, values: (t_s[t_s > 100], values[t_s > 100])),
    "signals: shifted": samples(_shifted),
    "signals: every fourth sample": samples(lambda t_s, values: (t_s[::4], values[::4])),
    "signals: halved": samples(lambda t_s, values: (t_s, values / 2)),
    "signals: counters reset": samples(lambda t_s, values: (t_s, np.where(t_s > 100, values % 97, values))),
    "signals: a second instance": signals(_second_series),
    "signals: no labels": signals(_unlabelled),
    "signals: a spike": samples(_spiked),
    "signals: zero": samples(lambda t_s, values: (t_s, values * 0)),
    "signals: thrice": samples(lambda t_s, values: (t_s, values * 3)),
    "signals: partial": signals(lambda one: replace(one, warnings=("a store was not reached",))),
    "signals: refused": signals(lambda one: replace(one, series=(), error="HTTP 503 in 10 s")),
    "signals: no series": signals(lambda one: replace(one, series=())),
    "clocks: 3 s apart": lambda record: replace(record, harvest=replace(record.harvest, skew_s=3.0)),
    "clocks: unknown": lambda record: replace(record, harvest=replace(record.harvest, skew_s=float("nan"))),
    "rows: bad": rows(_bad_rows),
    "rows: slow": rows(_slow_rows),
    "rows: late": rows(_late_rows),
    "rows: unanswered": rows(_unanswered_rows),
    "rows: every second": rows(_halved),
    "rows: some lost": rows(lambda requests: requests, lost=40),
    "rows: few": rows(lambda requests: requests.head(100)),
    "rows: none": rows(lambda requests: requests.iloc[:0]),
    "watch: holes": besides(_holes),
    "watch: two holes": besides(_two_holes),
    "watch: lost": besides(_lost_watches),
    "watch: never opened": without("watch"),
    "nothing was seen": lambda record: with_events(record, []),
    "cluster: nothing seen": without(*CLUSTER),
    "cluster: no pods": without("pod"),
    "cluster: no nodes": without("node"),
    "cluster: no workloads": without("workload"),
    "cluster: no autoscalers": without("hpa", "scaledobject"),
    "cluster: no budgets": without("pdb"),
    "cluster: pods away for 20 s": besides(_pods_away),
    "cluster: pods gone": besides(_pods_gone),
    "cluster: namesakes": besides(_namesakes),
    "cluster: deleted": told("workload", lambda e: {"deleted": e.t_s > 100}),
    "autoscaler: blind": told("hpa", lambda e: {"active": False, "active_reason": "FailedGetResourceMetric"}),
    "autoscaler: at its maximum": told("hpa", lambda e: {"max_replicas": e.detail.get("desired_replicas", 1)}),
    "autoscaler: changed in the end": told(
        "hpa", lambda e: {"up_tolerance_ratio": 2.0, "cpu_target_percent": 20, "max_replicas": 4} if e.t_s < 60 else {}
    ),
    "autoscaler: deleted": told("hpa", lambda e: {"deleted": e.t_s > 60}),
    "autoscaler: says nothing": told("hpa", lambda e: {"desired_replicas": None, "cpu_current_percent": None}),
    "autoscaler: KEDA is paused": told("scaledobject", lambda e: {"paused": True}),
    "autoscaler: KEDA is not ready": told("scaledobject", lambda e: {"ready": False, "ready_reason": "Failed"}),
    "budget: deleted": told("pdb", lambda e: {"deleted": e.t_s > 60}),
    "budget: not computed": told("pdb", lambda e: {"computed": False, "desired_healthy": None}),
    "budget: unreadable": told("pdb", lambda e: {"min_available": "many", "observed_generation": 0}),
    "budget: all must stay": told("pdb", lambda e: {"min_available": "100%"}),
    "workload: one short": told("workload", lambda e: {"available_replicas": 0, "ready_replicas": 0}),
    "workload: two more asked for": told("workload", lambda e: {"spec_replicas": (e.detail["spec_replicas"] or 0) + 2}),
    "workload: dips": besides(_dip),
    "workload: stays high": besides(_stays_high),
    "workload: not said": told("workload", lambda e: {"spec_replicas": None}),
    "pods: of nobody": told("pod", lambda e: {"labels": {}, "owner": ""}),
    "pods: nowhere": told("pod", lambda e: {"node": ""}),
    "pods: evicted": told("pod", lambda e: {"disruption": "EvictionByEvictionAPI" if e.detail["terminating"] else ""}),
    "pods: restarted": told("pod", lambda e: {"restarts": 2 if e.t_s > 100 else 0}),
    "pods: without a word": told("pod", _no_word("reason", "disruption", "priority")),
    "jobs: failed": told(
        "job", lambda e: {"failed_for_good": True, "complete": False, "reason": "BackoffLimitExceeded"}
    ),
    "jobs: not done": told("job", lambda e: {"complete": None, "succeeded": 0}),
    "nodes: not ready": told("node", lambda e: {"ready": False}),
    "nodes: tainted": told("node", lambda e: {"taints": ["a:PreferNoSchedule", "b:NoExecute"][: int(e.t_s)]}),
    "nodes: cordoned": told("node", lambda e: {"unschedulable": True}),
    "faults: nothing told": without("fault"),
    "faults: absent": told("fault", lambda e: {"effect": "ABSENT", "reason": "nothing had changed"}),
    "faults: unclear": told("fault", lambda e: {"effect": "UNCLEAR", "reason": "no look at it"}),
    "faults: without a word": told("fault", _no_word("victims", "effect", "reason", "outcomes", "blocked_by")),
    "faults: another loss": told("fault", lambda e: {"loss": "node drain"}),
    "faults: not drained": told("fault", lambda e: {"drained": False, "blocked_by": []}),
    "faults: blocked by two": told("fault", lambda e: {"drained": False, "blocked_by": ["agents/a", "agents/b"]}),
    "faults: no loss": told("fault", lambda e: {"loss": "none"}),
    "faults: denied": told("fault", lambda e: {"step": "denied" if e.detail.get("step") == "permit" else "due"}),
    "faults: unplanned": lambda record: replace(record, experiment=replace(record.experiment, faults=())),
    "faults: no undo": without("undo"),
    "faults: undo failed": told("undo", lambda e: {"step": "failed", "outcome": "the API server refused"}),
    "undo: records open": lambda record: replace(
        record, undo=tuple({**one, "done": False, "outcome": ""} for one in record.undo)
    ),
    "undo: fingerprint differs": _fingerprint,
    "undo: no fingerprint": lambda record: replace(record, fingerprint_after=None),
    "undo: residue": besides(_residue),
    "load: by chance, half": lambda record: told("load", _half_told)(by_chance(record)),
    "load: half": told("load", _half_told),
    "load: busy generator": told("load", lambda e: {"cpu_ratio": 0.97, "lag_s": 0.4, "dropped": 30}),
    "load: nothing told": without("load"),
    "load: never started": without("load-edge"),
    "ended: after a third": until(1 / 3),
    "ended: after two thirds": until(2 / 3),
    "ended: stopped": ended(Ending.STOPPED, "asked by the halt lever"),
    "ended: crashed": ended(Ending.CRASHED, "the conductor died"),
    "ended: not": ended(None, ""),
    "limits: strict": limits(_limit("100ms", 0.99999)),
    "limits: by default": _no_limits,
    "limits: lax": limits(_limit("1h", 0.5)),
    "limits: of what is not there": limits(_ghost),
}
"""Every way by name. A new one is one line here."""
