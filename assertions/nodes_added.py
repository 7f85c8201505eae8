"""Did nodes come in time for pods that found none? From the first of them to the trigger, and from there to capacity.

Pure. Whether capacity has come is asked of what nodes offer (CASES F18); nodes that a fault hit do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from assertions.definition import Check, broken, held, unclear
from assertions.node_scaling_view import (
    HINDRANCES,
    TRIGGERS,
    AutoscalerView,
    Need,
    NodeLife,
    complaints,
    events_of,
    needs,
    node_lives,
    triggered_s,
)
from assertions.node_timers import SCAN, UP_DELAY
from assertions.watching import NODES, blind_spots
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Outcome

SLOW = "kubectl describe the pods that wait, and the autoscaler's status: quota, provider, start of the node, devices"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a scale-up.

    Attributes:
        labels: Of the nodes that count.
        resource: What they must offer.
        namespace: Of the pods that call for them; empty for any.
        selector: Labels of those pods; empty for any.
        count_min: Fewest nodes that must come.
        count_max: Most that may; None for no limit.
        triggered_within_s: From the first pod without a node until the autoscaler acts.
        offered_within_s: From there until the nodes offer the resource.
    """

    labels: Mapping[str, str]
    resource: str
    namespace: str
    selector: str
    count_min: int
    count_max: int | None
    triggered_within_s: float
    offered_within_s: float


def added_checks(
    record: Record, asked: Asked, view: AutoscalerView, window: Window
) -> tuple[list[Check], dict[str, float]]:
    """Return what is to be said about nodes that had to come, and its figures."""
    need = _need(record, asked, view, window)
    if need is None:
        remedy = "raise the load until pods do not fit, and see that the namespace is in the scope"
        return [unclear("no pod waited for a node, so none had to come", remedy)], {}
    span = Window(need.start_s, max(need.start_s, window.end_s))
    lives = node_lives(record, asked.labels, asked.resource)
    came = [life for life in lives if span.contains(life.came_s) and not life.struck]
    at_s = triggered_s(record, view, came, span)
    full = _at_maximum(view, need)
    if full and not came:
        return [unclear(f"every group of nodes had its maximum already ({full})", "raise the maximum")], {}
    checks = [_triggered(record, asked, view, need, at_s, span)]
    if at_s is not None:
        checks.append(_offered(record, asked, view, came, at_s, span))
    checks += _overshoot(asked, came)
    return _as_seen(record, checks, asked, span), _figures(need, at_s, came)


def _need(record: Record, asked: Asked, view: AutoscalerView, window: Window) -> Need | None:
    """Return the first stretch that lasted for a scan of the autoscaler, or that it acted on."""
    scan_s = view.timers.of_s(SCAN)
    for need in needs(record, asked.namespace, asked.selector, window):
        end_s = window.end_s if need.end_s is None else need.end_s
        acted = any(events_of(record, TRIGGERS, Window(need.start_s, max(need.start_s, end_s))))
        if end_s - need.start_s >= scan_s or acted:
            return need
    return None


def _at_maximum(view: AutoscalerView, need: Need) -> str:
    fact = view.at(need.start_s)
    if fact is None or not fact.max_sizes:
        return ""
    sizes = [(name, fact.targets.get(name), most) for name, most in fact.max_sizes.items()]
    full = all(size is not None and size >= most for _, size, most in sizes)
    return ", ".join(f"{name}: {most}" for name, _, most in sizes) if full else ""


def _triggered(
    record: Record, asked: Asked, view: AutoscalerView, need: Need, at_s: float | None, span: Window
) -> Check:
    limit = asked.triggered_within_s + view.timers.of_s(UP_DELAY)
    waiting = f"{len(need.pods)} pod{'s' if len(need.pods) > 1 else ''} found no node ({', '.join(need.pods[:3])})"
    if at_s is not None:
        text = f"{waiting}; the autoscaler acted {at_s - need.start_s:.1f} s later"
        return held(text) if at_s - need.start_s <= limit else broken(f"{text}, the limit is {limit:g} s", SLOW, text)
    if not need.holds_until(need.start_s + limit):
        ended_s = (need.end_s or span.end_s) - need.start_s
        return unclear(
            f"{waiting} for {ended_s:.1f} s only, no node had to come", "let the demand last longer", waiting
        )
    if span.duration_s < limit:
        reason = f"{waiting}; no node was asked for by the end of the record, {limit:g} s are allowed"
        return unclear(reason, "let the run last longer", waiting)
    why = complaints(record, view, span, HINDRANCES)
    return broken(f"{waiting}, and no node was asked for within {limit:g} s{why}", SLOW, waiting)


def _offered(
    record: Record, asked: Asked, view: AutoscalerView, came: Sequence[NodeLife], at_s: float, span: Window
) -> Check:
    offered = _offered_s(came)
    limit, count = asked.offered_within_s, asked.count_min
    what = f"{count} new node{'s' if count > 1 else ''} offered {asked.resource}"
    few = f"{len(offered)} of {what}"
    if len(offered) >= count:
        took_s = max(0.0, offered[count - 1] - at_s)
        text = f"{what} {took_s:.1f} s after that"
        return held(text) if took_s <= limit else broken(f"{text}, the limit is {limit:g} s", SLOW, text)
    seen = f"{len(came)} came" + _lacks(came, asked.resource, span.end_s)
    if span.end_s < at_s + limit:
        reason = f"{few} by the end of the record ({seen}), {limit:g} s are allowed"
        return unclear(reason, "let the run last longer", seen)
    why = complaints(record, view, span, HINDRANCES)
    return broken(f"{few} within {limit:g} s ({seen}){why}", SLOW, seen)


def _offered_s(came: Sequence[NodeLife]) -> list[float]:
    return sorted(life.offered_s for life in came if life.offered_s is not None)


def _lacks(came: Sequence[NodeLife], resource: str, t_s: float) -> str:
    """Return what nodes that came lack, such as devices of a node that is Ready."""
    told = []
    for life in came:
        fact = life.at(t_s) if life.offered_s is None else None
        if fact is not None:
            state = "Ready" if fact.ready else "not Ready"
            told.append(f"{life.name} is {state} and offers {fact.allocatable.get(resource, '0')} {resource}")
    return "".join(f"; {text}" for text in told)


def _overshoot(asked: Asked, came: Sequence[NodeLife]) -> Iterator[Check]:
    if asked.count_max is None:
        return
    text = f"{len(came)} nodes came"
    if len(came) > asked.count_max:
        reason = f"{text}, {asked.count_max} at most were to"
        yield broken(reason, "see whether nodes were Ready before they offered what pods waited for", text)
    else:
        yield held(text)


def _as_seen(record: Record, checks: Sequence[Check], asked: Asked, span: Window) -> list[Check]:
    """Leave open what a hole of the watch of nodes could have hidden."""
    blind = blind_spots(record, [NODES], "", span)
    if not blind:
        return list(checks)
    told, remedy = "; ".join(blind), "see why the API server could not be watched"
    more = [unclear(f"how many nodes came cannot be told: {told}", remedy)] if asked.count_max is not None else []
    return [
        unclear(f"{c.reason}, but {told}", remedy, c.observed) if c.outcome is Outcome.FAIL else c for c in checks
    ] + more


def _figures(need: Need, at_s: float | None, came: Sequence[NodeLife]) -> dict[str, float]:
    figures = {"nodes_added": float(len(came)), "pods_waiting": float(len(need.pods))}
    offered = _offered_s(came)
    if at_s is not None:
        figures["triggered_s"] = at_s - need.start_s
        if offered:
            figures["first_offered_s"] = max(0.0, offered[0] - at_s)
    return figures
