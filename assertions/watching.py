"""Was the cluster seen all through a span? Holes of the watches of some resources, from their own events. Pure.

The assumption ``observation_complete`` asks about the load window alone; what happens at and after a fault's undo lies
outside it, so judges of faults ask here, about the very resources and span that they lean on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.model.record import Record
from harness.model.time import Window
from harness.model.timeline import Event

PODS, NODES, JOBS, HPAS, PDBS = "pods", "nodes", "jobs", "horizontalpodautoscalers", "poddisruptionbudgets"
WORKLOADS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


def blind_spots(record: Record, resources: Sequence[str], namespace: str, window: Window) -> list[str]:
    """Return, in words, what was not seen of some resources within a window; empty where all was seen.

    Args:
        record: The run.
        resources: Plural names without their group, such as ``pods``.
        namespace: Where; ignored for ``nodes``.
        window: What is leaned on.
    """
    return [text for name in resources for text in _blind(record, name, namespace, window)]


def _blind(record: Record, resource: str, namespace: str, window: Window) -> Iterator[str]:
    events = [e for e in record.timeline.of("watch") if _is_about(e, resource, namespace)]
    opened = [e.t_s for e in events if e.detail.get("state") == "open"]
    if not opened or opened[0] > window.start_s:
        yield f"nothing shows that {resource} were watched from +{window.start_s:.0f}s on"
        return
    for i, event in enumerate(events):
        start_s, end_s = _span(event, events[i + 1 :])
        if start_s < window.end_s and end_s > window.start_s:
            reason = event.detail.get("reason") or event.detail.get("state")
            yield f"the watch of {event.subject} was blind at +{event.t_s:.0f}s ({reason})"


def _span(event: Event, later: Sequence[Event]) -> tuple[float, float]:
    """Return the span that an edge makes blind; an empty one for an edge that makes none."""
    state = event.detail.get("state")
    start_s = event.t_s - float(event.detail.get("gap_s") or 0.0)
    if state == "hole":
        return start_s, max(event.t_s, start_s + 1e-3)
    if state == "lost":
        return start_s, min((e.t_s for e in later if e.detail.get("state") == "hole"), default=float("inf"))
    if state == "closed":
        return event.t_s, float("inf")
    return float("inf"), float("-inf")


def _is_about(event: Event, resource: str, namespace: str) -> bool:
    """Tell whether a watch's subject is the resource: ``pods``, ``deployments.apps in agents``."""
    name, _, where = event.subject.partition(" in ")
    return name.partition(".")[0] == resource and (not where or where == namespace)
