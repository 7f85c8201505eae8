"""What the faults of a run did, against the control run made right before it: found when reports are written.

A composition root's own. Must not change a verdict: answers rest on the run's own record alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness import store
from harness.differences import differences, incomparable
from harness.model.comparison import CONTROL_RUN_FACT, EFFECT_FACT, Effect
from harness.model.errors import SpecError
from harness.model.record import Record


def with_effect(run_dir: Path, record: Record) -> Record:
    """Return the record with the effect of its faults among its facts, where it names a control run; else as it is.

    Args:
        run_dir: The run's folder; its control run lies beside it.
        record: The run.
    """
    control_run = record.header.facts.get(CONTROL_RUN_FACT)
    if not control_run:
        return record
    facts = {**record.header.facts, EFFECT_FACT: _effect(run_dir.resolve().parent, str(control_run), record)}
    return replace(record, header=replace(record.header, facts=facts))


def _effect(runs_dir: Path, control_run: str, record: Record) -> Effect:
    if Path(control_run).name != control_run:
        return Effect(control_run, problem=f"{control_run!r} is not the id of a run")
    try:
        control = store.load_record(runs_dir / control_run)
    except SpecError as error:
        return Effect(control_run, problem=f"the control run cannot be read: {error}")
    problems = incomparable(control, record)
    if problems:
        return Effect(control_run, problem="; ".join(problems))
    return Effect(control_run, differences(control, record))
