"""The ``load`` block of an experiment: what it may change about a profile, and what it says where it may not."""

import math
from pathlib import Path
from typing import Any

import pytest

from harness.model.errors import SpecError
from harness.model.load import LoadPlan
from harness.spec_load import planned_load
from loadprofiles.arrivals import arrival_chunks
from loadprofiles.job import PlanRefused, check_plan
from loadprofiles.profiles import PROFILES

SMOKE = PROFILES["smoke"]


def _trace(folder: Path, text: str) -> dict[str, Any]:
    (folder / "night.csv").write_text(text, encoding="utf-8")
    return {"profile": "smoke", "trace": "night.csv"}


def _planned(folder: Path, written: dict[str, Any], profile: str = "smoke") -> Any:
    return planned_load(PROFILES[profile], written, lambda name: found if (found := folder / name).is_file() else None)


def test_a_rate_curve_is_the_burst_and_a_scale_multiplies_it(tmp_path: Path) -> None:
    load = _planned(tmp_path, _trace(tmp_path, "t_s,rps\n0,5\n10,25\n20,5\n") | {"scale": 2, "arrivals": "poisson"})
    burst = load.stages[2]
    assert (burst.name, burst.duration_s, burst.rates_rps) == ("burst", 20.0, (10.0, 50.0, 10.0))
    assert (load.arrivals, load.trace_file, load.peak_rps) == ("poisson", "", 50.0)


def test_recorded_instants_are_read_again_where_they_are_played(tmp_path: Path) -> None:
    load = _planned(tmp_path, _trace(tmp_path, "t_s\n" + "".join(f"{n / 10}\n" for n in range(200))))
    plan = LoadPlan(load, "http://127.0.0.1:8080", seed=1, rate_max_rps=100.0)
    check_plan(plan)
    assert sum(len(chunk) for chunk in arrival_chunks(load, 1)) == 200
    assert Path(load.trace_file).is_absolute()
    (tmp_path / "night.csv").write_text("t_s\n0\nnow\n")
    with pytest.raises(PlanRefused, match=r"night.csv: line 3: 'now' is not"):
        check_plan(plan)
    (tmp_path / "night.csv").write_text("t_s,rps\n0,1\n9,1\n")
    with pytest.raises(PlanRefused, match="holds rates, not instants"):
        check_plan(plan)
    (tmp_path / "night.csv").unlink()
    with pytest.raises(PlanRefused, match="cannot be read"):
        check_plan(plan)


def test_a_trace_that_is_denser_than_the_target_allows_is_refused(tmp_path: Path) -> None:
    load = _planned(tmp_path, _trace(tmp_path, "t_s\n" + "5.5\n" * 40 + "19\n"))
    with pytest.raises(PlanRefused, match="peaks at 40 rps, and 39 are allowed"):
        check_plan(LoadPlan(load, "http://127.0.0.1:8080", seed=1, rate_max_rps=39.0))


def test_another_trace_takes_the_place_of_the_profiles_own(tmp_path: Path) -> None:
    recorded = _planned(tmp_path, _trace(tmp_path, "t_s\n" + "".join(f"{n / 10}\n" for n in range(200))))
    again = planned_load(recorded, _trace(tmp_path, "t_s,rps\n0,5\n9,5\n"), lambda name: tmp_path / name)
    assert (again.arrivals, again.trace_file, again.trace_peak_rps) == ("even", "", 0.0)


@pytest.mark.parametrize(
    ("text", "change", "where", "key", "problem"),
    [
        ("t_s,rps\n0,5\n9,5\n", {"stages": {"burst": "60s"}}, "", "stages", "burst lasts as long as the trace"),
        ("t_s\n0\n90\n", {"arrivals": "poisson"}, "", "arrivals", "nothing is left to spread"),
        ("t_s\n0\n90\n", {"trace": "day.csv"}, "", "trace", "there is no file day.csv"),
        ("t_s\n0\nx\n", {}, "night.csv", "line 3", "'x' is not 1 numbers"),
        ("t_s\n0\n1\n", {}, "night.csv", "t_s", "leave nothing for the burst"),
        ("t_s\n0\n90\n", {"scale": math.inf}, "", "scale", "not a positive number"),
        ("t_s\n0\n90\n", {"scale": math.nan}, "", "scale", "not a positive number"),
        ("t_s\n0\n90\n", {"stages": {"bust": "9s"}}, "", "stages", "has no stage 'bust'"),
    ],
)
def test_what_does_not_go_together_says_so(
    tmp_path: Path, text: str, change: dict[str, Any], where: str, key: str, problem: str
) -> None:
    with pytest.raises(SpecError) as caught:
        _planned(tmp_path, _trace(tmp_path, text) | change)
    assert (Path(caught.value.where).name, caught.value.key) == (where, key)
    assert problem in caught.value.problem
    assert caught.value.remedy


def test_a_profile_that_plays_no_trace_keeps_its_arrivals_by_name(tmp_path: Path) -> None:
    assert _planned(tmp_path, {"profile": "smoke", "arrivals": "poisson"}).arrivals == "poisson"
    assert _planned(tmp_path, {"profile": "smoke"}) == SMOKE
