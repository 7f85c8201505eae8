"""The named load profiles: a shape and a request mix each. Values only; nothing here makes load or imports Locust.

A request mix names Locust user classes as ``module:Class`` with weights, so that load is the user's own: put a class
anywhere on the import path, name it here, done. Rates are for the local testbed on two cores; ``load.scale`` of an
experiment makes them a cluster's.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.model.load import LoadProfile
from loadprofiles.reference import INFERENCE, PLANNER, REFERENCE
from loadprofiles.shapes import burst_stages

_ALL = (
    # Four times the baseline; about 6,000 requests in the burst, of which 30 may fail at 99.5 %. 320 users hold 60 rps
    # even while every request runs into its 5 s time-out, so an outage does not turn into missing load.
    LoadProfile(
        "planner-burst",
        burst_stages(15.0, 60.0, baseline_s=40.0, burst_s=100.0, cooldown_s=10.0),
        {PLANNER: 1.0},
        users_max=320,
    ),
    # With 8 tool calls a request (option tool_calls) 2 rps are 16 tasks/s, which one adapter pod does (about 25/s), and
    # 10 rps are 80 tasks/s, which it does not. The cooldown leaves room for the backlog to drain.
    LoadProfile(
        "queue-burst",
        burst_stages(2.0, 10.0, baseline_s=30.0, burst_s=90.0, cooldown_s=30.0),
        {PLANNER: 1.0},
        users_max=64,
    ),
    LoadProfile(
        "mixed-burst",
        burst_stages(10.0, 40.0, baseline_s=40.0, burst_s=100.0, cooldown_s=10.0),
        {PLANNER: 3.0, INFERENCE: 1.0},
        users_max=240,
    ),
    # Proves that the way from the generator to the planner and back is open; too short to judge a budget by.
    LoadProfile(
        "smoke",
        burst_stages(5.0, 10.0, baseline_s=4.0, burst_s=5.0, cooldown_s=1.0, ramp_s=1.0),
        {PLANNER: 1.0},
        users_max=50,
    ),
    *REFERENCE,
)

PROFILES: Mapping[str, LoadProfile] = {profile.name: profile for profile in _ALL}
"""Every profile by name; an experiment names one as ``load.profile``."""


def scaled(profile: LoadProfile, scale: float) -> LoadProfile:
    """Return the profile with every rate multiplied (see `LoadProfile.scaled`)."""
    return profile.scaled(scale)
