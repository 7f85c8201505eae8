"""The record of a run: all that judges and reports may look at. Values only; `harness.store` reads and writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from harness.model.experiment import Experiment
from harness.model.load import REQUEST_COLUMNS
from harness.model.signal import Harvest
from harness.model.timeline import Timeline

RECORD_VERSION = 3
"""Raised when today's code would misread an older record, or older code one of today's.

`harness.store_migration` then gets a step.
"""

RECORD_SCHEMA = f"gameday.record/{RECORD_VERSION}"


LoggedRequests: TypeAlias = pd.DataFrame | Path
"""The request log of a run that has just ended: its rows, or the stream that holds them (`harness.request_log`)."""


class Ending(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    REFUSED = "refused"
    ABORTED = "aborted"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class RunHeader:
    """Who, what, where and how a run ended.

    Attributes:
        run_id: ``20261125-0141-pod-kill-under-burst-7f3a``.
        experiment: Name of the experiment.
        target: Name of the target.
        seed: Seed of targets, arrivals and payloads.
        started_at: ISO 8601, UTC.
        ending: How it ended, or None while it runs.
        reason: Why, for every ending but ``completed``.
        versions: Versions of what took part.
        facts: Further facts, such as ``cpu_limits_enforced``.
    """

    run_id: str
    experiment: str
    target: str
    seed: int
    started_at: str
    ending: Ending | None = None
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def no_requests() -> pd.DataFrame:
    """Return an empty request log with its columns."""
    return pd.DataFrame(columns=list(REQUEST_COLUMNS))


@dataclass(frozen=True)
class Record:
    """A stored run.

    Attributes:
        header: Who, what, where.
        experiment: As it was run.
        timeline: What happened.
        harvest: What the metrics store said.
        requests: Request log; columns `REQUEST_COLUMNS`, one row a request.
        requests_lost: Rows that the workers sent and the collector never saw.
        fingerprint_before: State that faults can touch, by object, before the first change.
        fingerprint_after: The same after the last undo; None where it could not be taken.
        undo: Undo records with their outcome, as plain JSON.
    """

    header: RunHeader
    experiment: Experiment
    timeline: Timeline
    harvest: Harvest = field(default_factory=Harvest)
    requests: pd.DataFrame = field(default_factory=no_requests)
    requests_lost: int = 0
    fingerprint_before: Mapping[str, Any] | None = None
    fingerprint_after: Mapping[str, Any] | None = None
    undo: tuple[Mapping[str, Any], ...] = ()
