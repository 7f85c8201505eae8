"""Every profile is run in simulated time: it reaches its floor whatever chance does, and a shortage is still seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from assertions.assumptions import ASSUMPTIONS
from harness.model.errors import SpecError
from harness.model.load import TURN_MARK, LoadProfile
from harness.model.record import Ending
from loadprofiles.profiles import PROFILES
from tests.unit.twin_runs import Rehearsal, rehearse

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "pod-kill-under-burst.yaml"
FITTING_RPS = 60.0


def _rehearsed(folder: Path, load: dict[str, Any], seed: int = 7, **switches: object) -> Rehearsal:
    """Rehearse a load without faults."""
    document = yaml.safe_load(EXPERIMENT.read_text(encoding="utf-8"))
    game = next(one for one in document["extensions"] if one["name"] == "gameday")
    document["method"] = []
    game |= {"load": load, "timeout": "1h", "faults": {}, "assertions": {"restored": {"kind": "restored"}}}
    path = folder / "drawn.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return rehearse(path, seed, **switches)


def _scaled(name: str) -> dict[str, Any]:
    return {"profile": name, "scale": min(1.0, FITTING_RPS / PROFILES[name].peak_rps)}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("arrivals", ["even", "poisson"])
def test_every_profile_reaches_its_floor_in_rehearsal(tmp_path: Path, name: str, arrivals: str) -> None:
    for seed in (1, 2):
        run = _rehearsed(tmp_path, _scaled(name) | {"arrivals": arrivals}, seed)
        found = ASSUMPTIONS["load_reached_floor"](run.record)
        assert found.holds is True, found.reason


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("arrivals", ["even", "poisson"])
def test_a_generator_that_sends_too_little_of_any_profile_is_seen(tmp_path: Path, name: str, arrivals: str) -> None:
    run = _rehearsed(tmp_path, _scaled(name) | {"arrivals": arrivals}, load_ratio=0.85)
    assert ASSUMPTIONS["load_reached_floor"](run.record).holds is False


def test_a_recording_reaches_its_floor_at_every_scale(tmp_path: Path) -> None:
    instants = sorted((n * 0.37) % 120 for n in range(2400))
    (tmp_path / "night.csv").write_text("t_s\n" + "".join(f"{t_s:.3f}\n" for t_s in instants), encoding="utf-8")
    for scale in (0.1, 0.5, 1.0, 2.0):
        run = _rehearsed(tmp_path, {"profile": "planner-burst", "scale": scale, "trace": "night.csv"})
        assert ASSUMPTIONS["load_reached_floor"](run.record).holds is True
        assert len(run.record.requests) == pytest.approx(2400 * scale, abs=1)


def test_a_load_that_is_cut_by_a_trace_says_the_line_of_the_experiment_file(tmp_path: Path) -> None:
    (tmp_path / "night.csv").write_text("t_s,rps\n0,1\n9,soon\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"drawn.yaml:\d+: .*load.trace.*night.csv: line 3: '9,soon' is not 2 numbers"):
        _rehearsed(tmp_path, {"profile": "planner-burst", "trace": "night.csv"})


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> str:
    """A profile with twelve people beside its arrivals."""
    profile = replace(PROFILES["planner-burst"], name="people", conversations={"PlannerConversation": 12})
    monkeypatch.setitem(cast("dict[str, LoadProfile]", PROFILES), "people", profile)
    return "people"


def test_people_talk_to_the_twin_beside_its_arrivals_and_fill_up_no_rate(tmp_path: Path, people: str) -> None:
    run = _rehearsed(tmp_path, {"profile": people, "scale": 0.5, "options": {"think_s": "2-4"}})
    alone = _rehearsed(tmp_path, {"profile": "planner-burst", "scale": 0.5})
    assert ASSUMPTIONS["load_reached_floor"](run.record).holds is True
    endpoints = run.record.requests["endpoint"].astype(str)
    turns = run.record.requests[endpoints.str.startswith(TURN_MARK)]
    length_s = run.record.experiment.load.duration_s
    assert len(turns) == pytest.approx(6 * length_s / 3, rel=0.1)  # six people, a turn in three seconds each
    assert len(run.record.requests) - len(turns) == pytest.approx(len(alone.record.requests), abs=2)
    ended = next(run.record.timeline.of("load-edge", "ended"))
    assert ended.detail["turns"] == len(turns)
    told = sum(float(e.detail["turns_rps"]) for e in run.record.timeline.of("load"))
    assert told == pytest.approx(len(turns), rel=0.05)


def test_people_do_not_make_up_for_arrivals_that_are_missing(tmp_path: Path, people: str) -> None:
    run = _rehearsed(tmp_path, {"profile": people, "options": {"think_s": 1}}, load_ratio=0.85)
    assert ASSUMPTIONS["load_reached_floor"](run.record).holds is False


def test_people_whose_thinking_is_no_range_are_refused_in_words(tmp_path: Path, people: str) -> None:
    run = _rehearsed(tmp_path, {"profile": people, "options": {"think_s": "soon"}})
    assert run.record.header.ending is not Ending.COMPLETED
    assert "load.options.think_s: 'soon' is no range" in run.record.header.reason
