"""Whether a load fits under what a target may ever get in a second: arrivals, and people who talk beside them. Pure.

A limit that protects somebody's cluster is a most, not a mean. What cannot be known before the load begins (how fast a
user class thinks by its own code) is held to the limit by the generator, which counts what had to wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from harness.model.load import Arrivals, LoadProfile, parse_range

Options = Mapping[str, str | int | float]
ROOM_REMEDY = "lower load.scale, let them think longer (load.options.think_s), or raise rate_max_rps in gameday.toml"
STEPS = 30
"""Halvings when a fitting scale is looked for: far finer than the three digits that are told."""


class Objection(NamedTuple):
    """Why a load does not fit, and what to do."""

    problem: str
    remedy: str


def objection(load: LoadProfile, rate_max_rps: float) -> Objection | None:
    """Return what speaks against a load at a target that takes so many requests a second, or None."""
    if load.conversations and load.peak_rps <= 0:
        return _no_arrivals(load)
    if load.densest_second > rate_max_rps:
        return Objection(f"{_peak(load)}, and {rate_max_rps:g} are allowed", _fitting(load, rate_max_rps))
    if load.conversations and load.densest_second == rate_max_rps:
        return Objection(f"{_peak(load)}: nothing of the target's rate_max_rps is left for conversations", ROOM_REMEDY)
    return None


def crowd_objection(load: LoadProfile, options: Options, rate_max_rps: float) -> Objection | None:
    """Return why people have less room beside the arrivals than they are known to ask for, or None.

    Args:
        load: One to which there is no other objection.
        options: Of the experiment; only ``think_s`` says how often people ask.
        rate_max_rps: What the target takes.
    """
    if not load.conversations or "think_s" not in options:
        return None
    try:
        least_s, most_s = parse_range(options["think_s"])
    except ValueError as error:
        return Objection(f"load.options.think_s: {error}", "write it like 2-6, or as one number")
    room_rps = rate_max_rps - load.densest_second
    people, think_s = sum(load.conversations.values()), (least_s + most_s) / 2
    if people <= room_rps * think_s:
        return None
    asked = f"{people / think_s:g} requests a second" if think_s > 0 else "requests without end"
    problem = f"{people} people who think for {think_s:g} s ask for up to {asked}, and {room_rps:g} are left for them"
    return Objection(problem, ROOM_REMEDY)


def _no_arrivals(load: LoadProfile) -> Objection:
    """Say why conversations alone are no load: they wait for a platform that stalls, and nobody could tell."""
    problem = (
        f"profile {load.name} has conversations and no arrivals: people wait for their answers, so that nobody knows"
        " how many requests a stall kept from being sent, nor whether the load reached its floor"
    )
    return Objection(problem, "add a user class and a low rate, such as 1 rps; conversations go on beside it")


def _peak(load: LoadProfile) -> str:
    if load.arrivals != Arrivals.POISSON:
        return f"the load peaks at {load.peak_rps:g} rps"
    return f"the load peaks at {load.peak_rps:g} rps, which by chance is up to {load.densest_second:g} in a second"


def _fitting(load: LoadProfile, rate_max_rps: float) -> str:
    """Say by how much the load must shrink."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if load.scaled(middle).densest_second <= rate_max_rps else (low, middle)
    fits = math.floor(low * 1000 + 1e-3) / 1000
    return f"lower load.scale in the experiment to {fits:g} of what it is, or raise rate_max_rps in gameday.toml"


__all__ = ["Objection", "crowd_objection", "objection"]
