"""A drill's run is judged as what it was: it ends with its people, and what they take back they have mended."""

from dataclasses import replace

from assertions.assumptions import faults_took_effect, load_reached_floor
from harness.model.record import Record
from tests.replay.builders import good_run
from tests.unit import stored_runs
from tests.unit.test_assert_early_undo import CORDON, undo


def drilled(record: Record) -> Record:
    return replace(record, experiment=replace(record.experiment, drilled=True))


def test_a_burst_that_ended_with_the_people_was_not_cut_off() -> None:
    run = good_run()
    run.drop("load-edge", lambda t, s, d: s == "started")
    run.say(90, "load", "load-edge", "ended")
    record = run.record()
    assert load_reached_floor(record).holds is False
    assert "cut off" not in load_reached_floor(drilled(record)).reason


def test_what_people_took_back_was_not_taken_back_too_early() -> None:
    record = replace(stored_runs.record(), undo=(undo(f"already as before: {CORDON}"),))
    assert "too early" in faults_took_effect(record).reason
    assert "too early" not in faults_took_effect(drilled(record)).reason
