"""Proof that a fault bit: the victims' uids are gone and other pods serve instead. Never "the call succeeded"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.faults.context import FaultContext, Steps
from harness.model.errors import PortError
from harness.model.facts import PodFact
from harness.model.fault import Effect

LOOK_EVERY_S = 0.5
"""Half the shortest limit that is judged (1 s)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found, and what it means; ``detail`` goes into the event ``evidence`` as well."""

    effect: Effect
    reason: str
    detail: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """What one look at the pods shows.

    Attributes:
        victims: How many were hit.
        gone: Of these, how many uids no longer exist.
        leaving: Of the others, how many are terminating.
        replaced: Pods that did not exist before the deed and are Ready now, at most as many as there are victims.
    """

    victims: int
    gone: int
    leaving: int
    replaced: int

    @property
    def complete(self) -> bool:
        """Tell whether every victim is gone and replaced."""
        return self.gone == self.victims == self.replaced


def look(victims: Sequence[PodFact], before_uids: frozenset[str], pods: Iterable[PodFact]) -> Progress:
    """Compare pods with those before the deed, by uid (CASES A13: counters alone lie).

    Args:
        victims: Who was hit.
        before_uids: uids of all pods of the selector before the deed, also of those not Ready then.
        pods: Pods of the selector now.
    """
    present = {pod.uid: pod for pod in pods if not pod.deleted}
    left = [present[v.uid] for v in victims if v.uid in present]
    fresh = [p for p in present.values() if p.uid not in before_uids and p.ready and not p.terminating]
    leaving = sum(pod.terminating for pod in left)
    return Progress(len(victims), len(victims) - len(left), leaving, min(len(fresh), len(victims)))


def conclude(progress: Progress | None, waited_s: float, hindrance: str) -> Evidence:
    """Say what the last look means once the wait is over.

    Args:
        progress: The last look, or None where none succeeded.
        waited_s: Seconds since the deed.
        hindrance: Why the wait ended before its limit, or why the last look failed; empty where neither.
    """
    after = f"after {waited_s:.1f} s" + (f" ({hindrance})" if hindrance else "")
    if progress is None:
        return Evidence(Effect.UNCLEAR, f"the pods could not be read {after}")
    told = f"{progress.gone} of {progress.victims} uids gone, {progress.replaced} replacements Ready {after}"
    if progress.complete:
        return Evidence(Effect.CONFIRMED, told)
    untouched = progress.victims - progress.gone - progress.leaving
    if untouched == progress.victims and not hindrance:
        return Evidence(Effect.ABSENT, f"{told}; no victim is even terminating")
    return Evidence(Effect.UNCLEAR, f"{told}; {progress.leaving} still terminating")


def wait_for_pods(
    context: FaultContext,
    pods_of: tuple[str, Mapping[str, str]],
    victims: Sequence[PodFact],
    before_uids: frozenset[str],
    limit_s: float,
) -> Steps[Evidence]:
    """Wait until every victim is gone and replaced, a stop is asked for, or the limit passes.

    Args:
        context: What the fault works with.
        pods_of: Namespace and selector.
        victims: Who was hit.
        before_uids: See `look`.
        limit_s: Longest wait in seconds.
    """
    started_s = context.clock.now_s()
    progress: Progress | None = None
    while True:
        progress, hindrance = _one_look(context, pods_of, victims, before_uids, progress)
        waited_s = context.clock.now_s() - started_s
        if progress is not None and progress.complete:
            return conclude(progress, waited_s, "")
        if context.stopping():
            return conclude(progress, waited_s, f"stopped: {context.stopping()}")
        if waited_s >= limit_s:
            return conclude(progress, waited_s, hindrance)
        yield LOOK_EVERY_S


def _one_look(
    context: FaultContext,
    pods_of: tuple[str, Mapping[str, str]],
    victims: Sequence[PodFact],
    before_uids: frozenset[str],
    last: Progress | None,
) -> tuple[Progress | None, str]:
    try:
        return look(victims, before_uids, context.actor.pods(*pods_of)), ""
    except PortError as error:  # the next look may succeed; the last failure goes into the reason
        return last, str(error)


def wait_for(context: FaultContext, look: Callable[[], tuple[bool, str]], limit_s: float) -> Steps[Evidence]:
    """Wait until a look finds the proof, a stop is asked for, or the limit passes.

    Args:
        context: What the fault works with.
        look: Returns whether it bit and what was seen; a `PortError` is "not seen yet", and its text the reason.
        limit_s: Longest wait in seconds.

    Returns:
        CONFIRMED with what was seen; else ABSENT, or UNCLEAR where the last look failed or a stop cut the wait short.
    """
    started_s = context.clock.now_s()
    while True:
        blind = ""
        try:
            bit, seen = look()
        except PortError as error:
            bit, seen, blind = False, str(error), str(error)
        waited_s = context.clock.now_s() - started_s
        if bit:
            return Evidence(Effect.CONFIRMED, f"{seen} after {waited_s:.1f} s")
        if context.stopping():
            return Evidence(Effect.UNCLEAR, f"{seen} after {waited_s:.1f} s (stopped: {context.stopping()})")
        if waited_s >= limit_s:
            return Evidence(Effect.UNCLEAR if blind else Effect.ABSENT, f"{seen} after {waited_s:.1f} s")
        yield LOOK_EVERY_S
