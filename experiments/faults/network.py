"""Pods that a NetworkPolicy no longer lets out, as after a change that forgot one label. One patch of one list.

Not every network enforces policies, and a change alone cuts nothing: a counter of the pods' own must rise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.faults import counters
from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError, existing
from harness.model.fault import Effect, Loss, ObjectRef, Permission
from harness.model.pointer import escape
from harness.model.selector import parse_selector, selects
from harness.model.target import Target
from harness.ports import ClusterActor

API, KIND = "networking.k8s.io/v1", "NetworkPolicy"
SIGNAL = "planner_queue_unavailable_total"
"""Counter of the query pack that rises when the planner cannot reach its queue."""

Json = Mapping[str, Any]


class CutNetwork:
    """The conduct of `cut_network`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the policy that lists the pods, which another must keep in: without one, taking them out opens all."""
        del seed_text
        ref = _ref(arguments)
        found = existing(actor, ref)
        pods = actor.pods(ref.namespace, parse_selector(str(arguments["selector"])))
        if not pods:
            raise TargetError(f"no pod matches {arguments['selector']} in {ref.namespace}")
        left, labels = _left(found, arguments), pods[0].labels
        others = [p for p in actor.find(API, KIND, ref.namespace) if p["metadata"]["name"] != ref.name]
        shut = [way for way in _ways(found) if any(way in _ways(p) and _holds(p, labels) for p in others)]
        if len(shut) < len(_ways(found)):
            raise TargetError(f"no other policy keeps {arguments['selector']} in: without {ref} it could go anywhere")
        undo = (f"{ref}: {arguments['selector']} back into its podSelector",)
        return Selected(1, victims_of([found]), undo, counters.doubts(target, _signal(arguments)), left)

    def act(self, work: Work) -> Steps[Deed]:
        """Remember the counter, then take the pods out of the list."""
        signal = _signal(work.arguments)
        before = counters.reading(work.context, signal, _any)
        if isinstance(before, Mapping) and any(before.values()):
            yield counters.next_scrape_s(work.context)
            before = counters.restless(work.context, signal) or counters.reading(work.context, signal, _any)
        work.change(_ref(work.arguments), {_pointer(work.arguments): list(work.selected.found)})
        return Deed(work.selected.victims, "", (("selector", work.arguments["selector"]),), before)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the pods say that they miss what the policy let them reach."""
        if isinstance(deed.found, str):
            return Evidence(Effect.UNCLEAR, deed.found)
        before, signal = deed.found, _signal(work.arguments)

        def look() -> tuple[bool, str]:
            missed = counters.rise(before, counters.present(work.context, signal, _any))
            if missed:
                return True, f"{signal} rose by {missed:g}"
            return False, (
                f"{signal} did not rise: the pods reach all that they did, so this cluster's network does not enforce "
                "its policies, lets connections that stand live on, or nothing was asked of them"
            )

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def _any(labels: str) -> bool:
    del labels
    return True


def _ref(arguments: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef(API, KIND, str(arguments["policy"]), str(arguments["namespace"]))


def _signal(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("signal", SIGNAL))


def _label(arguments: Mapping[str, Any]) -> tuple[str, str]:
    (pair,) = parse_selector(str(arguments["selector"])).items()
    return pair


def _pointer(arguments: Mapping[str, Any]) -> str:
    key, _ = _label(arguments)
    return f"/spec/podSelector/matchExpressions/{escape(f'key={key},operator=In')}/values"


def _left(policy: Json, arguments: Mapping[str, Any]) -> Sequence[str]:
    """Return what stays in the list of the policy's podSelector."""
    ref, selector = _ref(arguments), arguments["selector"]
    if len(parse_selector(str(selector))) != 1:
        raise TargetError(f"selector {selector}: name one label, which the policy lists")
    key, value = _label(arguments)
    expressions = policy["spec"].get("podSelector", {}).get("matchExpressions") or ()
    values = next((e["values"] for e in expressions if (e["key"], e["operator"]) == (key, "In")), ())
    left = [one for one in values if one != value]
    if value not in values:
        raise TargetError(f"{ref} does not list {selector}: its podSelector needs {key} In [{value}, …]")
    if not left:
        raise TargetError(f"{ref} lists {selector} alone: without it the list would be empty, which the API refuses")
    return left


def _ways(policy: Json) -> Sequence[str]:
    """Return the directions that a policy isolates; the API server fills them in."""
    named: Sequence[str] = policy["spec"].get("policyTypes") or ()
    return named


def _holds(policy: Json, labels: Mapping[str, str]) -> bool:
    return selects(policy["spec"].get("podSelector") or {}, labels)


def cut_network(**arguments: Any) -> dict[str, Any]:
    """Take pods out of the NetworkPolicy that lets them reach something.

    Args:
        **arguments: ``namespace`` and ``policy`` (its name); ``selector``: the one label, such as ``app=planner``, that
            its podSelector lists (``In``); ``signal``: counter that rises then (``planner_queue_unavailable_total``).

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(CUT_NETWORK)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    policies = tuple(
        Permission(v, "networkpolicies", "networking.k8s.io", "", namespace) for v in ("get", "list", "patch")
    )
    return (*policies, Permission("list", "pods", "", "", namespace))


def _undo_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(v, "networkpolicies", "networking.k8s.io", "", namespace) for v in ("get", "patch"))


CUT_NETWORK = Fault(
    name="cut_network",
    module=__name__,
    loss=Loss.DEPENDENCY,
    evidence="a counter of the pods says that they miss what the policy let them reach",
    conduct=CutNetwork(),
    needs=_needs,
    undo_needs=_undo_needs,
    undo="patch",
    arguments_schema={
        "type": "object",
        "description": "namespace and policy, and the label of the pods that are taken out of it",
        "properties": {
            "namespace": {"type": "string", "minLength": 1, "description": "namespace of the policy and its pods"},
            "policy": {"type": "string", "minLength": 1, "description": "name of the NetworkPolicy"},
            "selector": {"type": "string", "format": "selector", "description": "one label, such as app=planner"},
            "signal": {"type": "string", "minLength": 1, "description": f"counter of the query pack ({SIGNAL})"},
        },
        "required": ["namespace", "policy", "selector"],
        "additionalProperties": False,
    },
)
