"""The profiles of the reference platform at its own rates; ``load.scale`` of an experiment fits them to a target.

10 M requests a month with a daily curve, a planner peak of 1,200 requests/s and 40 % on top, voice features that come
in spikes, the nightly evaluation as it was recorded, and a start from cold. Values only.
"""

from __future__ import annotations

from pathlib import Path

from harness.load_trace import with_trace
from harness.model.load import Arrivals, LoadProfile, Stage
from loadprofiles.shapes import burst_stages, sine, spike_train

PLANNER, INFERENCE = "loadprofiles.users:PlannerUser", "loadprofiles.users:InferenceUser"
REQUESTS_PER_MONTH, MONTH_S = 10_000_000, 30 * 86_400
MEAN_RPS = REQUESTS_PER_MONTH / MONTH_S
PEAK_RPS = 1_200.0
SENSITIVITY_RATIO = 1.4
DAY_SWING_RATIO = 0.8
"""Day and night: 1.8 of the mean in the afternoon, 0.2 of it before dawn."""
DAY_S = 240.0
"""How long the day of the profile lasts: its rates are a day's, its hours are ten seconds each."""
DAY_CUTS = (("baseline", 0.0, 0.25), ("ramp", 0.25, 0.375), ("burst", 0.375, 0.75), ("cooldown", 0.75, 1.0))
TRACE = Path(__file__).parent / "traces" / "evaluation-night.csv"


def day_stages(mean_rps: float = MEAN_RPS, day_s: float = DAY_S) -> tuple[Stage, ...]:
    """Return one turn of the daily curve: night, morning, day and evening as the stages that the conductor knows."""
    return tuple(
        Stage.through(
            name, sine(mean_rps, DAY_SWING_RATIO, duration_s=(to - start) * day_s, from_turn=start, to_turn=to)
        )
        for name, start, to in DAY_CUTS
    )


def _peak(name: str, peak_rps: float) -> LoadProfile:
    """A user for every request that may be open at a time: at the peak, over the whole time-out."""
    stages = burst_stages(peak_rps / 4, peak_rps, baseline_s=40.0, burst_s=120.0, cooldown_s=15.0, ramp_s=5.0)
    return LoadProfile(name, stages, {PLANNER: 1.0}, users_max=round(peak_rps * 5.5))


def _with_spikes(stages: tuple[Stage, ...], spike_rps: float, *, every_s: float, width_s: float) -> tuple[Stage, ...]:
    """Return the stages with spikes on top of their burst."""

    def spiky(burst: Stage) -> Stage:
        train = spike_train(burst.from_rps, spike_rps, duration_s=burst.duration_s, every_s=every_s, width_s=width_s)
        return Stage.through(burst.name, train)

    return tuple(spiky(stage) if stage.name == "burst" else stage for stage in stages)


_BOTH = {PLANNER: 3.0, INFERENCE: 1.0}
_VOICE = burst_stages(4.0, 4.0, baseline_s=30.0, burst_s=120.0, cooldown_s=15.0)
_NIGHT = burst_stages(2.0, 2.0, baseline_s=20.0, burst_s=120.0, cooldown_s=15.0)

REFERENCE = (
    LoadProfile("reference-day", day_stages(), _BOTH, users_max=60, arrivals=Arrivals.POISSON.value),
    _peak("reference-peak", PEAK_RPS),
    _peak("reference-peak-plus-40", PEAK_RPS * SENSITIVITY_RATIO),
    LoadProfile("voice-spikes", _with_spikes(_VOICE, 40.0, every_s=20.0, width_s=4.0), {INFERENCE: 1.0}, users_max=240),
    with_trace(LoadProfile("evaluation-replay", _NIGHT, _BOTH, users_max=160), TRACE),
    # As near to nothing as a baseline can be and still show that the way is open; then everything at once.
    LoadProfile(
        "cold-start",
        burst_stages(1.0, 60.0, baseline_s=20.0, burst_s=120.0, cooldown_s=10.0, ramp_s=1.0),
        {PLANNER: 1.0},
        users_max=320,
    ),
)
"""The reference platform's profiles; `loadprofiles.profiles.PROFILES` has them by name."""
