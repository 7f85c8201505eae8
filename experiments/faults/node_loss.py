"""Loss of nodes: the kubelet falls silent. And the reclaim of a spot node: notice, grace, loss.

The local testbed stops a node by an annotation that its agent obeys; elsewhere a command of the target's settings does
it, or the fault is refused. Whatever is stopped is started again by its undo record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.drain_plan import Fate, plan_drain
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.nodes import choose_nodes, node_ready, node_ref, node_schema, node_undo_needs, pods_on
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError
from harness.model.errors import PortError
from harness.model.facts import PodFact
from harness.model.fault import Loss, Permission
from harness.model.pointer import escape
from harness.model.target import Target
from harness.ports import ClusterActor

STOPPED = f"/metadata/annotations/{escape('testbed.gameday.local/stopped')}"
STOP, START = "node_stop", "node_start"
NOTICE = "gameday.local/spot-reclaim"
NOTICE_TAINT = {"key": NOTICE, "value": "notice", "effect": "NoSchedule"}
NOTICE_POINTER = f"/spec/taints/key={escape(NOTICE)},effect=NoSchedule"
DEFAULT_GRACE_S = 10.0
ASK_EVERY_S = 1.0


def _by_annotation(target: Target | None) -> bool:
    return target is not None and target.kind == "local"


class NodeLoss:
    """The conduct of `lose_nodes`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Choose nodes that can be stopped and, above all, started again."""
        local = _by_annotation(target)
        commands = target.commands if target is not None else {}
        missing = [name for name in (STOP, START) if not commands.get(name)]
        if not local and missing:
            raise TargetError(
                f"this target cannot lose a node: set commands.{' and commands.'.join(missing)} in gameday.toml"
            )
        nodes = choose_nodes(actor, arguments, seed_text)
        how = "started by its agent" if local else f"started by {' '.join(commands[START])}"
        undo = tuple(f"Node {node['metadata']['name']}: {how}" for node in nodes)
        notes = tuple(
            f"{node['metadata']['name']}: {len(pods_on(actor, str(node['metadata']['name'])))} pods are on it"
            for node in nodes
        )
        return Selected(len(nodes), victims_of(nodes), undo, notes, local)

    def act(self, work: Work) -> Steps[Deed]:
        """Stop the nodes."""
        yield from ()
        for victim in work.selected.victims:
            _stop(work, victim)
        return Deed(work.selected.victims)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the control plane misses them."""
        names = [str(victim["name"]) for victim in deed.hit]
        return (yield from wait_for(work.context, lambda: _missed(work.context.actor, names), work.evidence_limit_s))


def _stop(work: Work, victim: Mapping[str, str]) -> None:
    ref = node_ref(str(victim["name"]))
    if work.selected.found:
        work.change(ref, {STOPPED: "true"})
        return
    work.record(ref, str(victim["uid"]), "command", applied={"command": START})
    work.touch()
    work.context.actor.run_command(STOP, ref.name)


def _missed(actor: ClusterActor, names: Sequence[str]) -> tuple[bool, str]:
    """Tell whether every node is NotReady and tainted for it, and how many of its pods are on their way out."""
    said, lost = [], []
    for name in names:
        node = actor.get(node_ref(name))
        if node is None:
            said.append(f"{name} is gone")
            continue
        taints = {t["key"] for t in (node.get("spec") or {}).get("taints") or ()}
        tainted = bool(taints & {"node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"})
        lost.append(not node_ready(node) and tainted)
        pods = pods_on(actor, name)
        leaving = sum(1 for pod in pods if pod["metadata"].get("deletionTimestamp"))
        said.append(f"{name} {'is NotReady' if lost[-1] else 'is still Ready'}, {leaving} of {len(pods)} pods leave it")
    return bool(lost) and len(lost) == len(names) and all(lost), "; ".join(said)


class SpotReclaim(NodeLoss):
    """The conduct of `reclaim_spot_nodes`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Choose nodes as for a loss; the notice is taken back as well."""
        chosen = super().select(actor, arguments, seed_text, target)
        notices = tuple(f"Node {victim['name']}: taint {NOTICE} removed" for victim in chosen.victims)
        return Selected(chosen.asked, chosen.victims, (*chosen.undo, *notices), chosen.notes, chosen.found)

    def act(self, work: Work) -> Steps[Deed]:
        """Give notice, let the pods go as a termination handler does, then stop the nodes."""
        for victim in work.selected.victims:
            work.change(node_ref(str(victim["name"])), {NOTICE_POINTER: NOTICE_TAINT})
        asked = yield from self._grace(work)
        for victim in work.selected.victims:
            _stop(work, victim)
        return Deed(work.selected.victims, "", (("evicted", asked),))

    def _grace(self, work: Work) -> Steps[list[str]]:
        context = work.context
        until_s = context.clock.now_s() + float(work.arguments.get("grace_s", DEFAULT_GRACE_S))
        evicted: dict[str, str] = {}
        context.tell(work.plan, "progress", notice=[v["name"] for v in work.selected.victims])
        while context.clock.now_s() < until_s and not context.stopping():
            for victim in work.selected.victims if work.arguments.get("evict", True) else ():
                try:
                    _let_go(context.actor, str(victim["name"]), evicted)
                except PortError as error:  # the machine goes all the same
                    context.note(work.plan.name, str(error))
            yield min(ASK_EVERY_S, max(0.05, until_s - context.clock.now_s()))
        return sorted(evicted.values())


def _let_go(actor: ClusterActor, node: str, evicted: dict[str, str]) -> None:
    """Evict what a drain would; a refusal is no reason to wait: the machine goes all the same."""
    for entry in plan_drain(pods_on(actor, node), ()):
        if entry.fate is Fate.EVICT and entry.uid not in evicted:
            answer = actor.evict_pod(PodFact(entry.uid, entry.namespace, entry.name))
            if answer.status == "accepted":
                evicted[entry.uid] = entry.pod


def lose_nodes(**arguments: Any) -> dict[str, Any]:
    """Lose nodes: their kubelets stop answering, as when the machines fail.

    Args:
        **arguments: ``nodes``, or ``selector`` with ``count`` or ``share``.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(LOSE_NODES)


def reclaim_spot_nodes(**arguments: Any) -> dict[str, Any]:
    """Reclaim spot nodes: a notice (taint), some seconds of grace, then they are lost.

    Args:
        **arguments: ``nodes``, or ``selector`` with ``count`` or ``share``; ``grace_s``; ``evict``: whether their pods
            are evicted on notice, as a termination handler does.

    Returns:
        Victims, effect and reason.
    """
    del arguments
    return perform(RECLAIM_SPOT_NODES)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    del arguments
    verbs = (("get", "nodes"), ("list", "nodes"), ("patch", "nodes"), ("list", "pods"))
    return tuple(Permission(verb, resource) for verb, resource in verbs)


def _reclaim_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    return (*_needs(arguments), Permission("create", "pods", "", "eviction"))


_EVIDENCE = "the control plane says NotReady and has tainted the node for it"

LOSE_NODES = Fault(
    name="lose_nodes",
    module=__name__,
    loss=Loss.NODE,
    evidence=_EVIDENCE,
    conduct=NodeLoss(),
    needs=_needs,
    undo_needs=node_undo_needs,
    undo="patch",
    arguments_schema=node_schema(),
)

RECLAIM_SPOT_NODES = Fault(
    name="reclaim_spot_nodes",
    module=__name__,
    loss=Loss.NODE,
    evidence=_EVIDENCE,
    conduct=SpotReclaim(),
    needs=_reclaim_needs,
    undo_needs=node_undo_needs,
    undo="patch",
    arguments_schema=node_schema(
        grace_s={"type": "number", "minimum": 0, "description": "seconds between notice and loss (10)"},
        evict={"type": "boolean", "description": "whether pods are evicted on notice (true)"},
    ),
)
