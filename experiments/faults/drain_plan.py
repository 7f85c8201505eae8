"""What a drain of a node would do with each pod on it, found before the first write (CASES A07, F01-F03, F06). Pure.

Works on plain objects as the API returns them; a list that is absent is an empty one. Decides nothing about time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from experiments.faults.conditions import condition_is
from harness.model.selector import selects

Json = Mapping[str, Any]
MIRROR = "kubernetes.io/config.mirror"


class Fate(StrEnum):
    """What a drain does with a pod."""

    EVICT = "evict"
    WAIT = "wait"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a PodDisruptionBudget allows.

    Attributes:
        name: ``namespace/name``.
        selector: Which pods it counts.
        healthy: Healthy pods, or None where its status does not say.
        desired: How many it wants, by its spec and the pods expected; None where it cannot be told.
        expected: Pods that it counts.
        allowed: How many may go now, or None.
        current: Whether its status is of its present spec (CASES F04).
        always_allow: ``unhealthyPodEvictionPolicy: AlwaysAllow``.
    """

    name: str
    selector: Json | None
    healthy: int | None
    desired: int | None
    expected: int | None
    allowed: int | None
    current: bool
    always_allow: bool

    @property
    def never(self) -> bool:
        """Tell whether no pod may ever go, however many are Ready: every one that is expected is also wanted."""
        return self.desired is not None and self.expected is not None and 0 < self.expected <= self.desired

    def describe(self) -> str:
        """Say what it has and what it wants."""
        return f"PDB {self.name} wants {_or_unknown(self.desired)} healthy pods and has {_or_unknown(self.healthy)}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One pod of the node.

    Attributes:
        namespace: Of the pod.
        name: Of the pod.
        uid: Of the pod.
        fate: What a drain does with it.
        reason: Why.
        budgets: Names of the budgets that count it.
        hopeless: Why no eviction of it can ever be granted, or empty.
    """

    namespace: str
    name: str
    uid: str
    fate: Fate
    reason: str = ""
    budgets: tuple[str, ...] = ()
    hopeless: str = ""

    @property
    def pod(self) -> str:
        """Return ``namespace/name``."""
        return f"{self.namespace}/{self.name}"


def desired_healthy(spec: Json, expected: int) -> int | None:
    """Return how many healthy pods a budget wants; percentages are rounded up, for both fields (CASES F02).

    Args:
        spec: Of the PodDisruptionBudget.
        expected: Pods that it counts.

    Returns:
        None where the spec sets neither field.
    """
    if spec.get("minAvailable") is not None:
        return _scaled(spec["minAvailable"], expected)
    if spec.get("maxUnavailable") is not None:
        return max(0, expected - _scaled(spec["maxUnavailable"], expected))
    return None


def _scaled(value: int | str, total: int) -> int:
    text = str(value)
    return math.ceil(int(text[:-1]) * total / 100) if text.endswith("%") else int(text)


def read_budget(pdb: Json) -> Budget:
    """Read a PodDisruptionBudget; its own status is believed only where it is of its present spec."""
    meta, spec, status = pdb["metadata"], pdb.get("spec") or {}, pdb.get("status") or {}
    current = status.get("observedGeneration", 0) >= meta.get("generation", 0) and bool(status)
    expected = status.get("expectedPods") if current else None
    return Budget(
        name=f"{meta.get('namespace', '')}/{meta['name']}",
        selector=spec.get("selector"),
        healthy=status.get("currentHealthy") if current else None,
        desired=None if expected is None else desired_healthy(spec, expected),
        expected=expected,
        allowed=status.get("disruptionsAllowed") if current else None,
        current=current,
        always_allow=spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow",
    )


def plan_drain(pods: Sequence[Json], pdbs: Sequence[Json], *, force: bool = False) -> tuple[Entry, ...]:
    """Classify every pod of a node.

    Args:
        pods: The node's pods.
        pdbs: Budgets of their namespaces.
        force: Whether pods that no controller would replace are evicted too.

    Returns:
        One entry a pod, by namespace and name.
    """
    budgets = [(str(pdb["metadata"].get("namespace", "")), read_budget(pdb)) for pdb in pdbs]
    found = [_classify(pod, budgets, force) for pod in pods]
    return tuple(sorted(found, key=lambda entry: (entry.namespace, entry.name, entry.uid)))


def _classify(pod: Json, budgets: Sequence[tuple[str, Budget]], force: bool) -> Entry:
    meta = pod["metadata"]
    namespace = str(meta.get("namespace", ""))
    counted = [b for where, b in budgets if where == namespace and selects(b.selector, meta.get("labels") or {})]
    fate, reason = _fate(pod, force)
    hopeless = _hopeless(pod, counted) if fate is Fate.EVICT else ""
    names = tuple(budget.name for budget in counted)
    return Entry(namespace, str(meta["name"]), str(meta["uid"]), fate, reason, names, hopeless)


def _fate(pod: Json, force: bool) -> tuple[Fate, str]:
    meta, owners = pod["metadata"], pod["metadata"].get("ownerReferences") or ()
    if MIRROR in (meta.get("annotations") or {}):
        return Fate.SKIP, "a mirror of a static pod: only its kubelet can end it"
    if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        return Fate.SKIP, "it has ended"
    if meta.get("deletionTimestamp"):
        return Fate.WAIT, "it is terminating already"
    controller = next((owner for owner in owners if owner.get("controller")), None)
    if controller is None:
        return (Fate.EVICT, "no controller: it will not come back") if force else (Fate.REFUSE, _BARE)
    if controller.get("kind") == "DaemonSet":
        return Fate.SKIP, "of a DaemonSet: its controller would ignore the cordon and put it back"
    local = [v["name"] for v in (pod.get("spec") or {}).get("volumes") or () if "emptyDir" in v]
    return Fate.EVICT, f"its local storage goes with it ({', '.join(local)})" if local else ""


_BARE = "no controller would replace it: give it one, or set force"


def _hopeless(pod: Json, counted: Sequence[Budget]) -> str:
    if len(counted) > 1:
        names = ", ".join(budget.name for budget in counted)
        return f"{len(counted)} budgets count it ({names}), and the API server evicts no such pod (it answers 500)"
    for budget in counted:
        if budget.never and not (budget.always_allow and not condition_is(pod, "Ready")):
            return f"{budget.describe()} of {budget.expected} expected: none may ever go"
    return ""


def lowest_replicas_notes(hpas: Sequence[Json], pdbs: Sequence[Json]) -> tuple[str, ...]:
    """Say which budgets would allow nothing once an autoscaler rests at its minimum (CASES F06).

    Args:
        hpas: HorizontalPodAutoscalers of a namespace; matched with budgets by name, as is usual.
        pdbs: Its budgets.
    """
    minimum = {hpa["metadata"]["name"]: int(hpa["spec"].get("minReplicas") or 1) for hpa in hpas}
    notes = []
    for pdb in pdbs:
        name = pdb["metadata"]["name"]
        if name in minimum:
            desired = desired_healthy(pdb.get("spec") or {}, minimum[name])
            if desired is not None and desired >= minimum[name]:
                notes.append(
                    f"at {minimum[name]} replicas, the minimum of HPA {name}, PDB {name} wants {desired}: "
                    "none of its pods could be evicted then"
                )
    return tuple(notes)


def _or_unknown(value: int | None) -> str:
    return "an unknown number of" if value is None else str(value)
