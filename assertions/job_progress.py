"""Did a Job complete in time though what it ran on was taken away, and without losing finished work?

Pure. It asks for proof that the Job was hit: one that completed undisturbed says nothing about a reclaim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assertions.budget_replay import matches
from assertions.definition import (
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    limit_s,
    param,
    params_object,
    unclear,
)
from assertions.fault_view import FaultView, fault_views, unproven
from assertions.pod_lives import NAMESPACE, SELECTOR
from assertions.watching import JOBS, PODS, blind_spots
from assertions.windows import judged_window
from harness.model.experiment import AssertionSpec
from harness.model.facts import JobFact, PodFact
from harness.model.fault import Loss
from harness.model.record import Record
from harness.model.selector import parse_selector
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "job_progress"
SCHEMA = params_object(
    {
        "namespace": NAMESPACE,
        "selector": SELECTOR | {"description": "labels of the Job itself, such as app=evaluation"},
        "completed_within": duration("from the Job's making, or the start of the load, until it is complete", "10m"),
        "restarts_max": {
            "type": "integer",
            "minimum": 0,
            "default": 3,
            "description": "most pods beyond those that it needs, and container restarts, together",
        },
        "fault": {"type": "string", "description": "name of the fault that hits it; default: any fault may"},
    },
    required=["namespace", "selector"],
)
LOOK = "kubectl describe job, and the logs of its pods"


@dataclass(frozen=True, slots=True)
class _Job:
    """A Job over time with its pods."""

    states: Sequence[tuple[float, JobFact]]
    pods: Sequence[tuple[float, PodFact]]

    @property
    def last(self) -> JobFact:
        return self.states[-1][1]

    @property
    def complete_s(self) -> float | None:
        return next((t_s for t_s, job in self.states if job.complete), None)

    @property
    def failed_s(self) -> float | None:
        return next((t_s for t_s, job in self.states if job.failed_for_good), None)

    @property
    def gone_s(self) -> float | None:
        return next((t_s for t_s, job in self.states if job.deleted), None)

    def restarts(self) -> int:
        """Return pods beyond those that it needs, and restarts of containers."""
        needed = max(1, self.last.completions or self.last.parallelism)
        latest = {pod.uid: pod for _, pod in self.pods}
        surplus = max(0, len(latest) - needed, self.last.failed)
        return surplus + sum(pod.restarts for pod in latest.values())

    def lost_work(self) -> tuple[float, int, int] | None:
        """Return ``(t_s, before, after)`` where fewer pods had succeeded than before, or None."""
        best = 0
        for t_s, job in self.states:
            if not job.deleted and job.succeeded < best:
                return t_s, best, job.succeeded
            best = max(best, job.succeeded)
        return None


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge every Job of the selector."""
    namespace, selector = str(spec.params["namespace"]), str(spec.params["selector"])
    limit, restarts_max = limit_s(spec, SCHEMA, "completed_within"), int(param(spec, SCHEMA, "restarts_max"))
    expected = f"Jobs of {selector} in {namespace} complete within {limit:g} s with at most {restarts_max} restarts"
    window = judged_window(record)
    if window is None:
        return conclude(spec, [unclear("no load was started", "see why the run ended early")], expected)
    jobs = _jobs(record, namespace, selector)
    if not jobs:
        reason = f"no Job of {selector} was seen in {namespace}"
        return conclude(spec, [unclear(reason, "see that it is started and that its namespace is in scope")], expected)
    checks: list[Check] = []
    for job in jobs:
        checks += [*_end_checks(record, job, limit, window), *_work_checks(job, restarts_max)]
    checks += _hit_checks(record, jobs, spec.params.get("fault"), window)
    figures = {"jobs": float(len(jobs)), "restarts": float(sum(job.restarts() for job in jobs))}
    ended = [job.complete_s - _start_s(record, job, window) for job in jobs if job.complete_s is not None]
    figures |= {"completed_s": max(ended)} if ended else {}
    return conclude(spec, checks, expected, window=window, figures=figures)


def _jobs(record: Record, namespace: str, selector: str) -> list[_Job]:
    labels = parse_selector(selector)
    by_uid: dict[str, list[tuple[float, JobFact]]] = {}
    for t_s, job in record.timeline.facts(JobFact, lambda j: j.namespace == namespace and matches(labels, j.labels)):
        by_uid.setdefault(job.uid, []).append((t_s, job))
    return [_Job(states, _pods(record, states[0][1])) for states in by_uid.values()]


def _pods(record: Record, job: JobFact) -> list[tuple[float, PodFact]]:
    owner = f"Job/{job.name}"
    return record.timeline.facts(PodFact, lambda pod: pod.namespace == job.namespace and pod.owner == owner)


def _start_s(record: Record, job: _Job, window: Window) -> float:
    made = job.states[0][1].created_unix_s
    seen_s = job.states[0][0]
    made_s = seen_s if made is None else min(seen_s, made - record.timeline.origin.timestamp())
    return max(made_s, window.start_s)


def _end_checks(record: Record, job: _Job, limit: float, window: Window) -> Iterator[Check]:
    name, start_s, done_s = f"Job {job.last.subject}", _start_s(record, job, window), job.complete_s
    if done_s is not None:
        text = f"{name} was complete after {max(0.0, done_s - start_s):.1f} s"
        yield held(text) if done_s - start_s <= limit else broken(f"{text}, the limit is {limit:g} s", LOOK)
        return
    if job.failed_s is not None:
        yield broken(f"{name} failed at +{job.failed_s:.1f}s ({job.last.reason or 'no reason given'})", LOOK)
        return
    if job.gone_s is not None:
        yield broken(f"{name} was deleted at +{job.gone_s:.1f}s before it was complete", "see who deleted it")
        return
    waited_s = max(0.0, window.end_s - start_s)
    text = f"{name} was not complete after {waited_s:.1f} s ({job.last.active} pods active)"
    blind = "; ".join(blind_spots(record, [JOBS], job.last.namespace, Window(start_s, max(start_s, window.end_s))))
    if waited_s < limit or blind:
        reason = f"{text}, but {blind}" if blind else f"{text}, when the record ends; {limit:g} s are allowed"
        yield unclear(reason, "let the run last longer", text)
    else:
        yield broken(f"{text}, the limit is {limit:g} s", LOOK)


def _work_checks(job: _Job, restarts_max: int) -> Iterator[Check]:
    lost, restarts = job.lost_work(), job.restarts()
    if lost is not None:
        reason = f"Job {job.last.subject} had {lost[1]} pods done and {lost[2]} at +{lost[0]:.1f}s: work was lost"
        yield broken(reason, LOOK)
    text = f"{restarts} restarts"
    if restarts > restarts_max:
        yield broken(f"Job {job.last.subject} needed {text}, the limit is {restarts_max}", LOOK, text)
    else:
        yield held(text)
    if not job.pods:
        yield unclear(f"no pod of Job {job.last.subject} was seen: its restarts are not known", "see the scope")


def _hit_checks(record: Record, jobs: Sequence[_Job], fault: str | None, window: Window) -> Iterator[Check]:
    """Ask for a proven fault that hit a pod of a Job before the Job was complete."""
    problem = None if fault is None else unproven(record, fault)
    if problem is not None:
        yield problem
        return
    proven = [f for f in fault_views(record) if unproven(record, f.name) is None and fault in {None, f.name}]
    hits = [f"{f.name} hit {pod}" for f in proven for job in jobs for pod in _hit(job, f)]
    if hits:
        yield held(", ".join(dict.fromkeys(hits)))
        return
    blind = "; ".join(blind_spots(record, [PODS], jobs[0].last.namespace, window))
    reason = "no fault hit a pod of it while it ran" + (f" as far as was seen ({blind})" if blind else "")
    yield unclear(f"{reason}: it was never disturbed", "let the fault hit the node that the Job runs on")


def _hit(job: _Job, fault: FaultView) -> list[str]:
    """Return the pods of a Job that were among the victims, or ran on a node that was, when a fault struck."""
    if job.complete_s is not None and job.complete_s <= fault.touched_s:
        return []
    latest = {pod.uid: pod for t_s, pod in job.pods if t_s <= fault.touched_s}
    there = [pod for pod in latest.values() if not (pod.deleted or pod.terminal)]
    lost = fault.nodes if fault.loss is Loss.NODE else ()
    return [pod.name for pod in there if pod.uid in fault.pod_uids or pod.node in lost]


DEFINITION = Definition(
    kind=KIND,
    question="Did the Job complete though its node was taken?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("run_completed", "faults_took_effect", "observation_complete"),
    needs_for_fail=(),
)
