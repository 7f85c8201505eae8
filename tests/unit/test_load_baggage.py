"""What travels to workers elsewhere: the recording that the plan names, whole and bounded, where it is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.load_trace import with_trace
from harness.model.load import LoadPlan, LoadProfile, LoadWorkers
from loadprofiles.arrivals import arrival_chunks
from loadprofiles.baggage import packed, unpacked
from loadprofiles.job import PlanRefused
from loadprofiles.profiles import burst_stages

PODS = LoadWorkers(2, "cluster", "127.0.0.1", 5557)
STAGES = burst_stages(1, 1, baseline_s=1, burst_s=1, cooldown_s=1, ramp_s=1)


@pytest.fixture
def plan(tmp_path: Path) -> LoadPlan:
    path = tmp_path / "trace.csv"
    path.write_text("t_s\n" + "".join(f"{n / 10}\n" for n in range(80)))
    profile = with_trace(LoadProfile("p", STAGES, {"U": 1.0}), path)
    return LoadPlan(profile, "http://127.0.0.1:1", seed=1, rate_max_rps=100, workers=PODS)


def test_a_recording_is_the_same_at_both_ends(plan: LoadPlan, tmp_path: Path) -> None:
    trace = packed(plan)
    here = [chunk.tolist() for chunk in arrival_chunks(plan.profile, 1)]
    Path(plan.profile.trace_file).unlink()
    folder = tmp_path / "pod"
    folder.mkdir()
    there = unpacked(plan, trace, folder)
    assert there.profile.trace_file == str(folder / "trace.csv")
    assert [chunk.tolist() for chunk in arrival_chunks(there.profile, 1)] == here


def test_nothing_travels_where_nothing_is_needed(plan: LoadPlan, tmp_path: Path) -> None:
    assert packed(replace(plan, workers=LoadWorkers(2))) == b""
    assert packed(replace(plan, profile=LoadProfile("p", STAGES, {"U": 1.0}))) == b""
    assert unpacked(plan, b"", tmp_path) is plan


def test_a_recording_that_is_too_large_or_gone_is_refused(plan: LoadPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadprofiles.baggage.CARRIED_MAX_BYTES", 100)
    with pytest.raises(PlanRefused, match="workers are sent 100 at most"):
        packed(plan)
    Path(plan.profile.trace_file).unlink()
    with pytest.raises(PlanRefused, match="No such file"):
        packed(plan)
