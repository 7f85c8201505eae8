"""The blast radius: whom a fault must not hit, and how much of a workload or a pool at a time. Pure; fails closed.

What is not seen cannot be protected, so victims that are not watched are refused. Caps are on by default; only the
experiment's own ``may_hit`` lifts a protection, and only of what it names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from harness.model.experiment import Experiment
from harness.model.facts import Fact, NodeFact, PodFact, WorkloadFact
from harness.model.target import Target
from harness.ports import Victims

Facts = Mapping[str, Sequence[Fact]]
F = TypeVar("F", bound=Fact)
_SLACK = 1e-9
_WORKLOADS = frozenset({"Deployment", "StatefulSet"})
_PLAIN = frozenset({
    "APIService", "ConfigMap", "CronJob", "Job", "FlowSchema", "PriorityLevelConfiguration", "HorizontalPodAutoscaler",
    "NetworkPolicy",
})  # fmt: skip
"""Kinds of objects that hold no pods: what they are is said by the fault that names them."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a fault strikes.

    Attributes:
        experiment: What is run.
        target: Its caps and protections.
        facts: Present facts by kind, as watched.
        own_node: Node that runs us, or empty.
        own_pod: Name of the pod that runs us, or empty.
        takes_nodes: Whether nodes among the victims stop serving; devices that are taken leave a node its pods.
    """

    experiment: Experiment
    target: Target
    facts: Facts
    own_node: str = ""
    own_pod: str = ""
    takes_nodes: bool = True

    def all(self, kind: type[F]) -> list[F]:
        """Return the present facts of a kind."""
        return [fact for fact in self.facts.get(kind.kind, ()) if isinstance(fact, kind)]

    def named(self, text: str) -> bool:
        """Tell whether the experiment names something in ``may_hit``."""
        return text in self.experiment.may_hit


def objection(around: Surroundings, fault: str, victims: Victims) -> str:
    """Say why a fault must not hit its victims, or nothing.

    Args:
        around: Where it strikes.
        fault: Name of the `FaultPlan`.
        victims: See `Preview.victims`.
    """
    if len({(v["kind"], v["uid"]) for v in victims}) != len(victims):
        return f"fault {fault} names a victim twice"
    for check in (_namespaces, _kinds, _pods, _nodes, _workloads):
        for problem in check(around, victims):
            return f"fault {fault}: {problem}"
    return ""


def _namespaces(around: Surroundings, victims: Victims) -> Iterator[str]:
    reachable = {*around.target.namespaces, around.target.system_namespace}
    for victim in victims:
        if victim["namespace"] and victim["namespace"] not in reachable:
            yield (
                f"{victim['kind']} {victim['namespace']}/{victim['name']} is in a namespace that the target does not "
                f"name; add it to targets.{around.target.name}.namespaces if it may be touched"
            )


def _kinds(around: Surroundings, victims: Victims) -> Iterator[str]:
    del around
    for victim in victims:
        if victim["kind"] not in {"Pod", "Node", *_WORKLOADS, *_PLAIN}:
            yield f"no rule says whether a {victim['kind']} may be hit"


def _pods(around: Surroundings, victims: Victims) -> Iterator[str]:
    wanted = [victim for victim in victims if victim["kind"] == "Pod"]
    by_uid = {pod.uid: pod for pod in around.all(PodFact)}
    unseen = [victim for victim in wanted if victim["uid"] not in by_uid]
    if unseen:
        yield f"pod {unseen[0]['namespace']}/{unseen[0]['name']} is not watched: add its namespace to the scope"
        return
    pods = [by_uid[victim["uid"]] for victim in wanted]
    for pod in pods:
        yield from _protection(around, f"pod {pod.subject}", pod.namespace, pod.labels)
        if around.own_pod and pod.name == around.own_pod:
            yield f"pod {pod.subject} runs this game day"
    yield from _shares(around, pods)


def _protection(around: Surroundings, what: str, namespace: str, labels: Mapping[str, str]) -> Iterator[str]:
    for part in around.target.protected:
        where, _, pair = part.partition("/")
        key, _, value = pair.rpartition("=")
        if namespace == where and labels.get(key) == value and not around.named(part):
            yield f"{what} is protected ({part}); if it is meant, name it: may_hit: [{part}]"


def _shares(around: Surroundings, pods: Sequence[PodFact]) -> Iterator[str]:
    for workload in around.all(WorkloadFact):
        if not workload.selector:
            continue
        mine = _of(workload)
        ready = [pod for pod in around.all(PodFact) if mine(pod) and pod.ready and not pod.terminating]
        hit = [pod for pod in pods if mine(pod)]
        if not hit or around.named(_label_of(workload)):
            continue
        name, limit = f"{workload.workload_kind} {workload.subject}", around.target.workload_share_max
        if len(hit) >= len(ready):
            yield f"it would take the last Ready pod of {name} ({len(hit)} of {len(ready)}); {_lift(workload)}"
        elif len(hit) > limit * len(ready) + _SLACK:
            yield (
                f"it would take {len(hit)} of {len(ready)} Ready pods of {name}, more than the share {limit:g} "
                f"(targets.{around.target.name}.workload_share_max); {_lift(workload)}"
            )


def _of(workload: WorkloadFact) -> Callable[[PodFact], bool]:
    wanted = workload.selector.items()
    return lambda pod: pod.namespace == workload.namespace and wanted <= pod.labels.items()


def _label_of(workload: WorkloadFact) -> str:
    key, value = next(iter(sorted(workload.selector.items())))
    return f"{workload.namespace}/{key}={value}"


def _lift(workload: WorkloadFact) -> str:
    return f"if it is meant, name it: may_hit: [{_label_of(workload)}]"


def _nodes(around: Surroundings, victims: Victims) -> Iterator[str]:
    if not around.takes_nodes:
        return
    names = [victim["name"] for victim in victims if victim["kind"] == "Node"]
    nodes = {node.name: node for node in around.all(NodeFact)}
    for name in names:
        if name not in nodes:
            yield f"node {name} is not watched"
            return
        if name == around.own_node:
            yield f"node {name} runs this game day"
        if not around.named(f"node/{name}"):
            yield from _hosts_protected(around, name)
    yield from _pools(around, [nodes[name] for name in names])


def _hosts_protected(around: Surroundings, name: str) -> Iterator[str]:
    for pod in around.all(PodFact):
        if pod.node != name or pod.terminal:
            continue
        for problem in _protection(around, f"pod {pod.subject}", pod.namespace, pod.labels):
            yield f"node {name} hosts what must not be hit: {problem} or [node/{name}]"


def _pools(around: Surroundings, hit: Sequence[NodeFact]) -> Iterator[str]:
    label, limit = around.target.pool_label, around.target.pool_share_max
    for pool in sorted({node.labels.get(label, "") for node in hit}):
        members = [node for node in around.all(NodeFact) if node.labels.get(label, "") == pool]
        serving = [node for node in members if node.ready and not node.unschedulable]
        taken = [node for node in hit if node.labels.get(label, "") == pool and node in serving]
        away = len(members) - len(serving)
        what = f"pool {pool}" if pool else f"the nodes without label {label}"
        if around.named(f"pool/{pool}") or all(around.named(f"node/{node.name}") for node in taken):
            continue
        lift = f"if it is meant, name it: may_hit: [pool/{pool}]"
        if len(taken) >= len(serving):
            yield f"it would take the last node of {what} that serves; {lift}"
        elif len(taken) + away > limit * len(members) + _SLACK:
            gone = f" with {away} away already" if away else ""
            yield (
                f"it would take {len(taken)} of {len(members)} nodes of {what}{gone}, more than the share {limit:g} "
                f"(targets.{around.target.name}.pool_share_max); {lift}"
            )


def _workloads(around: Surroundings, victims: Victims) -> Iterator[str]:
    known = {workload.uid: workload for workload in around.all(WorkloadFact)}
    for victim in victims:
        if victim["kind"] not in _WORKLOADS:
            continue
        found = known.get(victim["uid"])
        what = f"{victim['kind']} {victim['namespace']}/{victim['name']}"
        if found is None:
            yield f"{what} is not watched: add its namespace to the scope"
        else:
            yield from _protection(around, what, found.namespace, found.selector)
