"""Findings of the preflight: what is wrong with the platform itself. Pure over facts; touches and reads nothing.

A finding makes the assertion concerned FAIL and the others INCONCLUSIVE, and no load and no fault is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.definitions import FaultDefinition
from harness.model.experiment import NODES_SCALED, AssertionSpec, Experiment, node_autoscaler_of
from harness.model.facts import Fact, HpaFact, NodeAutoscalerFact, PdbFact, PodFact, ScaledObjectFact, WorkloadFact
from harness.model.fault import Permission
from harness.model.selector import parse_selector

Facts = Mapping[str, Sequence[Fact]]
"""Present state by fact kind."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the platform.

    Attributes:
        code: Short machine-readable name.
        subject: Object concerned.
        message: What was found.
        remedy: What to do.
        concerns: Kinds of assertion that it answers with FAIL.
    """

    code: str
    subject: str
    message: str
    remedy: str
    concerns: tuple[str, ...]

    def detail(self) -> dict[str, Any]:
        """Return the finding as an event's detail."""
        return {key: value for key, value in asdict(self).items() if key != "subject"}


def find_all(experiment: Experiment, facts: Facts) -> tuple[Finding, ...]:
    """Return every finding about the objects that the experiment's assertions name."""
    found: list[Finding] = []
    for spec in experiment.assertions:
        look = _LOOKS.get(spec.kind)
        if look:
            found.extend(look(spec, facts))
    return tuple(dict.fromkeys(found))


def not_yet_known(experiment: Experiment, facts: Facts) -> tuple[str, ...]:
    """Return what must still become known before findings mean anything, such as a fresh HPA's conditions."""
    waits: list[str] = []
    for spec in experiment.assertions:
        if spec.kind == "autoscaler_response":
            kind, namespace, name = str(spec.params.get("autoscaler", "//")).split("/", 2)
            scaler = _named(facts, kind, namespace, name)
            known = scaler.active if isinstance(scaler, HpaFact) else getattr(scaler, "ready", True)
            if scaler is not None and known is not True:
                waits.append(f"{kind} {namespace}/{name} is not able to scale yet")
    return tuple(waits)


def _named(facts: Facts, kind: str, namespace: str, name: str) -> Fact | None:
    return next((f for f in facts.get(kind, ()) if f.namespace == namespace and f.name == name), None)


def _look_autoscaler(spec: AssertionSpec, facts: Facts) -> Iterable[Finding]:
    kind, namespace, name = str(spec.params["autoscaler"]).split("/", 2)
    subject = f"{kind} {namespace}/{name}"
    scaler = _named(facts, kind, namespace, name)
    concerns = (spec.kind,)
    if scaler is None:
        yield Finding(
            "autoscaler-missing", subject, f"there is no {subject}", f"kubectl -n {namespace} get {kind}", concerns
        )
    elif isinstance(scaler, HpaFact) and scaler.active is not True:
        message = (
            f"{subject} cannot scale: ScalingActive is {scaler.active} ({scaler.active_reason or 'no reason given'})"
        )
        yield Finding("autoscaler-dead", subject, message, f"kubectl -n {namespace} describe hpa {name}", concerns)
    elif isinstance(scaler, ScaledObjectFact):
        yield from _look_scaledobject(scaler, subject, concerns)


def _look_scaledobject(scaler: ScaledObjectFact, subject: str, concerns: tuple[str, ...]) -> Iterable[Finding]:
    describe = f"kubectl -n {scaler.namespace} describe scaledobject {scaler.name}"
    if scaler.paused:
        remedy = "remove the annotation autoscaling.keda.sh/paused"
        yield Finding("autoscaler-paused", subject, f"{subject} is paused", remedy, concerns)
    elif scaler.ready is not True:
        message = f"{subject} is not Ready ({scaler.ready_reason or 'no reason given'})"
        yield Finding("autoscaler-dead", subject, message, describe, concerns)


def _look_node_autoscaler(spec: AssertionSpec, facts: Facts) -> Iterable[Finding]:
    """Look for the status of an autoscaler of nodes.

    A target without one breaks no promise: nothing there scales nodes, and the answer is INCONCLUSIVE (CASES F17).
    """
    namespace, _, name = node_autoscaler_of(spec).partition("/")
    subject, look = f"nodeautoscaler {namespace}/{name}", f"kubectl -n {namespace} describe configmap {name}"
    found = _named(facts, "nodeautoscaler", namespace, name)
    if not isinstance(found, NodeAutoscalerFact):
        message = f"no autoscaler of nodes tells of itself: there is no ConfigMap {namespace}/{name}"
        remedy = "let it write its status (--write-status-configmap), name it by status, or leave the assertion out"
        yield Finding("node-autoscaler-missing", subject, message, remedy, ())
    elif not found.state:
        message = f"what the autoscaler of nodes says in {namespace}/{name} cannot be read"
        yield Finding("node-autoscaler-unreadable", subject, message, look, ())
    elif found.state != "Running" or found.health == "Unhealthy":
        message = (
            f"the autoscaler of nodes cannot scale: it is {found.state}, the cluster {found.health or 'not known'}"
        )
        yield Finding("autoscaler-dead", subject, message, look, (spec.kind,))


def _look_pdb(spec: AssertionSpec, facts: Facts) -> Iterable[Finding]:
    namespace, _, name = str(spec.params["pdb"]).partition("/")
    subject = f"pdb {namespace}/{name}"
    pdb = _named(facts, "pdb", namespace, name)
    if not isinstance(pdb, PdbFact):
        yield Finding("pdb-missing", subject, f"there is no {subject}", f"kubectl -n {namespace} get pdb", (spec.kind,))
        return
    rivals = _overlapping(pdb, facts)
    if rivals:
        message = f"{subject} and {', '.join(rivals)} select the same pods: every eviction answers 500"
        yield Finding("pdb-overlap", subject, message, "leave one budget for these pods", (spec.kind,))


def _overlapping(pdb: PdbFact, facts: Facts) -> list[str]:
    pods = [p for p in facts.get("pod", ()) if isinstance(p, PodFact) and matches(pdb.selector, p)]
    others = [f for f in facts.get("pdb", ()) if isinstance(f, PdbFact) and f.uid != pdb.uid]
    shared = (o for o in others if o.namespace == pdb.namespace and any(matches(o.selector, p) for p in pods))
    return [f"pdb {o.subject}" for o in shared if o.selector]


def matches(selector: Mapping[str, str], pod: PodFact) -> bool:
    """Tell whether a pod carries all labels of a selector."""
    return all(pod.labels.get(key) == value for key, value in selector.items())


_LOOKS: Mapping[str, Callable[[AssertionSpec, Facts], Iterable[Finding]]] = {
    "autoscaler_response": _look_autoscaler,
    "pdb_safety": _look_pdb,
    NODES_SCALED: _look_node_autoscaler,
}


def chosen_when_due(facts: Facts, arguments: Mapping[str, Any]) -> bool:
    """Tell whether a fault's victims can only be known when it is due: what it looks for is made by the run itself."""
    return "hosting" in arguments or rests_at_zero(facts, arguments)


def rests_at_zero(facts: Facts, arguments: Mapping[str, Any]) -> bool:
    """Tell whether a fault's victims are pods of a workload that is scaled to zero now, and so come with the load.

    Args:
        facts: Present state.
        arguments: Arguments of the fault; ``namespace`` and ``selector`` are looked at.
    """
    if not arguments.get("selector"):
        return False
    wanted = parse_selector(str(arguments["selector"]))
    asleep = (f for f in facts.get("workload", ()) if isinstance(f, WorkloadFact) and f.spec_replicas == 0)
    mine = (f for f in asleep if f.namespace == arguments.get("namespace"))
    return any(wanted.items() <= f.selector.items() for f in mine)


def unready_workloads(
    experiment: Experiment, facts: Facts, metrics: Mapping[str, Mapping[str, float]]
) -> tuple[str, ...]:
    """Return what the watched workloads still lack before load may start: Ready pods, and their metrics (CASES F20).

    Args:
        experiment: The experiment.
        facts: Present state.
        metrics: CPU in cores by pod, by namespace, from metrics.k8s.io.
    """
    lacks: list[str] = []
    for workload in experiment.scope.workloads:
        pods = [p for p in facts.get("pod", ()) if isinstance(p, PodFact) and p.namespace == workload.namespace]
        mine = [p for p in pods if matches(workload.selector, p) and not p.terminating and not p.terminal]
        lacks += [f"pod {p.subject} is not Ready" for p in mine if not p.ready]
        fresh = metrics.get(workload.namespace, {})
        lacks += [f"pod {p.subject} has no metrics yet" for p in mine if p.ready and p.name not in fresh]
    return tuple(lacks)


def fault_permissions(experiment: Experiment, faults: Mapping[str, FaultDefinition]) -> tuple[Permission, ...]:
    """Return what the faults of an experiment, and their undo, need to be allowed."""
    entries = [(faults[plan.action], plan.arguments) for plan in experiment.faults]
    wanted = [p for fault, arguments in entries for p in fault.permissions(arguments)]
    wanted += [p for fault, arguments in entries for p in fault.undo_permissions(arguments)]
    return tuple(dict.fromkeys(wanted))
