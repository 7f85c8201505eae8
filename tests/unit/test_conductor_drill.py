"""The conductor under a drill: it holds until people are done, then goes on to its own end, and says how they fare."""

from dataclasses import replace

import pytest

from harness.model.record import Ending
from harness.pulse import StopFlag
from tests.unit.conductor_doubles import EXPERIMENT, World
from tests.unit.test_conductor import Run

HELD = replace(EXPERIMENT, faults=(replace(EXPERIMENT.faults[0], undo="patch", hold_s=300.0, max_hold_s=330.0),))


def test_enough_takes_everything_back_at_once_and_goes_on_to_a_whole_run() -> None:
    world = World()
    run = Run(world, replace(HELD, drilled=True))
    world.clock.alarms.append((40.0, lambda: run.stop.suffice("drill: mitigated")))
    outcome = run.go()
    assert (outcome.ending, outcome.reason) == (Ending.COMPLETED, "")
    assert run.phases()[-3:] == ["recover", "settle", "harvest"]
    recovered_s = next(e.t_s for e in run.journal.events if e.kind == "phase" and e.subject == "recover")
    assert 40.0 <= recovered_s < 42.0 and "undo" in world.calls


@pytest.mark.parametrize("drilled", [True, False])
def test_the_steady_state_is_told_while_a_drill_may_hurt_and_only_then(drilled: bool) -> None:
    world = World()
    run = Run(world, replace(EXPERIMENT, drilled=drilled))
    run.go()
    told = [e for e in run.journal.events if e.kind == "sample" and e.subject == "steady_state"]
    assert bool(told) == drilled
    inject = [e.t_s for e in run.journal.events if e.kind == "phase" and e.subject == "inject"]
    assert all(inject[0] <= e.t_s <= inject[1] for e in told)
    assert all(e.detail["value"] == 1.0 for e in told)


def test_enough_is_no_stop() -> None:
    stop = StopFlag()
    stop.suffice("first")
    stop.suffice("second")
    assert not stop and stop.enough == "first"
