"""Control runs: an experiment without its faults, under the same load and seed, to tell what the faults do.

The record of a control run holds the experiment as it was run, hence without faults, so its verdicts answer another
question: does the platform hold under the load alone? Its title says so wherever it is shown. An answer that needs a
fault is INCONCLUSIVE there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.client import Job
from harness.model.comparison import CONTROL_FACT, CONTROL_RUN_FACT
from harness.model.experiment import Experiment
from harness.model.record import Ending


def without_faults(experiment: Experiment) -> Experiment:
    """Return the experiment as a control run runs it."""
    return replace(experiment, faults=(), title=f"{experiment.title} (control run, without its faults)")


def control_facts(job: Job) -> dict[str, Any]:
    """Return what a run's header says of its control run, or of being one."""
    if job.control:
        return {CONTROL_FACT: True}
    return {CONTROL_RUN_FACT: job.control_run} if job.control_run else {}


def not_completed(run_dir: Path) -> str:
    """Return why the run with the faults must not follow a control run, or an empty string.

    A platform that did not come through the load alone (stopped, refused, a gate missed) is not ready to be broken. An
    answer of FAIL is no reason: the control run completed, and there is something to compare with.
    """
    from harness import store  # noqa: PLC0415 - pandas only where it is needed

    header = store.load_record(run_dir).header
    if header.ending is Ending.COMPLETED:
        return ""
    return f"the control run did not complete, so no fault was injected: {header.reason or header.run_id}"
