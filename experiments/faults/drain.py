"""Drain of nodes, ours: classify, cordon, evict with patience, wait by uid, and say who blocked whom and why.

Not the extension's: that one ends at the first 429, calls skipped pods a success and leaves the cordon (CASES A05-A09).
Only what we cordoned is uncordoned, by its undo record. A drain that is expected to be blocked is proven by the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.faults.conditions import condition_is
from experiments.faults.context import FaultContext, Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.drain_plan import Budget, Entry, Fate, lowest_replicas_notes, plan_drain, read_budget
from experiments.faults.evidence import Evidence
from experiments.faults.nodes import choose_nodes, cordoned, node_ref, node_schema, node_undo_needs, pods_on
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError
from harness.model.errors import PortError
from harness.model.facts import PodFact
from harness.model.fault import Effect, Loss, Permission
from harness.model.selector import selects
from harness.model.target import Target
from harness.ports import ClusterActor, EvictionResult

ROUND_EVERY_S = 0.5
ASK_EVERY_S = 1.0
ASK_EVERY_MAX_S = 8.0
"""A budget may allow a pod any second; an API server that throttles is asked less and less often (CASES B14)."""

DEFAULT_WITHIN_S = 60.0
_PATIENT = frozenset({"blocked", "throttled"})
_TERMINATING_NAMESPACE = "because it is being terminated"
UNSCHEDULABLE = "/spec/unschedulable"

Json = Mapping[str, Any]


@dataclass
class Outcome:
    """What became of one pod.

    Attributes:
        entry: The pod.
        status: ``evicted`` (granted; it may still be terminating), ``gone``, ``skipped``, ``blocked``, ``left``.
        reason: The API server's last words, or why it was skipped.
        blocked_by: Budgets that refused it.
        blocked_since_s: When it was refused first, or None.
        blocked_s: How long it was refused.
        next_try_s: When it is asked again.
        pause_s: How long the next pause is; it grows only where the API server itself is throttling.
    """

    entry: Entry
    status: str = "left"
    reason: str = ""
    blocked_by: tuple[str, ...] = ()
    blocked_since_s: float | None = None
    blocked_s: float = 0.0
    next_try_s: float = 0.0
    pause_s: float = ASK_EVERY_S

    def told(self) -> dict[str, Any]:
        """Return it as it goes into the record."""
        return {
            "pod": self.entry.pod, "uid": self.entry.uid, "status": self.status, "reason": self.reason,
            "blocked_by": list(self.blocked_by), "blocked_s": round(self.blocked_s, 1),
        }  # fmt: skip


@dataclass
class NodeDrain:
    """One node being drained."""

    node: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def waiting(self) -> list[Outcome]:
        """Pods that have not left yet and must."""
        return [o for o in self.outcomes.values() if o.status not in {"gone", "skipped"}]


class Drain:
    """The conduct of `drain_nodes`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Choose nodes and classify their pods."""
        del target
        nodes = choose_nodes(actor, arguments, seed_text)
        plans = {str(n["metadata"]["name"]): self._plan(actor, str(n["metadata"]["name"]), arguments) for n in nodes}
        self._refuse(plans, arguments)
        undo = tuple(
            f"Node {n['metadata']['name']}: " + ("stays cordoned, as it was" if cordoned(n) else "uncordoned")
            for n in nodes
        )
        return Selected(len(nodes), victims_of(nodes), undo, _notes(actor, plans), plans)

    def _plan(self, actor: ClusterActor, node: str, arguments: Mapping[str, Any]) -> tuple[Entry, ...]:
        pods = pods_on(actor, node)
        return plan_drain(pods, budgets_of(actor, pods), force=bool(arguments.get("force", False)))

    def _refuse(self, plans: Mapping[str, Sequence[Entry]], arguments: Mapping[str, Any]) -> None:
        """Refuse what cannot end well, before the first write."""
        every = [entry for plan in plans.values() for entry in plan]
        bare = [f"{entry.pod}: {entry.reason}" for entry in every if entry.fate is Fate.REFUSE]
        hopeless = [f"{entry.pod}: {entry.hopeless}" for entry in every if entry.hopeless]
        if bare:
            raise TargetError(f"the node cannot be drained: {'; '.join(bare[:3])}")
        if hopeless and arguments.get("expect", "drained") == "drained":
            raise TargetError(f"it could never be drained: {'; '.join(hopeless[:3])}; say expect: blocked if it is so")

    def act(self, work: Work) -> Steps[Deed]:
        """Cordon and empty one node after the other."""
        drains: list[NodeDrain] = []
        started_s = work.context.clock.now_s()
        for node, plan in work.selected.found.items():
            if not work.change(node_ref(node), {UNSCHEDULABLE: True}):
                work.context.note(work.plan.name, f"node {node} was cordoned by somebody else and stays so")
            drain = NodeDrain(node, {entry.uid: _first(entry) for entry in plan})
            drains.append(drain)
            yield from _empty(work, drain, started_s)
            if drain.waiting:
                break
        hit = tuple(v for v in work.selected.victims if v["name"] in {drain.node for drain in drains})
        return Deed(hit, "", (("outcomes", _told(drains)),), drains)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Say what happened, from the nodes as they are now."""
        yield from ()
        drains: list[NodeDrain] = deed.found
        for drain in drains:  # once more: whoever came since is not drained
            _look(work.context, drain, force=bool(work.arguments.get("force", False)))
        detail = (
            ("outcomes", _told(drains)),
            ("drained", not any(drain.waiting for drain in drains)),
            ("blocked_by", _blockers(drains)),
            ("blocked_s", max((o.blocked_s for d in drains for o in d.outcomes.values()), default=0.0)),
        )
        problem = _problem(work, drains)
        if problem:
            return Evidence(Effect.UNCLEAR, problem, detail)
        if not all(_is_cordoned(work.context.actor, drain.node) for drain in drains):
            return Evidence(Effect.UNCLEAR, "somebody uncordoned a node meanwhile", detail)
        return Evidence(Effect.CONFIRMED, _summary(drains), detail)


def budgets_of(actor: ClusterActor, pods: Sequence[Json]) -> list[Json]:
    """Return the budgets of the namespaces of some pods."""
    namespaces = sorted({str(pod["metadata"]["namespace"]) for pod in pods})
    return [pdb for namespace in namespaces for pdb in actor.find("policy/v1", "PodDisruptionBudget", namespace)]


def _notes(actor: ClusterActor, plans: Mapping[str, Sequence[Entry]]) -> tuple[str, ...]:
    notes = [
        f"{node}: {entry.pod}: {entry.fate.value}" + (f" ({entry.reason})" if entry.reason else "")
        for node, plan in plans.items()
        for entry in plan
    ]
    for namespace in sorted({entry.namespace for plan in plans.values() for entry in plan}):
        hpas = actor.find("autoscaling/v2", "HorizontalPodAutoscaler", namespace)
        notes += lowest_replicas_notes(hpas, actor.find("policy/v1", "PodDisruptionBudget", namespace))
    return tuple(notes)


def _first(entry: Entry) -> Outcome:
    if entry.fate is Fate.SKIP:
        return Outcome(entry, "skipped", entry.reason)
    return Outcome(entry, "evicted" if entry.fate is Fate.WAIT else "left", entry.reason)


def _empty(work: Work, drain: NodeDrain, started_s: float) -> Steps[None]:
    """Evict until no pod that must go is left on the node, the limit passes, or a stop is asked for."""
    context = work.context
    within_s = float(work.arguments.get("within_s", DEFAULT_WITHIN_S))
    deadline_s = min(context.clock.now_s() + within_s, started_s + work.evidence_limit_s)
    told: dict[str, str] = {}
    while True:
        _look(context, drain, force=bool(work.arguments.get("force", False)))
        for outcome in drain.waiting:
            due = outcome.next_try_s <= context.clock.now_s()
            if outcome.status != "evicted" and outcome.entry.fate is Fate.EVICT and due and not context.stopping():
                _evict(context, outcome)
        now = {uid: outcome.status for uid, outcome in drain.outcomes.items()}
        if now != told:
            told = now
            context.tell(work.plan, "progress", node=drain.node, outcomes=_told([drain]))
        if not drain.waiting or context.stopping() or context.clock.now_s() >= deadline_s:
            return
        yield ROUND_EVERY_S


def _look(context: FaultContext, drain: NodeDrain, *, force: bool) -> None:
    """Note who has left and who has come, by uid: an accepted eviction is not a pod that is gone (CASES F08).

    A pod that was bound to the node between choice and cordon, or that replaces one of a node drained before, must go
    as well.
    """
    try:
        pods = pods_on(context.actor, drain.node)
        new = [pod for pod in pods if str(pod["metadata"]["uid"]) not in drain.outcomes]
        budgets = budgets_of(context.actor, new)
    except PortError as error:
        context.note(drain.node, str(error))
        return
    for entry in plan_drain(new, budgets, force=force):
        drain.outcomes[entry.uid] = _first(entry)
    present = {str(pod["metadata"]["uid"]) for pod in pods}
    for uid, outcome in drain.outcomes.items():
        if uid not in present and outcome.status != "skipped":
            outcome.status = "gone"
            _unblock(context, outcome)


def _evict(context: FaultContext, outcome: Outcome) -> None:
    entry = outcome.entry
    try:
        answer = context.actor.evict_pod(PodFact(entry.uid, entry.namespace, entry.name))
    except PortError as error:
        outcome.reason = str(error)
        return
    outcome.reason = answer.message
    if answer.status in {"accepted", "gone"}:
        outcome.status = "evicted" if answer.status == "accepted" else "gone"
        _unblock(context, outcome)
    elif answer.status in _PATIENT or _namespace_ends(answer):
        _block(context, outcome, answer)
    else:
        outcome.status, outcome.reason = "left", f"eviction {answer.status}: {answer.message}"
        _block(context, outcome, answer)


def _namespace_ends(answer: EvictionResult) -> bool:
    """Tell whether a 403 only means that the namespace is being deleted: the pod goes by itself (CASES F09)."""
    return answer.status == "refused" and _TERMINATING_NAMESPACE in answer.message


def _block(context: FaultContext, outcome: Outcome, answer: EvictionResult) -> None:
    now_s = context.clock.now_s()
    outcome.next_try_s = now_s + max(outcome.pause_s, answer.retry_after_s)
    if answer.status == "throttled":
        outcome.pause_s = min(2 * outcome.pause_s, ASK_EVERY_MAX_S)
        return
    outcome.pause_s = ASK_EVERY_S
    if outcome.blocked_since_s is None:
        outcome.blocked_since_s = now_s
    outcome.blocked_s = now_s - outcome.blocked_since_s
    if answer.status in {"blocked", "overlap"}:
        outcome.status, outcome.blocked_by = "blocked", outcome.entry.budgets
        outcome.reason = _because(context, outcome) or answer.message


def _because(context: FaultContext, outcome: Outcome) -> str:
    """Say what the budgets want and have; empty where they cannot be read."""
    namespace = outcome.entry.namespace
    try:
        pdbs = context.actor.find("policy/v1", "PodDisruptionBudget", namespace)
    except PortError:
        return ""
    counting = [budget for budget in map(read_budget, pdbs) if budget.name in outcome.entry.budgets]
    return "; ".join([*(budget.describe() for budget in counting), *_unready_of(context, namespace, counting)])


def _unready_of(context: FaultContext, namespace: str, budgets: Sequence[Budget]) -> Iterator[str]:
    """Name the pods whose unreadiness uses a budget up (CASES F03); nothing where they cannot be read."""
    try:
        pods = context.actor.find("v1", "Pod", namespace)
    except PortError:
        return
    counted = (pod for pod in pods if any(selects(b.selector, pod["metadata"].get("labels") or {}) for b in budgets))
    names = [str(pod["metadata"]["name"]) for pod in counted if not condition_is(pod, "Ready")]
    if names:
        yield f"not Ready: {', '.join(sorted(names))}"


def _unblock(context: FaultContext, outcome: Outcome) -> None:
    if outcome.blocked_since_s is not None:
        outcome.blocked_s = context.clock.now_s() - outcome.blocked_since_s
        outcome.blocked_since_s = None


def _is_cordoned(actor: ClusterActor, node: str) -> bool:
    found = actor.get(node_ref(node))
    return found is not None and cordoned(found)


def _told(drains: Sequence[NodeDrain]) -> list[dict[str, Any]]:
    return [{"node": drain.node, **outcome.told()} for drain in drains for outcome in drain.outcomes.values()]


def _blockers(drains: Sequence[NodeDrain]) -> list[str]:
    blocked = (o for drain in drains for o in drain.outcomes.values() if o.blocked_by)
    return sorted({name for outcome in blocked for name in outcome.blocked_by})


def _problem(work: Work, drains: Sequence[NodeDrain]) -> str:
    """Return why the drain is not what the experiment expects, or nothing."""
    left = [outcome for drain in drains for outcome in drain.waiting]
    if work.arguments.get("expect", "drained") == "drained":
        return "; ".join(_why(outcome) for outcome in left)
    wanted = str(work.arguments.get("budget", ""))
    blocked_by = {name for outcome in left for name in outcome.blocked_by}
    if not left:
        return "the node was drained, though it was expected to be blocked"
    if not blocked_by or (wanted and wanted not in blocked_by):
        by = ", ".join(sorted(blocked_by)) or "no budget"
        return f"blocked by {by}, expected by {wanted or 'a budget'}: " + "; ".join(_why(o) for o in left)
    return ""


def _why(outcome: Outcome) -> str:
    if outcome.status == "blocked":
        by = ", ".join(outcome.blocked_by)
        return f"{outcome.entry.pod} blocked by PDB {by} for {outcome.blocked_s:.1f} s, because {outcome.reason}"
    if outcome.status == "evicted":
        return f"{outcome.entry.pod} is still terminating"
    return f"{outcome.entry.pod} is still there: {outcome.reason or 'it was not asked for any more'}"


def _summary(drains: Sequence[NodeDrain]) -> str:
    counts: dict[str, int] = {}
    for drain in drains:
        for outcome in drain.outcomes.values():
            counts[outcome.status] = counts.get(outcome.status, 0) + 1
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no pods"
    blocked = [_why(o) for drain in drains for o in drain.waiting]
    return f"{', '.join(drain.node for drain in drains)}: {said}" + (f"; {'; '.join(blocked)}" if blocked else "")


def drain_nodes(**arguments: Any) -> dict[str, Any]:
    """Drain nodes, one after the other: cordon, evict every pod that must go, wait until they are gone.

    Args:
        **arguments: ``nodes``, or ``selector`` with ``count`` or ``share``; ``expect`` (``drained`` or ``blocked``),
            ``budget`` that is to block it, ``within_s`` for each node's evictions, ``force`` for bare pods.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(DRAIN_NODES)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    del arguments
    return (
        Permission("get", "nodes"),
        Permission("list", "nodes"),
        Permission("patch", "nodes"),
        Permission("list", "pods"),
        Permission("create", "pods", "", "eviction"),
        Permission("list", "poddisruptionbudgets", "policy"),
        Permission("list", "horizontalpodautoscalers", "autoscaling"),
    )


DRAIN_NODES = Fault(
    name="drain_nodes",
    module=__name__,
    loss=Loss.DRAIN,
    evidence="the node is cordoned and every pod that must go is gone, by uid; or a budget blocks it, as expected",
    conduct=Drain(),
    needs=_needs,
    undo_needs=node_undo_needs,
    undo="patch",
    arguments_schema=node_schema(
        expect={"enum": ["drained", "blocked"], "description": "what is to happen"},
        budget={
            "type": "string",
            "pattern": "^[^/]+/[^/]+$",
            "description": "namespace/name of the budget that is to block it",
        },
        within_s={"type": "number", "exclusiveMinimum": 0, "description": "how long each node's evictions are tried"},
        force={"type": "boolean", "description": "evict pods that no controller would replace, too"},
    ),
)
