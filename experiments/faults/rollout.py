"""A rollout gone wrong: a Deployment gets a pod template that is no good, in one patch of one field.

The proof is in the new pods: they are there, carry the change, and do not get Ready; or get Ready and answer badly.
Undo puts the field back only while it is ours: a person's ``kubectl rollout undo`` has then done so already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.faults import counters
from experiments.faults.conditions import condition_is
from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError, existing
from harness.model.fault import Effect, Loss, ObjectRef, Permission
from harness.model.pointer import resolve
from harness.model.selector import selects
from harness.model.target import Target
from harness.ports import ClusterActor

SIGNAL = "planner_requests_total"
"""Counter of the query pack by ``pod`` and ``code``: what tells that Ready pods answer badly."""

TAG, PATH, COMMAND = "v2", "/status", ("false",)
"""What is rolled out where the file does not say: a tag, a path and a command that are no good."""

UNREADY_S = 8.0
"""How long a container must run without getting Ready before its probe is taken for failed."""

_POD = re.compile(r'\bpod="([^"]+)"')
_BAD_CODE = re.compile(r'\bcode="5\d\d"')

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What is set in the template.

    Attributes:
        container: Name of the container.
        within: Pointer from the container to the field.
        value: Its new value.
    """

    container: str
    within: str
    value: Any

    @property
    def pointer(self) -> str:
        """Pointer from the Deployment."""
        return f"/spec/template/spec/containers/name={self.container}{self.within}"

    def carried_by(self, pod: Json) -> bool:
        """Tell whether a pod was made of the changed template."""
        return bool(resolve(pod, f"/spec/containers/name={self.container}{self.within}") == self.value)


class BreakRollout:
    """The conduct of `break_rollout`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the Deployment, which must have no rollout under way."""
        del seed_text
        ref = _ref(arguments)
        found = existing(actor, ref)
        if found["spec"].get("paused"):
            raise TargetError(f"{ref} is paused: nothing would be rolled out")
        status = found.get("status") or {}
        old = int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))
        if old > 0:
            raise TargetError(f"{ref} has a rollout under way: {old} of its pods are of an older template")
        change = _change(found, arguments)
        prior = resolve(found, change.pointer)
        if prior == change.value:
            raise TargetError(f"{ref} has {change.pointer} at {prior!r} already")
        notes = counters.doubts(target, _signal(arguments)) if arguments["variant"] == "env" else ()
        return Selected(1, victims_of([found]), (f"{ref}: {change.pointer} back to {prior!r}",), notes, (found, change))

    def act(self, work: Work) -> Steps[Deed]:
        """Remember what the pods answer, then change the template."""
        found, change = work.selected.found
        before: counters.Readings | str = {}
        if work.arguments["variant"] == "env":
            before = counters.reading(work.context, _signal(work.arguments), _is_bad)
            yield counters.next_scrape_s(work.context)
        earlier = frozenset(str(pod["metadata"]["uid"]) for pod in _pods(work.context.actor, found))
        work.change(_ref(work.arguments), {change.pointer: change.value})
        detail = (("variant", work.arguments["variant"]), ("container", change.container))
        return Deed(work.selected.victims, "", detail, (earlier, before))

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the new pods show that they are no good."""
        earlier, before = deed.found
        found, change = work.selected.found
        if isinstance(before, str):
            return Evidence(Effect.UNCLEAR, before)
        symptom = _symptoms(work, change, before)[str(work.arguments["variant"])]

        def look() -> tuple[bool, str]:
            every = _pods(work.context.actor, found)
            fresh = [p for p in every if p["metadata"]["uid"] not in earlier and change.carried_by(p)]
            return symptom(fresh) if fresh else (False, "no pod of the new template is there")

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


Symptom = Callable[[Sequence[Json]], tuple[bool, str]]
"""Looks at the pods of the new template: whether they are no good, and what was seen."""


def _symptoms(work: Work, change: Change, before: counters.Readings) -> Mapping[str, Symptom]:
    since_s: dict[str, float] = {}

    def state_of(pod: Json) -> Json:
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        return next((s for s in statuses if s["name"] == change.container), {})

    def waiting_for(*reasons: str) -> Callable[[Json], str]:
        def told(pod: Json) -> str:
            reason = str(((state_of(pod).get("state") or {}).get("waiting") or {}).get("reason", ""))
            return reason if reason.startswith(reasons) else ""

        return told

    def unready(pod: Json) -> str:
        uid, now_s = str(pod["metadata"]["uid"]), work.context.clock.now_s()
        if "running" not in (state_of(pod).get("state") or {}):
            since_s.pop(uid, None)
            return ""
        lasted_s = now_s - since_s.setdefault(uid, now_s)
        return f"runs and is not Ready for {lasted_s:.0f} s" if lasted_s >= UNREADY_S else ""

    def serve_badly(fresh: Sequence[Json]) -> tuple[bool, str]:
        names = {str(pod["metadata"]["name"]) for pod in fresh}
        after = counters.present(
            work.context, _signal(work.arguments), lambda text: _is_bad(text) and _pod_of(text) in names
        )
        bad, ready = counters.rise(before, after), sum(map(_is_ready, fresh))
        return bool(ready and bad), f"{ready} of {len(fresh)} new pods are Ready and gave {bad:g} bad answers"

    return {
        "image": _never_ready(waiting_for("ErrImage", "ImagePull", "InvalidImage")),
        "command": _never_ready(waiting_for("CrashLoop", "RunContainerError", "CreateContainerError")),
        "probe": _never_ready(unready),
        "env": serve_badly,
    }


def _never_ready(problem: Callable[[Json], str]) -> Symptom:
    def look(fresh: Sequence[Json]) -> tuple[bool, str]:
        ready = sum(map(_is_ready, fresh))
        problems = sorted({told for pod in fresh if (told := problem(pod))})
        told = f"{ready} of {len(fresh)} new pods are Ready"
        return bool(problems) and not ready, f"{told}: {', '.join(problems) or 'nothing is wrong with them yet'}"

    return look


def _is_ready(pod: Json) -> bool:
    return condition_is(pod, "Ready")


def _is_bad(labels: str) -> bool:
    return _BAD_CODE.search(labels) is not None


def _pod_of(labels: str) -> str:
    found = _POD.search(labels)
    return found[1] if found else ""


def _pods(actor: ClusterActor, deployment: Json) -> list[Json]:
    selector, namespace = deployment["spec"].get("selector"), str(deployment["metadata"]["namespace"])
    pods = actor.find("v1", "Pod", namespace)
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return [pod for pod in alive if selects(selector, pod["metadata"].get("labels") or {})]


def _change(deployment: Json, arguments: Mapping[str, Any]) -> Change:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    name = str(arguments.get("container", containers[0]["name"]))
    container = next((c for c in containers if c["name"] == name), None)
    if container is None:
        raise TargetError(
            f"{_ref(arguments)} has no container {name} (it has {', '.join(c['name'] for c in containers)})"
        )
    within, value = _FIELDS[str(arguments["variant"])](container, arguments)
    return Change(name, within, value)


def _image(container: Json, arguments: Mapping[str, Any]) -> tuple[str, Any]:
    repository, colon, tag = str(container["image"]).partition("@")[0].rpartition(":")
    plain = repository if colon and "/" not in tag else str(container["image"]).partition("@")[0]
    return "/image", f"{plain}:{arguments.get('tag', TAG)}"


def _probe(container: Json, arguments: Mapping[str, Any]) -> tuple[str, Any]:
    if not (container.get("readinessProbe") or {}).get("httpGet"):
        raise TargetError(f"container {container['name']} has no readiness probe by HTTP that could be broken")
    return "/readinessProbe/httpGet/path", str(arguments.get("path", PATH))


def _command(container: Json, arguments: Mapping[str, Any]) -> tuple[str, Any]:
    del container
    return "/command", list(arguments.get("command", COMMAND))


def _env(container: Json, arguments: Mapping[str, Any]) -> tuple[str, Any]:
    del container
    name = str(arguments["env"]["name"])
    return f"/env/name={name}", {"name": name, "value": str(arguments["env"]["value"])}


_FIELDS: Mapping[str, Callable[[Json, Mapping[str, Any]], tuple[str, Any]]] = {
    "image": _image,
    "probe": _probe,
    "command": _command,
    "env": _env,
}


def _ref(arguments: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef("apps/v1", "Deployment", str(arguments["name"]), str(arguments["namespace"]))


def _signal(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("signal", SIGNAL))


def break_rollout(**arguments: Any) -> dict[str, Any]:
    """Roll out a pod template that is no good.

    Args:
        **arguments: ``namespace`` and ``name`` of the Deployment; ``container`` (its first); ``variant``: ``image``
            (with ``tag``), ``probe`` (readiness, with ``path``), ``command`` (with ``command``), or ``env`` (with
            ``env``: name and value), whose pods get Ready and answer badly by ``signal``.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(BREAK_ROLLOUT)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    return (*_undo_needs(arguments), Permission("list", "pods", "", "", str(arguments["namespace"])))


def _undo_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(verb, "deployments", "apps", "", namespace) for verb in ("get", "patch"))


_TEXT = {"type": "string", "minLength": 1}

BREAK_ROLLOUT = Fault(
    name="break_rollout",
    module=__name__,
    loss=Loss.CRASH,
    evidence="pods of the new template are there and do not get Ready, or get Ready and answer badly",
    conduct=BreakRollout(),
    needs=_needs,
    undo_needs=_undo_needs,
    undo="patch",
    arguments_schema={
        "type": "object",
        "description": "namespace and name of the Deployment, and what is wrong with its new template",
        "properties": {
            "namespace": {**_TEXT, "description": "namespace of the Deployment"},
            "name": {**_TEXT, "description": "name of the Deployment"},
            "container": {**_TEXT, "description": "whose field is changed (the first container)"},
            "variant": {"enum": list(_FIELDS), "description": "what is wrong: image, probe, command, or a variable"},
            "tag": {**_TEXT, "description": f"of the image ({TAG})"},
            "path": {"type": "string", "pattern": "^/", "description": f"of the readiness probe ({PATH})"},
            "command": {"type": "array", "items": _TEXT, "minItems": 1, "description": "instead of the present one"},
            "env": {
                "type": "object",
                "description": "variable of the container that is set",
                "properties": {"name": {**_TEXT, "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}, "value": {"type": "string"}},
                "required": ["name", "value"],
                "additionalProperties": False,
            },
            "signal": {**_TEXT, "description": f"counter by pod and code that tells bad answers ({SIGNAL})"},
        },
        "required": ["namespace", "name", "variant"],
        "additionalProperties": False,
        "if": {"properties": {"variant": {"const": "env"}}},
        "then": {"required": ["env"]},
    },
)
