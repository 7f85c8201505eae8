"""Advice of `gameday doctor`: what is likely to hurt this platform though no run needs it. Pure over what was read.

Every piece names the object, why it matters in a game day, and the command to look at it. Nothing here is a finding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from harness.doctor_lines import Line, State
from harness.model.facts import Fact, HpaFact, PdbFact, ScaledObjectFact
from harness.preflight import Facts

Json = Mapping[str, Any]
AREA = "advice"
F = TypeVar("F", bound=Fact)


def advise(facts: Facts, workloads: Iterable[Json], kubectl: str) -> list[Line]:
    """Return the advice about some namespaces.

    Args:
        facts: Present state.
        workloads: Deployments and StatefulSets as plain JSON.
        kubectl: Begins every command, such as ``kubectl --context staging``.
    """
    found: list[Line] = []
    for workload in sorted(workloads, key=_subject):
        found += _on_workload(workload, facts, kubectl)
    for scaler in _of(facts, "hpa", HpaFact):
        found += _on_hpa(scaler, kubectl)
    return found


def _on_workload(workload: Json, facts: Facts, kubectl: str) -> Iterator[Line]:
    subject = _subject(workload)
    meta, kind = workload["metadata"], workload["kind"].lower()
    look = f"{kubectl} -n {meta['namespace']} get {kind} {meta['name']} -o yaml"
    floor, why = _fewest(workload, facts)
    budgets = [pdb for pdb in _of(facts, "pdb", PdbFact) if _covers(pdb, workload)]
    if floor == 1:
        yield _line(subject, f"a single replica ({why}): every pod that goes is an outage", look)
    if not budgets and floor != 0:
        yield _line(subject, "no PodDisruptionBudget: a drain may take all its pods at once", look)
    for pdb in budgets:
        yield from _undrainable(subject, pdb, floor, why, kubectl)
    for container in (workload["spec"]["template"].get("spec") or {}).get("containers") or ():
        yield from _on_container(f"{subject} container {container['name']}", container, look)


def _on_container(subject: str, container: Json, look: str) -> Iterator[Line]:
    resources = container.get("resources") or {}
    if "readinessProbe" not in container:
        yield _line(subject, "no readinessProbe: it gets requests before it can answer, and while it hangs", look)
    if "cpu" not in (resources.get("requests") or {}):
        yield _line(subject, "no CPU request: an autoscaler on CPU has nothing to divide by", look)
    if "memory" not in (resources.get("limits") or {}):
        yield _line(subject, "no memory limit: a leak takes its whole node along", look)


def _on_hpa(scaler: HpaFact, kubectl: str) -> Iterator[Line]:
    look = f"{kubectl} -n {scaler.namespace} describe hpa {scaler.name}"
    if scaler.current_replicas is not None and scaler.current_replicas >= scaler.max_replicas:
        told = f"maxReplicas ({scaler.max_replicas}) is reached before any burst: it has no room left"
        yield _line(f"hpa {scaler.subject}", told, look)


def _undrainable(subject: str, pdb: PdbFact, floor: int | None, why: str, kubectl: str) -> Iterator[Line]:
    """Tell of a budget that allows no eviction at all once the workload is at its fewest replicas."""
    if not floor:
        return
    allowed = _allowed(pdb, floor)
    if allowed is not None and allowed <= 0:
        rule = (
            f"minAvailable {pdb.min_available}"
            if pdb.min_available is not None
            else f"maxUnavailable {pdb.max_unavailable}"
        )
        told = f"pdb {pdb.name} ({rule}) allows no eviction at {floor} replica(s) ({why}): no drain of its node ends"
        yield _line(subject, told, f"{kubectl} -n {pdb.namespace} describe pdb {pdb.name}")


def _allowed(pdb: PdbFact, replicas: int) -> int | None:
    """Return how many pods may be evicted while all are healthy; percentages round up, as Kubernetes does."""
    if pdb.min_available is not None:
        return replicas - _scaled(pdb.min_available, replicas)
    return None if pdb.max_unavailable is None else _scaled(pdb.max_unavailable, replicas)


def _scaled(written: str, replicas: int) -> int:
    return math.ceil(int(written[:-1]) * replicas / 100) if written.endswith("%") else int(written)


def _fewest(workload: Json, facts: Facts) -> tuple[int | None, str]:
    """Return the fewest replicas that a workload is left with, and who says so."""
    aims_at = f"{workload['kind']}/{workload['metadata']['name']}"
    here = workload["metadata"]["namespace"]
    scalers: list[ScaledObjectFact | HpaFact] = [
        *_of(facts, "scaledobject", ScaledObjectFact),
        *_of(facts, "hpa", HpaFact),
    ]
    mine = next((s for s in scalers if s.namespace == here and s.target == aims_at), None)
    if mine is not None:
        return mine.min_replicas, f"the minimum of {mine.kind} {mine.name}"
    return workload["spec"].get("replicas"), "its replicas"


def _covers(pdb: PdbFact, workload: Json) -> bool:
    labels = (workload["spec"]["template"].get("metadata") or {}).get("labels") or {}
    same = pdb.namespace == workload["metadata"]["namespace"]
    return same and bool(pdb.selector) and pdb.selector.items() <= labels.items()


def _of(facts: Facts, kind: str, cls: type[F]) -> Sequence[F]:
    return sorted((f for f in facts.get(kind, ()) if isinstance(f, cls)), key=lambda fact: fact.subject)


def _subject(workload: Json) -> str:
    meta = workload["metadata"]
    return f"{workload['kind']} {meta['namespace']}/{meta['name']}"


def _line(subject: str, message: str, command: str) -> Line:
    return Line(AREA, State.ADVICE, subject, message, command)
