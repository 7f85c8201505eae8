"""Control runs: an experiment without its faults, under the same load and seed, to tell what the faults do.

The record of a control run holds the experiment as it was run, hence without faults, so its verdicts answer another
question: does the platform hold under the load alone? Its title says so wherever it is shown. An answer that needs a
fault is INCONCLUSIVE there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.client import CONTROL_SUFFIX, Job
from harness.model.comparison import CONTROL_FACT, CONTROL_RUN_FACT
from harness.model.experiment import Experiment
from harness.model.facts import HpaFact, ScaledObjectFact
from harness.model.record import Ending, Record

REST_MARGIN_S = 60.0
"""From the end of a stabilisation window to the pods' being gone: a sync of the autoscaler, and their grace period."""

REST_MAX_S = 900.0


def without_faults(experiment: Experiment) -> Experiment:
    """Return the experiment as a control run runs it."""
    return replace(experiment, faults=(), title=experiment.title + CONTROL_SUFFIX)


def control_facts(job: Job) -> dict[str, Any]:
    """Return what a run's header says of its control run, or of being one."""
    if job.control:
        return {CONTROL_FACT: True}
    return {CONTROL_RUN_FACT: job.control_run} if job.control_run else {}


@dataclass(frozen=True, slots=True)
class AfterControl:
    """What follows a control run.

    Attributes:
        problem: Why nothing may follow it, or empty.
        rest_s: How long the platform is left alone first, so that its autoscalers go back.
    """

    problem: str = ""
    rest_s: float = 0.0


def after_control(run_dir: Path, job: Job) -> AfterControl:
    """Return what follows a control run.

    A platform that did not come through the load alone (stopped, refused, a gate missed) is not ready to be broken. An
    answer of FAIL is no reason: the control run completed, and there is something to compare with. A rehearsal's twin
    is a new one for each run and needs no rest.

    Args:
        run_dir: The control run's folder.
        job: What was asked for.
    """
    from harness import store  # noqa: PLC0415 - pandas only where it is needed

    record = store.load_record(run_dir)
    if record.header.ending is not Ending.COMPLETED:
        reason = record.header.reason or record.header.run_id
        return AfterControl(f"the control run did not complete, so no fault was injected: {reason}")
    return AfterControl(rest_s=0.0 if job.rehearse else rest_s(record))


def rest_s(record: Record) -> float:
    """Return how long the autoscalers of a control run may still take to go back; 0 where they are back already.

    By their own words: the longest stabilisation or cooldown since the load ended, and some time to act. Whether it
    was enough is not told here: a run that begins with other replicas than its control run tells no effect.
    """
    from harness.differences import replicas_asked  # noqa: PLC0415 - pandas only where it is needed

    load, end_s = record.timeline.load_window(), record.timeline.end_s
    if load is None or replicas_asked(record, load.start_s) == replicas_asked(record, end_s):
        return 0.0
    waits_s = [hpa.down_stabilisation_s for _, hpa in record.timeline.facts(HpaFact)]
    waits_s += [scaled.cooldown_s for _, scaled in record.timeline.facts(ScaledObjectFact)]
    return min(REST_MAX_S, max(0.0, max(waits_s, default=0.0) + REST_MARGIN_S - (end_s - load.end_s)))
