"""One view of an autoscaler of nodes: what it said, which pods waited for a node, which nodes came and went. Pure.

It judges no limit. A node is known by its uid. Capacity has come when it is offered (CASES F18): the node is Ready,
takes pods, and has some of the resource allocatable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from assertions.budget_replay import matches
from assertions.fault_view import fault_views
from assertions.node_timers import Timers
from assertions.node_view import amount
from harness.model.experiment import AssertionSpec, node_autoscaler_of
from harness.model.facts import NodeAutoscalerFact, NodeAutoscalerFlagsFact, NodeFact, PodFact
from harness.model.record import Record
from harness.model.selector import parse_selector
from harness.model.time import Window
from harness.model.timeline import Event

CANDIDATE, LEAVING = "DeletionCandidateOfClusterAutoscaler", "ToBeDeletedByClusterAutoscaler"
STARTING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "startup-taint.", "ignore-taint.", LEAVING)
"""Taints of a node that does not take pods yet, or no more; others are its pool's own."""

TRIGGERS = frozenset({"TriggeredScaleUp", "ScaledUpGroup"})
HINDRANCES = frozenset({"NotTriggerScaleUp", "FailedToScaleUpGroup", "FailedToCreateNodeGroup", "ScaleUpTimedOut"})
REMOVALS = frozenset({"ScaleDown", "ScaleDownEmpty"})
FAILED_REMOVAL = "ScaleDownFailed"
IN_PROGRESS = "InProgress"
STALE_S = 180.0
"""A status that is older is of an autoscaler that does not run (its FAQ: no more than 3 min, usually 10 s)."""

SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class NodeLife:
    """What became of one node.

    Attributes:
        uid: Of the node.
        name: Of the node.
        states: ``(t_s, fact)``, in order.
        came_s: When it was first seen.
        offered_s: When it first offered the resource to pods; None where it never did.
        gone_s: When it was gone; None where it stayed.
        removed: Whether it was seen that the autoscaler removed it.
        struck: Whether a fault hit it.
    """

    uid: str
    name: str
    states: Sequence[tuple[float, NodeFact]]
    came_s: float
    offered_s: float | None
    gone_s: float | None
    removed: bool
    struck: bool

    def at(self, t_s: float) -> NodeFact | None:
        """Return its state at an instant; None before it came, and once it is gone."""
        fact = next((fact for seen_s, fact in reversed(self.states) if seen_s <= t_s), None)
        return None if fact is None or fact.deleted else fact

    def unneeded_s(self, t_s: float) -> float | None:
        """Return since when it is a candidate for removal, as seen by its taint; None where it is none then.

        The taint of a node that is on its way out says nothing of when it became one.
        """
        since_s: float | None = None
        for seen_s, fact in self.states:
            if seen_s > t_s or fact.deleted:
                break
            marked, leaving = (any(t.startswith(key) for t in fact.taints) for key in (CANDIDATE, LEAVING))
            if not marked and not leaving:
                since_s = None
            elif marked and since_s is None:
                since_s = seen_s
        return since_s


def offers(fact: NodeFact, resource: str) -> bool:
    """Tell whether a node offers a resource to pods; Ready alone is not enough (CASES F18)."""
    closed = any(taint.startswith(STARTING) for taint in fact.taints) or fact.unschedulable or fact.deleted
    return fact.ready and not closed and (amount(fact, resource) or 0) > 0


def node_lives(record: Record, labels: Mapping[str, str], resource: str) -> list[NodeLife]:
    """Return the life of each node that ever carried some labels, in the order in which they came."""
    by_uid: dict[str, list[tuple[float, NodeFact]]] = {}
    for t_s, fact in record.timeline.facts(NodeFact):
        by_uid.setdefault(fact.uid, []).append((t_s, fact))
    hit = (victim for view in fault_views(record) for victim in view.victims)
    struck = {
        str(v.get("name")) for v in hit if str(v.get("kind")).lower() == "node"
    }  # a pod's node is not hit with it
    told = _removals_told(record)
    return [
        _life(states, resource, told, struck)
        for states in by_uid.values()
        if any(matches(labels, fact.labels) for _, fact in states)
    ]


def _life(
    states: Sequence[tuple[float, NodeFact]], resource: str, told: Callable[[str], bool], struck: set[str]
) -> NodeLife:
    first_s, first = states[0]
    marked = any(taint.startswith(LEAVING) for _, fact in states for taint in fact.taints)
    return NodeLife(
        first.uid,
        first.name,
        states,
        came_s=first_s,
        offered_s=next((t for t, fact in states if offers(fact, resource)), None),
        gone_s=next((t for t, fact in states if fact.deleted), None),
        removed=marked or told(first.name),
        struck=first.name in struck,
    )


def _removals_told(record: Record) -> Callable[[str], bool]:
    """Return whether an Event of the autoscaler says that it removes a node: it is about it, or names it."""
    told = [e for e in record.timeline.of("k8s-event") if e.detail.get("reason") in REMOVALS]
    named = {e.subject for e in told}
    words = {word.strip("\"',;:") for e in told for word in str(e.detail.get("message", "")).split()}
    return lambda name: name in named or name in words


# What the autoscaler says ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AutoscalerView:
    """What an autoscaler of nodes told of itself.

    Attributes:
        status: ``namespace/name`` of where it tells it.
        states: ``(t_s, fact)`` of its status, in order.
        timers: Its timers.
    """

    status: str
    states: Sequence[tuple[float, NodeAutoscalerFact]]
    timers: Timers

    def at(self, t_s: float) -> NodeAutoscalerFact | None:
        """Return what it said at an instant, or None where it had not said anything."""
        fact = next((fact for seen_s, fact in reversed(self.states) if seen_s <= t_s), None)
        return None if fact is None or fact.deleted else fact

    def candidates_s(self, window: Window) -> float | None:
        """Return since when, within a window, it has had candidates for removal up to its end."""
        since_s: float | None = None
        for t_s, fact in self.states:
            if t_s >= window.end_s:
                break
            some = bool(fact.candidates) and not fact.deleted
            since_s = None if not some else max(t_s, window.start_s) if since_s is None else since_s
        return since_s


def autoscaler_view(record: Record, spec: AssertionSpec) -> AutoscalerView:
    """Look at the autoscaler that an assertion names; it has no states where it was never seen."""
    namespace, _, name = node_autoscaler_of(spec).partition("/")
    states = record.timeline.facts(NodeAutoscalerFact, lambda f: (f.namespace, f.name) == (namespace, name))
    seen = record.timeline.facts(NodeAutoscalerFlagsFact, lambda f: f.namespace == namespace)
    recorded = dict(seen[-1][1].flags) if seen else {}
    written = {str(flag): _written(value) for flag, value in (spec.params.get("flags") or {}).items()}
    return AutoscalerView(f"{namespace}/{name}", states, Timers({**recorded, **written}, known=bool(seen or written)))


def _written(value: object) -> str:
    """Return a flag of an experiment file as the autoscaler takes it: seconds have a unit there, switches are text."""
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value}s" if plain else str(value).lower()


def complaints(record: Record, view: AutoscalerView, window: Window, reasons: frozenset[str]) -> str:
    """Return what the autoscaler itself says that is wrong, as the end of a sentence; empty where it says nothing."""
    said = [f"{e.subject}: {e.detail.get('reason')} ({e.detail.get('message')})"
            for e in events_of(record, reasons, window)]  # fmt: skip
    newest = view.at(window.end_s)
    if newest is not None:
        said += [f"group {name} is in backoff ({why or 'no reason given'})" for name, why in newest.backoffs.items()]
        said += _ill(newest, record.timeline.origin.timestamp() + window.end_s)
    shown = list(dict.fromkeys(said))[:SHOWN_MAX]
    return f"; the autoscaler says: {'; '.join(shown)}" if shown else ""


def _ill(fact: NodeAutoscalerFact, now_unix_s: float) -> Iterator[str]:
    if fact.health == "Unhealthy" or fact.state != "Running":
        yield f"it is {fact.state or 'of no known state'}, the cluster is {fact.health or 'not known'}"
    if fact.updated_unix_s is not None and now_unix_s - fact.updated_unix_s > STALE_S:
        yield f"nothing for {now_unix_s - fact.updated_unix_s:.0f} s"


def events_of(record: Record, reasons: frozenset[str], window: Window) -> Iterator[Event]:
    """Yield Events with some reasons within a window."""
    events = (e for e in record.timeline.of("k8s-event") if e.detail.get("reason") in reasons)
    return (e for e in events if window.contains(e.t_s))


# Who waits for a node -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Need:
    """A stretch in which pods found no node.

    Attributes:
        start_s: The first of them was told so.
        end_s: None of them waited any more; None where some did until the end.
        pods: Their names.
    """

    start_s: float
    end_s: float | None
    pods: tuple[str, ...]

    def holds_until(self, t_s: float) -> bool:
        """Tell whether some pod still waited at an instant."""
        return self.end_s is None or self.end_s >= t_s


def needs(record: Record, namespace: str, selector: str, window: Window) -> list[Need]:
    """Return the stretches in which pods were unschedulable; an empty namespace or selector means any.

    Args:
        record: The run.
        namespace: Of the pods.
        selector: Their labels.
        window: What is looked at; a stretch that began before it begins with it.
    """
    labels = parse_selector(selector) if selector else {}
    facts = record.timeline.facts(PodFact, lambda p: namespace in ("", p.namespace) and matches(labels, p.labels))
    waiting: dict[str, str] = {}
    found: list[Need] = []
    start_s, pods = 0.0, set[str]()
    for t_s, pod in facts:
        if t_s >= window.end_s:
            break
        before = bool(waiting)
        if _waits(pod):
            waiting[pod.uid] = pod.subject
            pods.add(pod.subject)
        else:
            waiting.pop(pod.uid, None)
        if waiting and not before:
            start_s, pods = t_s, {pod.subject}
        elif before and not waiting:
            found.append(Need(max(start_s, window.start_s), t_s, tuple(sorted(pods))))
    if waiting:
        found.append(Need(max(start_s, window.start_s), None, tuple(sorted(pods))))
    return [need for need in found if need.holds_until(window.start_s)]


def _waits(pod: PodFact) -> bool:
    unbound = not pod.node and not pod.deleted and not pod.terminating
    return unbound and pod.reason == "Unschedulable"


def triggered_s(record: Record, view: AutoscalerView, lives: Sequence[NodeLife], window: Window) -> float | None:
    """Return when the autoscaler was first seen to add nodes: it said so, asked for more, or a node came."""
    before = view.at(window.start_s)
    base = sum(before.targets.values()) if before else 0
    said = [e.t_s for e in events_of(record, TRIGGERS, window)]
    asked = [t_s for t_s, fact in view.states if window.contains(t_s) and _asks_more(fact, base, bool(before))]
    came = [life.came_s for life in lives if window.contains(life.came_s)]
    return min([*said, *asked, *came], default=None)


def _asks_more(fact: NodeAutoscalerFact, base: int, known: bool) -> bool:
    return fact.scale_up == IN_PROGRESS or (known and sum(fact.targets.values()) > base)
