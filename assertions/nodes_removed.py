"""Did nodes go in time once nobody needed them? By the autoscaler's own timers, which are longer than most runs.

Pure. A run that ends before the timers do proves nothing in either direction: the answer is left to a later look, and
says when (CASES F17). What keeps nodes is said with every answer but a PASS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from assertions.definition import Check, broken, held, unclear
from assertions.node_blockers import blockers, movable_pods
from assertions.node_scaling_view import FAILED_REMOVAL, SHOWN_MAX, AutoscalerView, NodeLife, complaints, node_lives
from assertions.node_timers import ENABLED, Budget, Held, budget
from assertions.watching import NODES, blind_spots
from harness.model.record import Record
from harness.model.time import Window

LOOK = "see the Events of the nodes, and of the autoscaler's status"
FAILURES = frozenset({FAILED_REMOVAL})


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a scale-down.

    Attributes:
        labels: Of the nodes that count.
        resource: What they offer.
        count_min: Fewest nodes that must go.
        within_s: What draining and deleting may take once the timers allow it.
    """

    labels: Mapping[str, str]
    resource: str
    count_min: int
    within_s: float


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everything a scale-down is judged by.

    Attributes:
        record: The run.
        asked: What is asked.
        view: The autoscaler.
        window: From the end of the demand to the end of what was seen.
        here: Nodes that were there in it, and that no fault hit.
    """

    record: Record
    asked: Asked
    view: AutoscalerView
    window: Window
    here: Sequence[NodeLife]

    def gone(self, removed: bool) -> list[NodeLife]:
        """Return the nodes that went, by the autoscaler's hand or by another."""
        gone = (life for life in self.here if life.gone_s is not None and self.window.contains(life.gone_s))
        return sorted((life for life in gone if life.removed is removed), key=lambda life: life.gone_s or 0.0)

    def held(self, until_s: float, unneeded_s: float | None, unready: bool, deleted: Sequence[NodeLife]) -> Held:
        """Return what held a removal up until an instant."""
        failed = (e.t_s for e in self.record.timeline.of("k8s-event") if e.detail.get("reason") == FAILED_REMOVAL)
        return Held(
            self.window.start_s,
            unneeded_s,
            unready,
            added_s=[life.came_s for life in self.here if self.asked_during_run(life) and life.came_s <= until_s],
            deleted_s=[life.gone_s for life in deleted if life.gone_s is not None],
            failed_s=[t_s for t_s in failed if t_s <= until_s],
        )

    def asked_during_run(self, life: NodeLife) -> bool:
        """Tell whether a node came with the load: one that was there before says nothing of when it was added."""
        load = self.record.timeline.load_window()
        return load is not None and life.came_s > load.start_s

    def staying(self) -> list[NodeLife]:
        """Return the nodes that stayed; of those that came with the load, where there are any."""
        there = [life for life in self.here if life.gone_s is None or life.gone_s >= self.window.end_s]
        return [life for life in there if self.asked_during_run(life)] or there


def removed_checks(
    record: Record, asked: Asked, view: AutoscalerView, window: Window
) -> tuple[list[Check], dict[str, float]]:
    """Return what is to be said about nodes that had to go, and its figures.

    Args:
        record: The run.
        asked: What is asked.
        view: The autoscaler.
        window: From the end of the demand to the end of what was seen.
    """
    lives = [life for life in node_lives(record, asked.labels, asked.resource) if life.came_s < window.end_s]
    here = [life for life in lives if not life.struck and (life.gone_s is None or life.gone_s > window.start_s)]
    scene = _Scene(record, asked, view, window, here)
    if view.timers.is_off(ENABLED):
        return [unclear(f"the autoscaler removes no nodes: its flag {ENABLED} is false", "set it, or do not ask")], {}
    if not here:
        return [unclear("no node was there at the end of the demand", "see the labels of nodes")], {}
    mine = scene.gone(removed=True)
    figures = {"nodes_removed": float(len(mine)), "observed_s": window.duration_s}
    if len(mine) >= asked.count_min:
        return [_went(scene, mine)], figures | {"removed_s": _gone_s(mine, asked) - window.start_s}
    check, due = _stayed(scene, mine)
    return [check], figures | {"due_s": due.due_s - window.start_s, "deadline_s": due.deadline_s - window.start_s}


def _gone_s(mine: Sequence[NodeLife], asked: Asked) -> float:
    return mine[asked.count_min - 1].gone_s or 0.0


def _went(scene: _Scene, mine: Sequence[NodeLife]) -> Check:
    last, count = mine[scene.asked.count_min - 1], scene.asked.count_min
    at_s = _gone_s(mine, scene.asked)
    since_s = last.unneeded_s(at_s)
    before = last.at(at_s - 1e-6)
    what = scene.held(at_s, since_s, before is not None and not before.ready, mine[: count - 1])
    due = budget(scene.view.timers, what, scene.asked.within_s)
    text = f"{_nodes(count)} removed {at_s - scene.window.start_s:.0f} s after the demand"
    if at_s <= due.deadline_s:
        return held(text)
    late = f"{text}, {at_s - due.due_s:.0f} s after it was due ({due.rule}); {scene.asked.within_s:g} s are allowed"
    if since_s is None or not scene.view.timers.known:
        return unclear(f"{late}; but when it was due is not certain", "state its flags under flags", text)
    return broken(late, LOOK, text)


def _stayed(scene: _Scene, mine: Sequence[NodeLife]) -> tuple[Check, Budget]:
    """Judge nodes that have not gone, by what the run has seen."""
    window, staying = scene.window, scene.staying()
    since_s, unready = _unneeded(scene, scene.asked.count_min - len(mine))
    due = budget(scene.view.timers, scene.held(window.end_s, since_s, unready, mine), scene.asked.within_s)
    seen = f"{len(mine)} of {_nodes(scene.asked.count_min)} removed {window.duration_s:.0f} s after the demand"
    kept = {life.name: found for life in staying if (found := _blockers(scene, life))}
    reasons = [reason for found in kept.values() for reason in found]
    why = f"; kept by: {'; '.join(reasons[:SHOWN_MAX])}" if reasons else ""
    why += complaints(scene.record, scene.view, window, FAILURES)
    came = [life for life in staying if scene.asked_during_run(life)]
    return _answer(scene, seen, why, due, since_s is not None, bool(came) and len(kept) == len(staying)), due


def _answer(scene: _Scene, seen: str, why: str, due: Budget, unneeded: bool, blocked: bool) -> Check:
    window = scene.window
    open_reason = _open(scene, seen)
    if open_reason is not None:
        return open_reason
    if window.end_s < due.deadline_s:
        at = scene.record.timeline.origin + timedelta(seconds=due.deadline_s)
        left = f"left to a later look, at {at:%Y-%m-%d %H:%M:%S} UTC (+{due.deadline_s:.0f}s)"
        reason = f"{seen}, and none had to be before +{due.due_s:.0f}s ({due.rule}): {left}{why}"
        return unclear(reason, "look again then, let the run settle longer, or shorten the autoscaler's timers", seen)
    text = f"{seen}; it was due at +{due.due_s:.0f}s ({due.rule}), {scene.asked.within_s:g} s are allowed{why}"
    blind = blind_spots(scene.record, [NODES], "", window)
    if blind:
        return unclear(f"{text}; but {'; '.join(blind)}", "see why the API server could not be watched", seen)
    if not scene.view.timers.known:
        return unclear(f"{text}; but its flags are not known", "state them under flags", seen)
    if unneeded or blocked:
        return broken(text, LOOK, seen)
    reason = f"{text}; no node was unneeded as far as can be told{_still_there(scene)}"
    return unclear(reason, "see that replicas come down, and that every namespace with pods is in the scope", seen)


def _open(scene: _Scene, seen: str) -> Check | None:
    """Return why nodes that stay, or went by another hand, prove nothing; None where they do."""
    others = scene.gone(removed=False)
    if others:
        names = ", ".join(life.name for life in others[:SHOWN_MAX])
        return unclear(f"{seen}; {names} went, and nothing shows that the autoscaler removed it", LOOK, seen)
    newest = scene.view.at(scene.window.end_s)
    if newest is None or not newest.min_sizes:
        return None
    if all(newest.targets.get(name, least + 1) <= least for name, least in newest.min_sizes.items()):
        sizes = ", ".join(f"{name}: {least}" for name, least in newest.min_sizes.items())
        return unclear(f"{seen}; every group of nodes has its minimum ({sizes})", "have a node come first", seen)
    return None


def _unneeded(scene: _Scene, count: int) -> tuple[float | None, bool]:
    """Return since when enough nodes that stayed are unneeded, and whether they are not Ready."""
    end_s = scene.window.end_s
    marked = [(since_s, life) for life in scene.here if (since_s := life.unneeded_s(end_s)) is not None]
    still = sorted(((s, life) for s, life in marked if life.at(end_s) is not None), key=lambda pair: pair[0])
    if len(still) >= count:
        since_s, life = still[count - 1]
        fact = life.at(end_s)
        return since_s, fact is not None and not fact.ready
    newest = scene.view.at(end_s)
    many = newest is not None and (newest.candidates or 0) >= count
    return (scene.view.candidates_s(scene.window) if many else None), False


def _blockers(scene: _Scene, life: NodeLife) -> list[str]:
    fact = life.at(scene.window.end_s)
    return [] if fact is None else blockers(scene.record, fact, scene.window.end_s, scene.view.timers)


def _still_there(scene: _Scene) -> str:
    pods = [p.subject for life in scene.staying() for p in movable_pods(scene.record, life.name, scene.window.end_s)]
    return f": {', '.join(pods[:SHOWN_MAX])} still ran on them" if pods else ", and no pod that was watched ran on them"


def _nodes(count: int) -> str:
    return "1 node was" if count == 1 else f"{count} nodes were"
