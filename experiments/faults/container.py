"""Faults inside pods: a container's process killed (crash), a whole pod that answers nothing (hang).

The local testbed's node agent does both by annotations of the pod. Elsewhere there is no way that another process could
take back by data alone, so there they are refused, before anything is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.faults.context import Steps
from experiments.faults.definition import POD_ARGUMENTS, Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work
from experiments.faults.targets import TargetError, choose, victims
from harness.model.facts import PodFact
from harness.model.fault import Loss, ObjectRef, Permission
from harness.model.pointer import escape
from harness.model.selector import parse_selector
from harness.model.target import Target
from harness.ports import ClusterActor

FROZEN = f"/metadata/annotations/{escape('testbed.gameday.local/frozen')}"
KILL = f"/metadata/annotations/{escape('testbed.gameday.local/kill-container')}"


def choose_local(
    actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
) -> tuple[PodFact, ...]:
    """Choose pods, on a target whose nodes obey annotations.

    Raises:
        TargetError: Another target, or fewer pods than asked for.
    """
    if target is None or target.kind != "local":
        kind = target.kind if target is not None else "unknown"
        raise TargetError(f"needs the local testbed: nothing could take it back on a target of kind {kind}")
    pods = actor.pods(str(arguments["namespace"]), parse_selector(str(arguments["selector"])))
    return choose(pods, arguments, seed_text)


def pod_ref(pod: PodFact) -> ObjectRef:
    """Return a pod's reference."""
    return ObjectRef("v1", "Pod", pod.name, pod.namespace)


class Hang:
    """The conduct of `hang_pods`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Choose among the pods that serve."""
        chosen = choose_local(actor, arguments, seed_text, target)
        undo = tuple(f"Pod {pod.subject}: its processes go on" for pod in chosen)
        return Selected(len(chosen), tuple(victims(chosen)), undo, (), chosen)

    def act(self, work: Work) -> Steps[Deed]:
        """Stop their processes where they stand."""
        yield from ()
        for pod in work.selected.found:
            work.change(pod_ref(pod), {FROZEN: "true"})
        return Deed(work.selected.victims)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until their probes have failed."""
        del deed
        pods: tuple[PodFact, ...] = work.selected.found

        def look() -> tuple[bool, str]:
            now = [work.context.actor.pod(pod.namespace, pod.name) for pod in pods]
            hung = [p for p, pod in zip(now, pods, strict=True) if p and p.uid == pod.uid and not p.ready]
            return len(hung) == len(pods), f"{len(hung)} of {len(pods)} pods hang (the same uid, not Ready)"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


class Crash:
    """The conduct of `crash_containers`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Choose pods that have the container (CASES A15: it must be named)."""
        chosen = choose_local(actor, arguments, seed_text, target)
        container = str(arguments["container"])
        for pod in chosen:
            found = actor.get(pod_ref(pod)) or {}
            names = [c["name"] for c in (found.get("spec") or {}).get("containers") or ()]
            if container not in names:
                raise TargetError(f"pod {pod.subject} has no container {container} (it has {', '.join(names)})")
        undo = tuple(f"Pod {pod.subject}: the order is removed; its kubelet restarts the container" for pod in chosen)
        return Selected(len(chosen), tuple(victims(chosen)), undo, (), chosen)

    def act(self, work: Work) -> Steps[Deed]:
        """Have the container's process killed."""
        yield from ()
        for pod in work.selected.found:
            nonce = f"{work.arguments['container']}/{work.context.run_id}-{work.plan.name}"
            work.change(pod_ref(pod), {KILL: nonce})
        return Deed(work.selected.victims)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the restarts are counted."""
        del deed
        pods: tuple[PodFact, ...] = work.selected.found

        def look() -> tuple[bool, str]:
            now = [work.context.actor.pod(pod.namespace, pod.name) for pod in pods]
            again = [
                p for p, pod in zip(now, pods, strict=True) if p and p.uid == pod.uid and p.restarts > pod.restarts
            ]
            return len(again) == len(pods), f"{len(again)} of {len(pods)} pods count a restart more"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def hang_pods(**arguments: Any) -> dict[str, Any]:
    """Let pods hang: their processes are stopped, probes fail, connections stay open.

    Args:
        **arguments: ``namespace``, ``selector``, and ``count`` or ``share``.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(HANG_PODS)


def crash_containers(**arguments: Any) -> dict[str, Any]:
    """Kill the process of one container of each pod; its kubelet restarts it, with back-off.

    Args:
        **arguments: ``namespace``, ``selector``, ``container``, and ``count`` or ``share``.

    Returns:
        Victims, effect and reason.
    """
    del arguments
    return perform(CRASH_CONTAINERS)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(verb, "pods", "", "", namespace) for verb in ("list", "get", "patch"))


def _undo_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(verb, "pods", "", "", namespace) for verb in ("get", "patch"))


HANG_PODS = Fault(
    name="hang_pods",
    module=__name__,
    loss=Loss.HANG,
    evidence="the pods are there, by uid, and no longer Ready",
    conduct=Hang(),
    needs=_needs,
    undo_needs=_undo_needs,
    undo="patch",
    arguments_schema=POD_ARGUMENTS,
)

CRASH_CONTAINERS = Fault(
    name="crash_containers",
    module=__name__,
    loss=Loss.CRASH,
    evidence="the pods are there, by uid, and count a restart more",
    conduct=Crash(),
    needs=_needs,
    undo_needs=_undo_needs,
    undo="patch",
    arguments_schema={
        **POD_ARGUMENTS,
        "properties": {
            **POD_ARGUMENTS["properties"],
            "container": {"type": "string", "minLength": 1, "description": "name of the container"},
        },
        "required": [*POD_ARGUMENTS["required"], "container"],
    },
)
