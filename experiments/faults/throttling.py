"""The API server refuses one user: a priority level without any seat, and a flow schema that sends the user there.

Helper objects of the cluster, deleted by their undo. Never for those who must take it back, nor for the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.helper_pods import helper_name
from experiments.faults.sequence import Deed, Selected, Work
from experiments.faults.targets import TargetError
from harness.model.fault import Loss, ObjectRef, Permission
from harness.model.target import Target
from harness.ports import ClusterActor

API = "flowcontrol.apiserver.k8s.io/v1"
FIRST = 100
"""Precedence: before every schema of the cluster's own but the one of system:masters."""

UNTOUCHABLE = (
    "gameday-", "system:node", "node-agent", "system:masters", "system:apiserver", "admin", "kubernetes-admin",
)  # fmt: skip
"""Beginnings of names of users without whom nothing could be seen or taken back."""


class Throttling:
    """The conduct of `throttle_api`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Look whether the user may be refused at all."""
        del seed_text, target
        user = str(arguments["user"])
        if user.startswith(UNTOUCHABLE) or ":gameday-" in user:
            raise TargetError(f"user {user} must not be refused: nothing could be seen or taken back without it")
        if not actor.serves(API, "FlowSchema"):
            raise TargetError(f"the API server has no flow control ({API})")
        if user == _ourselves(actor):
            raise TargetError(f"user {user} is who we are: nothing could be seen or taken back")
        victim = {"kind": "FlowSchema", "namespace": "", "name": user, "uid": user}
        return Selected(1, (victim,), ("FlowSchema and PriorityLevelConfiguration are deleted",))

    def act(self, work: Work) -> Steps[Deed]:
        """Make the level first, then send the user there."""
        yield from ()
        name, user = helper_name(work.context.run_id, work.plan.name, "throttle", 1), str(work.arguments["user"])
        limited = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
        level = {"type": "Limited", "limited": {**limited, "limitResponse": {"type": "Reject"}}}
        work.create(
            {"apiVersion": API, "kind": "PriorityLevelConfiguration", "metadata": {"name": name}, "spec": level}
        )
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
        rule = {"subjects": [_subject(user)], "resourceRules": [everything]}
        spec = {
            "priorityLevelConfiguration": {"name": name},
            "matchingPrecedence": FIRST,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [rule],
        }
        work.create({"apiVersion": API, "kind": "FlowSchema", "metadata": {"name": name}, "spec": spec})
        return Deed(work.selected.victims, "", (("object", name),), name)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the API server has taken both into force: the schema is not dangling."""
        ref = ObjectRef(API, "FlowSchema", str(deed.found))

        def look() -> tuple[bool, str]:
            conditions = ((work.context.actor.get(ref) or {}).get("status") or {}).get("conditions") or ()
            told = next((str(c["status"]) for c in conditions if c["type"] == "Dangling"), "not said")
            return told == "False", f"FlowSchema {ref.name} leads to a level without seats (Dangling: {told})"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def _ourselves(actor: ClusterActor) -> str:
    """Ask the API server whom it takes us for; a review that is answered and stored nowhere."""
    review = actor.create({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}})
    return str(review["status"]["userInfo"]["username"])


def _subject(user: str) -> dict[str, Any]:
    prefix = "system:serviceaccount:"
    if user.startswith(prefix):
        namespace, _, name = user.removeprefix(prefix).partition(":")
        return {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}
    return {"kind": "User", "user": {"name": user}}


def throttle_api(**arguments: Any) -> dict[str, Any]:
    """Let the API server refuse every request of one user with 429.

    Args:
        **arguments: ``user``: as the API server names it, such as
            ``system:serviceaccount:kube-system:horizontal-pod-autoscaler``.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(THROTTLE_API)


def _permissions(verbs: tuple[str, ...]) -> tuple[Permission, ...]:
    group = "flowcontrol.apiserver.k8s.io"
    plurals = ("flowschemas", "prioritylevelconfigurations")
    return tuple(Permission(verb, plural, group) for plural in plurals for verb in verbs)


THROTTLE_API = Fault(
    name="throttle_api",
    module=__name__,
    loss=Loss.DEPENDENCY,
    evidence="the API server has put the flow schema into force",
    conduct=Throttling(),
    needs=lambda _: _permissions(("create", "get")),
    undo_needs=lambda _: _permissions(("get", "delete")),
    undo="delete",
    arguments_schema={
        "type": "object",
        "description": "whose requests are refused",
        "properties": {"user": {"type": "string", "minLength": 1, "description": "as the API server names the user"}},
        "required": ["user"],
        "additionalProperties": False,
    },
)
