"""The spans of a run that assertions look at, from the load's start and the profile's stages. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.load import Stage
from harness.model.record import Record
from harness.model.time import PhaseName, Window

DEMAND_STAGES = ("ramp", "burst")


def stages(record: Record) -> Iterator[tuple[Stage, Window]]:
    """Yield each stage that was reached, cut off at the end of the load; nothing where no load was started.

    The times are the profile's own, counted from the first second of load: the generator follows the profile by the
    clock, and whether it kept up is asked by the assumption ``load_reached_floor``.
    """
    load = record.timeline.load_window()
    if load is None:
        return
    at_s = load.start_s
    for stage in record.experiment.load.stages:
        part = Window(at_s, at_s + stage.duration_s).intersect(load)
        at_s += stage.duration_s
        if part is not None:
            yield stage, part


def demand_window(record: Record) -> Window | None:
    """Return the span of raised load (stages ``ramp`` and ``burst``), or None where it was not reached."""
    parts = [window for stage, window in stages(record) if stage.name in DEMAND_STAGES]
    return Window(parts[0].start_s, parts[-1].end_s) if parts else None


def stage_window(record: Record, name: str) -> Window | None:
    """Return the span of a stage, or None where it was not reached."""
    return next((window for stage, window in stages(record) if stage.name == name), None)


def judged_window(record: Record) -> Window | None:
    """Return the span from the start of the load to the harvest (or the last event): load, recovery and settling."""
    load = record.timeline.load_window()
    if load is None:
        return None
    harvest = record.timeline.phase(PhaseName.HARVEST)
    end_s = record.timeline.end_s if harvest is None else harvest.window.start_s
    return Window(load.start_s, max(load.end_s, end_s))


def steady_demand_end_s(record: Record, at_s: float) -> float | None:
    """Return until when the profile asks for at least the rate of an instant; None where there is no load, or it falls.

    A stage that falls below that rate within itself does not count at all.
    """
    rate_rps = end_s = None
    for stage, part in stages(record):
        if part.end_s <= at_s:
            continue
        lowest_rps = min(stage.rates_rps)
        if part.contains(at_s):
            rate_rps, lowest_rps = _rates_from(stage, at_s - part.start_s)
        if not rate_rps or lowest_rps < rate_rps:
            break
        end_s = part.end_s
    return end_s


def offered_requests(stage: Stage, from_s: float, to_s: float) -> float:
    """Return how many requests a stage asks for between two instants, in seconds since the stage began."""
    total = begin_s = 0.0
    for piece in stage.pieces():
        low_s, high_s = max(from_s - begin_s, 0.0), min(to_s - begin_s, piece.duration_s)
        if high_s > low_s:
            slope = (piece.to_rps - piece.from_rps) / piece.duration_s
            total += piece.from_rps * (high_s - low_s) + slope * (high_s**2 - low_s**2) / 2
        begin_s += piece.duration_s
    return total


def _rates_from(stage: Stage, at_s: float) -> tuple[float, float]:
    """Return the rate at an instant within a stage, and the lowest one from there to the stage's end."""
    rates, since_s = [], at_s
    for piece in stage.pieces():
        if since_s < piece.duration_s:
            share = max(since_s, 0.0) / piece.duration_s
            rates += [piece.from_rps + (piece.to_rps - piece.from_rps) * share, piece.to_rps]
        since_s -= piece.duration_s
    return (rates[0], min(rates)) if rates else (stage.to_rps, stage.to_rps)
