"""The twin's Jobs: one pod at a time works, what it has done is kept (a checkpoint), and a lost pod is replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.model.facts import JobFact

WORK_S = 30.0
"""Seconds of a running pod that the evaluation needs in all."""

JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(eq=False)
class SimJob:
    """A Job of one completion.

    Attributes:
        obj: The object as plain JSON, as it was created.
        created_unix_s: When.
        keeps_work: Whether what a lost pod has done is kept.
        done_s: Seconds of work done.
        failed: Pods that were lost.
        completed_unix_s: When it was complete, or None.
    """

    obj: dict[str, Any]
    created_unix_s: float
    keeps_work: bool = True
    done_s: float = 0.0
    failed: int = 0
    completed_unix_s: float | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.obj["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.obj["metadata"]["namespace"])

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self.obj["metadata"]["uid"])

    @property
    def complete(self) -> bool:
        """Tell whether its work is done."""
        return self.completed_unix_s is not None

    def pod_labels(self) -> dict[str, str]:
        """Return the labels of its pods."""
        return {**(self.obj["spec"]["template"].get("metadata") or {}).get("labels", {}), JOB_NAME: self.name}

    def lose_pod(self) -> None:
        """Count a pod that ended before its work was done."""
        self.failed += 1
        if not self.keeps_work:
            self.done_s = 0.0

    def fact(self, active: int) -> JobFact:
        """Return what a watch would show."""
        return JobFact(
            self.uid, self.namespace, self.name, labels=dict(self.obj["metadata"].get("labels") or {}), completions=1,
            active=active, succeeded=int(self.complete), failed=self.failed, created_unix_s=self.created_unix_s,
            completed_unix_s=self.completed_unix_s, complete=self.complete, failed_for_good=False,
        )  # fmt: skip
