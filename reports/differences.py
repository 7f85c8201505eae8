"""Differences of two runs as texts: figures with their units, the interval, and what it comes to. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from harness.model.comparison import EFFECT_FACT, Effect
from harness.model.difference import Difference
from harness.model.record import Record
from reports.figures import figure_label, figure_text


def effect_of(record: Record) -> Effect | None:
    """Return the effect of a run's faults, or None where it had no control run."""
    found = record.header.facts.get(EFFECT_FACT)
    return found if isinstance(found, Effect) else None


def effect_lines(record: Record) -> list[str]:
    """Return the effect of a run's faults, a line a figure; empty where it had no control run."""
    effect = effect_of(record)
    if effect is None:
        return []
    told = [effect.problem] if effect.problem else [difference_text(one) for one in effect.differences]
    return [f"against the control run {effect.control_run}:", *told]


def difference_text(found: Difference) -> str:
    """Return one line, such as ``success: 99.90 % → 98.10 %, -1.80 points (95 %: -2.40 to -1.20), worse``."""
    sides = f"{figure_text(found.name, found.before)} → {figure_text(found.name, found.after)}"
    if found.problem:
        return f"{figure_label(found.name)}: {sides}; the difference cannot be told: {found.problem}"
    low, high = (change_text(found.name, bound) for bound in (found.low, found.high))
    change = change_text(found.name, found.value)
    return f"{figure_label(found.name)}: {sides}, {change} (95 %: {low} to {high}), {verdict_text(found)}"


def change_text(name: str, value: float) -> str:
    """Return a difference with its sign; of ratios in points, since a percentage of a percentage misleads."""
    if not math.isfinite(value):
        return "not known"
    sign = "-" if value < 0 else "+"
    if name.endswith("_ratio"):
        return f"{sign}{100 * abs(value):.2f} points"
    return f"{sign}{figure_text(name, abs(value))}"


def verdict_text(found: Difference) -> str:
    """Return what a difference comes to; where it is noise, how much could hide in it."""
    if found.problem:
        return "cannot be told"
    if found.worse or found.better:
        return "worse" if found.worse else "better"
    if found.low > 0 or found.high < 0:
        limit = change_text(found.name, found.relevant).removeprefix("+")
        return f"differs, by less than what matters ({limit})"
    if found.hidden > found.relevant:
        return f"no difference beyond noise, in which a loss of {change_text(found.name, found.hidden)[1:]} could hide"
    return "no difference beyond noise"


def difference_document(found: Difference) -> dict[str, Any]:
    """Return a difference as plain JSON, with what it comes to."""
    document: dict[str, Any] = strict({**asdict(found), "difference": found.value, "verdict": verdict_text(found)})
    return document


def strict(value: Any) -> Any:
    """Return plain JSON with null for every float that is not finite."""
    if isinstance(value, dict):
        return {key: strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
