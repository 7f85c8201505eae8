"""What holds for every `ChaosDriver`: the real one over its child process, and the twin's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from harness.drivers.chaostoolkit import ChaosToolkitDriver
from harness.drivers.system_clock import RealClock
from harness.fakes.chaos import FakeChaos, RunIdentity
from harness.model.timeline import Event, Timeline
from harness.ports import ChaosDriver, Observation
from tests.contract.test_chaos_driver import COMMAND, Office, experiment, target
from tests.unit.fault_doubles import FakeCluster, SteppedClock, pod

LOOKS_MAX = 3000


class Stage(Protocol):
    """A driver and how time passes for it."""

    driver: ChaosDriver
    rest: Callable[[], None]


@dataclass
class Seen:
    """All that a driver said."""

    stage: Stage
    events: list[Observation] = field(default_factory=list)

    def until(self, done: Callable[[], bool]) -> None:
        for _ in range(LOOKS_MAX):
            self.events += self.stage.driver.poll()
            if done():
                self.events += self.stage.driver.poll()
                return
            self.stage.rest()
        raise AssertionError(f"it never came to be; seen {self.events}")

    def until_over(self) -> None:
        self.until(lambda: not self.stage.driver.running)

    def steps(self, fault: str) -> list[str]:
        return [str(o.detail["step"]) for o in self.events if o.kind == "fault" and o.subject == fault]

    def injections(self) -> Any:
        events = [Event(n, o.t_s, o.actor, o.kind, o.subject, o.detail) for n, o in enumerate(self.events, start=1)]
        return Timeline(None, tuple(events)).injections()  # type: ignore[arg-type]  # the origin is not asked for


@dataclass
class _Stage:
    driver: ChaosDriver
    rest: Callable[[], None]


def _twin(scenario: str) -> _Stage:
    clock = SteppedClock()
    cluster = FakeCluster(clock, [pod(n) for n in range(9)], None if scenario == "never-replaced" else 1.0)
    driver = FakeChaos(cluster, cluster, clock, RunIdentity("run-1", 7))  # type: ignore[arg-type]  # any clock will do
    return _Stage(driver, lambda: clock.sleep(0.25))


@pytest.fixture(params=["child", "twin"])
def staged(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Seen]]:
    made: list[ChaosDriver] = []

    def make(scenario: str = "") -> Seen:
        monkeypatch.setenv("CHAOS_SCENARIO", scenario)
        child = ChaosToolkitDriver(target(), RealClock.starting_now(), tmp_path, "run-1", 7, COMMAND)
        stage = _twin(scenario) if request.param == "twin" else _Stage(child, lambda: time.sleep(0.02))
        made.append(stage.driver)
        return Seen(stage)

    yield make
    for driver in made:
        driver.stop()


Staged = Callable[..., Seen]


def test_nothing_runs_before_it_is_started(staged: Staged) -> None:
    seen = staged()
    assert not seen.stage.driver.running and seen.stage.driver.failure == "" and list(seen.stage.driver.poll()) == []


def test_every_fault_is_carried_out_in_order_and_proven(staged: Staged) -> None:
    seen, office = staged(), Office()
    seen.stage.driver.start(experiment(("kill", "kill_pods", 0.2), ("evict", "evict_pods", 0.2)), office)
    seen.until_over()
    assert seen.stage.driver.failure == "" and office.asked == ["kill", "evict"]
    for fault in ("kill", "evict"):
        assert seen.steps(fault) == ["due", "permit", "undo-recorded", "acted", "evidence"]
    assert [(i.effect, i.asked, len(i.victims)) for i in seen.injections()] == [("CONFIRMED", 2, 2)] * 2
    assert {o.actor for o in seen.events} == {"chaos"} and {o.kind for o in seen.events} <= {"fault", "note"}


def test_a_denied_fault_touches_nothing_and_none_follows(staged: Staged) -> None:
    seen, office = staged(), Office(denied=frozenset({"kill"}))
    seen.stage.driver.start(experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 0)), office)
    seen.until_over()
    assert seen.steps("kill") == ["due", "denied"] and seen.steps("evict") == [] and seen.injections() == ()
    assert "not today" in seen.stage.driver.failure


def test_a_fault_without_proof_is_a_failure_and_none_follows(staged: Staged) -> None:
    seen, office = staged("never-replaced"), Office()
    method = experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 0), max_hold_s=0.6)
    seen.stage.driver.start(method, office)
    seen.until_over()
    assert office.asked == ["kill"] and seen.injections()[0].effect == "UNCLEAR"
    assert "0 replacements Ready" in seen.stage.driver.failure


def test_after_a_stop_no_further_fault_starts(staged: Staged) -> None:
    seen, office = staged(), Office()
    seen.stage.driver.start(experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 300)), office)
    seen.until(lambda: "evidence" in seen.steps("kill"))
    seen.stage.driver.stop()
    seen.stage.driver.stop()
    seen.until_over()
    assert office.asked == ["kill"] and seen.steps("evict") == []
