"""Who is hit: a seeded choice without replacement among pods that serve. No clock; only `existing` asks the cluster."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.model.errors import GameDayError
from harness.model.facts import PodFact
from harness.model.fault import ObjectRef
from harness.ports import ClusterActor

_ROUNDING_SLACK = 1e-9


class TargetError(GameDayError):
    """There are not as many victims as the experiment asks for (CASES A05, A11)."""


def existing(actor: ClusterActor, ref: ObjectRef, why: str = "") -> Mapping[str, Any]:
    """Return the object that a fault is about.

    Args:
        actor: Reads it.
        ref: Names it.
        why: What its absence means, where that says more.

    Raises:
        TargetError: There is none.
    """
    found = actor.get(ref)
    if found is None:
        raise TargetError(f"there is no {ref}" + (f": {why}" if why else ""))
    return found


def eligible(pods: Iterable[PodFact]) -> list[PodFact]:
    """Return pods that can be a victim: Ready, not terminating, not ended (CASES A12); by name, so a seed repeats."""
    serving = (pod for pod in pods if pod.ready and not pod.terminating and not pod.terminal and not pod.deleted)
    return sorted(serving, key=lambda pod: (pod.namespace, pod.name, pod.uid))


def asked_of(arguments: Mapping[str, Any], present: int) -> int:
    """Return how many victims the arguments ask for.

    Args:
        arguments: Either ``count``, or ``share`` of the eligible pods. A share is rounded *down*, so that no more
            than the share is ever hit (0.34 of 9 is 3), but never below one: an experiment asks for a fault.
        present: How many eligible pods there are.
    """
    if arguments.get("count") is not None:
        return int(arguments["count"])
    return max(1, math.floor(float(arguments["share"]) * present + _ROUNDING_SLACK))


def draw_seed(seed: int, action: str, arguments: Mapping[str, Any]) -> str:
    """Return the seed of one fault's draw: the run's seed, the action and what it was asked for.

    The activity's name is left out, so that a preview made from the arguments draws the same victims.
    """
    return f"{seed}/{action}/{json.dumps(dict(arguments), sort_keys=True)}"


def choose(pods: Iterable[PodFact], arguments: Mapping[str, Any], seed_text: str) -> tuple[PodFact, ...]:
    """Choose victims among pods.

    Args:
        pods: All pods of the selector.
        arguments: With ``count`` or ``share``.
        seed_text: See `draw_seed`.

    Returns:
        As many different pods as asked for.

    Raises:
        TargetError: There are fewer, or none.
    """
    every = list(pods)
    candidates = eligible(every)
    asked = asked_of(arguments, len(candidates))
    if not candidates or asked < 1 or asked > len(candidates):
        raise TargetError(_shortage(arguments, asked, len(candidates), len(every)))
    return tuple(random.Random(seed_text).sample(candidates, asked))  # noqa: S311 - a draw that must repeat


def _shortage(arguments: Mapping[str, Any], asked: int, candidates: int, every: int) -> str:
    where = f"{arguments.get('selector')} in {arguments.get('namespace')}"
    if every == 0:
        return f"no pod matches {where}"
    return f"{asked} victims were asked for, but {candidates} of {every} pods of {where} are Ready and not terminating"


def victim(pod: PodFact) -> dict[str, str]:
    """Return a victim as it goes into the record."""
    return {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "node": pod.node}


def victims(pods: Sequence[PodFact]) -> list[dict[str, str]]:
    """Return victims as they go into the record."""
    return [victim(pod) for pod in pods]
