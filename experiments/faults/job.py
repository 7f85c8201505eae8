"""Starts a Job from a CronJob, so that there is work to disturb. A helper object: its undo deletes it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import existing
from harness.model.fault import Loss, ObjectRef, Permission
from harness.model.target import Target
from harness.ports import ClusterActor

JOB_NAME_LABEL = "batch.kubernetes.io/job-name"


class RunJob:
    """The conduct of `run_job`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the CronJob."""
        del seed_text, target
        ref = ObjectRef("batch/v1", "CronJob", str(arguments["cronjob"]), str(arguments["namespace"]))
        cronjob = existing(actor, ref)
        return Selected(1, victims_of([cronjob]), (f"the Job made from {ref} is deleted",), (), cronjob)

    def act(self, work: Work) -> Steps[Deed]:
        """Create the Job."""
        yield from ()
        cronjob, run_id = work.selected.found, work.context.run_id
        template = cronjob["spec"]["jobTemplate"]
        name = f"{cronjob['metadata']['name']}-{hashlib.sha256(f'{run_id}/{work.plan.name}'.encode()).hexdigest()[:8]}"
        meta = {
            "name": name,
            "namespace": cronjob["metadata"]["namespace"],
            "labels": dict((template.get("metadata") or {}).get("labels") or {}),
        }
        made = work.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": template["spec"]})
        return Deed(work.selected.victims, "", (("job", f"{meta['namespace']}/{name}"),), made)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until a pod of it runs."""
        meta = deed.found["metadata"]

        def look() -> tuple[bool, str]:
            selector = f"{JOB_NAME_LABEL}={meta['name']}"
            pods = work.context.actor.find("v1", "Pod", meta["namespace"], selector)
            phases = [str((pod.get("status") or {}).get("phase", "Unknown")) for pod in pods]
            return "Running" in phases, f"Job {meta['name']}: pods {', '.join(phases) or 'none'}"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def run_job(**arguments: Any) -> dict[str, Any]:
    """Start a Job from a CronJob, as ``kubectl create job --from=cronjob/NAME`` does.

    Args:
        **arguments: ``namespace`` and ``cronjob``.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(RUN_JOB)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return (
        Permission("get", "cronjobs", "batch", "", namespace),
        Permission("create", "jobs", "batch", "", namespace),
        Permission("list", "pods", "", "", namespace),
    )


def _undo_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(verb, "jobs", "batch", "", namespace) for verb in ("get", "delete"))


RUN_JOB = Fault(
    name="run_job",
    module=__name__,
    loss=Loss.NONE,
    evidence="a pod of the Job runs",
    conduct=RunJob(),
    needs=_needs,
    undo_needs=_undo_needs,
    undo="delete",
    arguments_schema={
        "type": "object",
        "description": "namespace and cronjob",
        "properties": {
            "namespace": {"type": "string", "minLength": 1, "description": "namespace of the CronJob"},
            "cronjob": {"type": "string", "minLength": 1, "description": "name of the CronJob"},
        },
        "required": ["namespace", "cronjob"],
        "additionalProperties": False,
    },
)
