"""PROBES: what a steady state may claim. Each looks once and answers yes, no, or "cannot be told", never a guess.

The conductor asks them (baseline gate, settle); Chaos Toolkit never does, and under plain ``chaos run`` they refuse.
They decide gates only: verdicts come from the record, never from a probe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from experiments.faults.context import NotUnderGamedayError
from experiments.faults.targets import eligible
from harness.definitions import Probe, ProbeResult
from harness.model.facts import PodFact, WorkloadFact
from harness.model.selector import parse_selector
from harness.model.signal import Signal
from harness.ports import ClusterObserver, MetricsSource

_CLASS = re.compile(r'(\w+)="?([1-5])')
_SERVER_ERROR = "5"


@dataclass(frozen=True, slots=True)
class Eyes:
    """What probes look with.

    Attributes:
        observer: The watched state of the cluster.
        metrics: The metrics store.
        signals: The target's query pack.
    """

    observer: ClusterObserver
    metrics: MetricsSource
    signals: Mapping[str, Signal]


def _open(eyes: Eyes | None) -> Eyes:
    if eyes is None:
        raise NotUnderGamedayError
    return eyes


def ready_pods_at_least(namespace: str, selector: str, minimum: int, eyes: Eyes | None = None) -> ProbeResult:
    """Tell whether enough pods serve: condition Ready=True and no deletionTimestamp (CASES A12); none is never enough.

    Args:
        namespace: Namespace of the pods; it must be in the experiment's scope.
        selector: Their labels, such as ``app=planner``.
        minimum: How many must be Ready, at least 1.
        eyes: Given by the conductor.
    """
    labels = parse_selector(selector)
    facts = (fact for fact in _open(eyes).observer.current("pod") if isinstance(fact, PodFact))
    pods = [p for p in facts if p.namespace == namespace and labels.items() <= p.labels.items()]
    ready = len(eligible(pods))
    return ProbeResult(ready >= max(1, minimum), f"{ready} of {len(pods)} pods of {selector} Ready, {minimum} needed")


def deployment_settled(namespace: str, name: str, eyes: Eyes | None = None) -> ProbeResult:
    """Tell whether a Deployment has what was asked of it, of its newest generation (CASES A13); 0 replicas are not.

    Args:
        namespace: Its namespace; it must be in the experiment's scope.
        name: Its name.
        eyes: Given by the conductor.
    """
    facts = (fact for fact in _open(eyes).observer.current("workload") if isinstance(fact, WorkloadFact))
    found = next((w for w in facts if w.namespace == namespace and w.name == name and not w.deleted), None)
    if found is None:
        return ProbeResult(False, f"there is no Deployment {namespace}/{name}")
    if found.observed_generation < found.generation:
        seen = f"generation {found.observed_generation} of {found.generation}"
        return ProbeResult(False, f"Deployment {found.subject}: its controller has only seen {seen}")
    counts = (found.replicas, found.ready_replicas, found.available_replicas, found.updated_replicas)
    told = "replicas {}, ready {}, available {}, updated {}".format(*counts)
    settled = bool(found.spec_replicas) and set(counts) == {found.spec_replicas}
    return ProbeResult(settled, f"Deployment {found.subject}: {found.spec_replicas} asked for; {told}")


def gateway_answers(
    error_ratio_max: float = 0.01, window: str = "30s", requests_min: int = 20, eyes: Eyes | None = None
) -> ProbeResult:
    """Tell whether the gateway answered without too many 5xx lately; too few requests cannot be told.

    Args:
        error_ratio_max: Largest share of answers with a 5xx.
        window: Prometheus range to look back over, such as ``30s``.
        requests_min: Fewest requests in the window that mean anything.
        eyes: Given by the conductor.
    """
    look = _open(eyes)
    signal = look.signals.get("gateway_requests_total")
    if signal is None:
        return ProbeResult(None, "the target's query pack has no signal gateway_requests_total")
    query = f"sum by ({signal.code_label}) (increase({signal.query}[{window}]))"
    rises = look.metrics.instant(replace(signal, query=query, counter=False))
    by_class: dict[str, float] = {}
    for labels, rise in rises.items():
        match = _CLASS.search(labels)
        if match is None or match[1] != signal.code_label or not rise >= 0:  # NaN is no number of requests
            return ProbeResult(None, f"the gateway's counters say {labels} = {rise}")
        by_class[match[2]] = by_class.get(match[2], 0.0) + rise
    return _answered(by_class, error_ratio_max, requests_min, window)


def _answered(by_class: Mapping[str, float], error_ratio_max: float, requests_min: int, window: str) -> ProbeResult:
    total = sum(by_class.values())
    if total < requests_min:
        return ProbeResult(None, f"only {total:.0f} requests within {window}, {requests_min} needed to tell")
    ratio = by_class.get(_SERVER_ERROR, 0.0) / total
    told = f"{ratio:.2%} of {total:.0f} requests within {window} were 5xx, {error_ratio_max:.2%} allowed"
    return ProbeResult(ratio <= error_ratio_max, told)


def queue_is_short(age_max_s: float = 30.0, eyes: Eyes | None = None) -> ProbeResult:
    """Tell whether the oldest task in the queue is young.

    Args:
        age_max_s: Age in seconds that it may have at most.
        eyes: Given by the conductor.
    """
    look = _open(eyes)
    signal = look.signals.get("queue_oldest_task_age_seconds")
    ages = look.metrics.instant(signal) if signal else {}
    if not ages or not all(age >= 0 for age in ages.values()):
        return ProbeResult(None, f"queue_oldest_task_age_seconds cannot be told: {dict(ages) or 'no sample'}")
    oldest_s = max(ages.values())
    return ProbeResult(oldest_s <= age_max_s, f"the oldest task is {oldest_s:.1f} s old, {age_max_s:g} s allowed")


@dataclass(frozen=True)
class ProbeDefinition:
    """An entry of PROBES.

    Attributes:
        look: The function; its last argument ``eyes`` is bound by `bound_probes`.
        arguments_schema: JSON schema of the arguments in the experiment file.
    """

    look: Callable[..., ProbeResult]
    arguments_schema: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the function, which the experiment file names as ``func``."""
        return self.look.__name__

    @property
    def module(self) -> str:
        """Module of the function."""
        return self.look.__module__


def _schema(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_TEXT = {"type": "string", "minLength": 1}
_SELECTOR = {"type": "string", "format": "selector", "description": "labels, such as app=planner"}

PROBES: Mapping[str, ProbeDefinition] = {
    probe.name: probe
    for probe in (
        ProbeDefinition(
            ready_pods_at_least,
            _schema(
                ("namespace", "selector", "minimum"),
                namespace=_TEXT,
                selector=_SELECTOR,
                minimum={"type": "integer", "minimum": 1},
            ),
        ),
        ProbeDefinition(deployment_settled, _schema(("namespace", "name"), namespace=_TEXT, name=_TEXT)),
        ProbeDefinition(
            gateway_answers,
            _schema(
                error_ratio_max={"type": "number", "minimum": 0, "maximum": 1},
                window={"type": "string", "pattern": r"^\d+[sm]$", "description": "such as 30s or 2m"},
                requests_min={"type": "integer", "minimum": 1},
            ),
        ),
        ProbeDefinition(queue_is_short, _schema(age_max_s={"type": "number", "minimum": 0})),
    )
}
"""Probes by the name of their function. A new probe is one line here; nothing is scanned."""


def bound_probes(observer: ClusterObserver, metrics: MetricsSource, signals: Mapping[str, Signal]) -> dict[str, Probe]:
    """Return every probe of PROBES, looking at one run's cluster and metrics."""
    eyes = Eyes(observer, metrics, signals)
    return {name: partial(definition.look, eyes=eyes) for name, definition in PROBES.items()}
