"""``summary.json``: the run for machines, with a versioned schema (``reports/schema/summary.json``). Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.model.fault import Injection
from harness.model.record import Record
from harness.model.verdict import Assumption, Verdict
from reports.differences import difference_document, effect_of
from reports.figures import load_figures
from reports.headline import headline

SUMMARY_SCHEMA = "gameday.summary/1"


def summary(record: Record, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]) -> str:
    """Return ``summary.json``. Figures that are not finite are null."""
    return (
        json.dumps(summary_document(record, verdicts, assumptions), indent=2, ensure_ascii=False, allow_nan=False)
        + "\n"
    )


def summary_document(
    record: Record, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]
) -> dict[str, Any]:
    """Return the summary as plain JSON."""
    header, head = record.header, headline(record, verdicts)
    window = record.timeline.load_window()
    return {
        "schema": SUMMARY_SCHEMA,
        "run_id": header.run_id,
        "experiment": header.experiment,
        "title": record.experiment.title,
        "runbook": record.experiment.runbook,
        "target": header.target,
        "seed": header.seed,
        "started_at": header.started_at,
        "duration_s": record.timeline.end_s,
        "ending": header.ending.value if header.ending else None,
        "reason": header.reason,
        "outcome": head.outcome.value,
        "headline": head.sentence,
        "exit_status": head.exit_status,
        "exit_meaning": head.meaning,
        "verdicts": [_verdict(verdict) for verdict in verdicts],
        "assumptions": [asdict(assumption) for assumption in assumptions.values()],
        "load": {
            "profile": record.experiment.load.name,
            "window": asdict(window) if window else None,
            **_finite(asdict(load_figures(record))),
        },
        "faults": [_injection(injection) for injection in record.timeline.injections()],
        **_effect(record),
        "versions": dict(header.versions),
        "replay": replay_commands(header.run_id),
    }


def _effect(record: Record) -> dict[str, Any]:
    effect = effect_of(record)
    if effect is None:
        return {}
    told = [difference_document(one) for one in effect.differences]
    return {"effect": {"control_run": effect.control_run, "problem": effect.problem, "differences": told}}


def replay_commands(run_id: str) -> list[str]:
    """Return the commands that judge the stored run again."""
    return [f"gameday report {run_id}", f"pytest -m gameday --gameday-replay {run_id}"]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {**_finite(asdict(verdict)), "outcome": verdict.outcome.value, "evidence": list(verdict.evidence)}


def _injection(injection: Injection) -> dict[str, Any]:
    return {
        "fault": injection.fault,
        "action": injection.action,
        "loss": injection.loss.value,
        "window": asdict(injection.window),
        "asked": injection.asked,
        "victims": [dict(victim) for victim in injection.victims],
        "effect": injection.effect.value,
        "reason": injection.reason,
    }


def _finite(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with null for every float that is not finite."""
    return {key: _finite(value) if isinstance(value, Mapping) else _number(value) for key, value in document.items()}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
