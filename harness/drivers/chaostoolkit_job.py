"""What the chaos driver and its child say to each other: one job, then JSON lines both ways. Values and codec only.

Child to driver: ``event`` (an observation), ``permit`` (asks for one), ``end``. Driver to child: the job, then
``permit`` (the answer) and ``stop``. End-of-file either way means: the other one is gone, stop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from harness.model.fault import FaultPlan
from harness.model.target import Target

Message = dict[str, Any]
_CLASSES = re.compile(r"^(?:[\w.]*(?:Error|Failed): )+")
"""Names of exception classes before a message."""


@dataclass(frozen=True)
class ChaosJob:
    """What the child is told.

    Attributes:
        run_id: The run.
        seed: Its seed.
        origin_unix_s: Wall clock of second 0.
        origin_monotonic_s: CLOCK_MONOTONIC of second 0.
        started_s: When the method started; the schedule counts from here, not from when the child is up.
        text: The experiment file as written.
        plans: Its faults, validated.
        target: The target (names of secrets, never secrets).
        journal: Where Chaos Toolkit's journal goes.
    """

    run_id: str
    seed: int
    origin_unix_s: float
    origin_monotonic_s: float
    started_s: float
    text: str
    plans: tuple[FaultPlan, ...]
    target: Target
    journal: str


_JOB = TypeAdapter(ChaosJob)


def encode_job(job: ChaosJob) -> bytes:
    """Return the job as one line."""
    return _JOB.dump_json(job) + b"\n"


def decode_job(line: bytes) -> ChaosJob:
    """Read the job back.

    Raises:
        ValueError: The line is not a job.
    """
    return _JOB.validate_json(line)


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line."""
    return json.dumps(message).encode() + b"\n"


class Lines:
    """Cuts a stream of bytes into messages; a torn line waits for its rest."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are whole now.

        Raises:
            ValueError: A line is not JSON.
        """
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            if line.strip():
                message: Message = json.loads(line)
                yield message


def judge_journal(journal: Mapping[str, Any] | None, plans: Sequence[FaultPlan]) -> str:
    """Say what is wrong with a journal; the tool's own "completed" means nothing (CASES A01, A02).

    Every fault must have been run, once, in order, and have succeeded; nothing else may have been run.

    Args:
        journal: Chaos Toolkit's journal, or None where there is none.
        plans: The faults of the experiment.

    Returns:
        What is wrong, or an empty string.
    """
    if journal is None:
        return "Chaos Toolkit left no journal"
    runs = [run for run in journal.get("run") or () if isinstance(run, Mapping)]
    wrong = [_judge_run(run) for run in runs]
    names = [str(_activity(run).get("name")) for run in runs]
    wrong += [f"fault {plan.name} was not run" for plan in plans if plan.name not in names]
    expected = [plan.name for plan in plans if plan.name in names]
    if names != expected:
        wrong.append(f"activities ran as {', '.join(names)}, expected {', '.join(expected) or 'none'}")
    if journal.get("status") != "completed":
        wrong.append(f"Chaos Toolkit's status is {journal.get('status')}")
    return "; ".join(filter(None, wrong))


def _activity(run: Mapping[str, Any]) -> Mapping[str, Any]:
    activity = run.get("activity")
    return activity if isinstance(activity, Mapping) else {}


def _judge_run(run: Mapping[str, Any]) -> str:
    if run.get("status") == "succeeded":
        return ""
    lines = [line.strip() for line in "".join(run.get("exception") or ()).splitlines() if line.strip()]
    why = _CLASSES.sub("", lines[-1]) if lines else "it was cut off"
    return f"{_activity(run).get('name')} {run.get('status') or 'did not end'}: {why}"
