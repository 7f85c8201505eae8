from dataclasses import replace

import pytest

from harness.conductor import Conductor
from harness.definitions import ProbeResult
from harness.model.errors import PortError, Refusal
from harness.model.fault import Permission, UndoRecord
from harness.model.record import Ending
from harness.pulse import StopFlag
from tests.unit import conductor_doubles
from tests.unit.conductor_doubles import EXPERIMENT, STAGES, TARGET, Journal, Kill, World


class Run:
    """One run of the conductor over doubles."""

    def __init__(self, world, experiment=EXPERIMENT):
        self.world = world
        self.journal = Journal()
        self.stop = StopFlag()
        self.conductor = Conductor(
            experiment,
            TARGET,
            world.drivers(),
            run_id="run-1",
            seed=7,
            faults={"kill_pods": Kill(world)},
            probes={"ready_pods": lambda **_: world.probe},
            signals=("queue_depth",),
            permissions=(),
            journal=self.journal,
            stop=self.stop,
        )

    def go(self):
        return self.conductor.run()

    def phases(self):
        return [e.subject for e in self.journal.events if e.kind == "phase" and e.detail["edge"] == "start"]


TOUCHES = {"load.start", "chaos.start", "undo"}


def untouched(world):
    return not TOUCHES & {call for call in world.calls if isinstance(call, str)}


def test_a_game_day_runs_its_phases_in_order_and_undoes_before_it_harvests():
    run = Run(World())
    outcome = run.go()
    assert (outcome.ending, outcome.reason) == (Ending.COMPLETED, "")
    assert run.phases() == ["preflight", "baseline", "burst", "inject", "recover", "settle", "harvest"]
    calls = run.world.calls
    assert ("fault", True) in calls
    order = ["identify", "lease.acquire", "watch", "load.start", "chaos.start", "load.ask_to_stop", "undo", "load.stop"]
    order.append("harvest")
    assert sorted(order, key=calls.index) == order
    assert calls[-2:] == ["lease.release", "observer.stop"]
    assert outcome.fingerprint_before == outcome.fingerprint_after == {"x": 1}
    assert outcome.undo[0]["done"] is True


def test_events_are_numbered_from_one_without_holes_and_time_never_runs_back():
    run = Run(World())
    run.go()
    assert [e.seq for e in run.journal.events] == list(range(1, len(run.journal.events) + 1))
    times = [e.t_s for e in run.journal.events]
    assert times == sorted(times)


def test_another_cluster_is_refused_after_reading_its_identity_only():
    world = World()
    world.identity = world.identity.__class__("prod", "https://127.0.0.1:1", "u", {}, "", "")
    outcome = Run(world).go()
    assert outcome.ending is Ending.REFUSED
    assert world.calls == ["identify", "safety.stop", "lease.release", "observer.stop"]


@pytest.mark.parametrize(
    ("mischief", "code"),
    [
        ({"missing": (Permission("delete", "pods"),)}, "permission"),
        ({"lease_holder": "run-0"}, "lease-held"),
        ({"leftovers": [UndoRecord("r", "run-0", "f", "v1", "Node", "", "n", "u", "patch")]}, "leftovers"),
        ({"preview_problem": "the selector app=x matches no Ready pod"}, "targets"),
    ],
)
def test_a_refusal_touches_nothing_and_says_why(mischief, code):
    world = World()
    world.__dict__.update(mischief)
    run = Run(world)
    assert run.go().ending is Ending.REFUSED
    assert [e.subject for e in run.journal.events if e.kind == "refusal"] == [code]
    assert untouched(world)


def test_a_finding_about_the_platform_is_recorded_and_nothing_is_touched():
    world = World()
    world.hpas = []
    run = Run(world)
    outcome = run.go()
    assert outcome.ending is Ending.ABORTED
    (finding,) = [e for e in run.journal.events if e.kind == "finding"]
    assert finding.detail["concerns"] == ("autoscaler_response",)
    assert untouched(world)
    assert world.clock.now_s() < 1.0  # a missing object does not come by waiting


def test_pods_that_never_become_ready_end_the_run_before_any_load():
    world = World()
    world.pods = [world.pods[0].__class__("u3", "agents", "p", labels={"app": "planner"}, phase="Pending")]
    outcome = Run(world).go()
    assert outcome.ending is Ending.ABORTED
    assert "is not Ready" in outcome.reason
    assert untouched(world)


@pytest.mark.parametrize("ok", [False, None])
def test_a_missed_baseline_gate_injects_no_fault_a01(ok):
    world = World()
    world.probe = ProbeResult(ok, "one pod")
    run = Run(world)
    outcome = run.go()
    assert outcome.ending is Ending.ABORTED
    assert "chaos.start" not in world.calls
    assert "harvest" in world.calls
    assert [e.detail["ok"] for e in run.journal.events if e.kind == "gate"] == [ok]


@pytest.mark.parametrize(("short_from_s", "gate"), [(0.0, "baseline"), (17.0, "burst")])
def test_load_below_the_floor_injects_no_fault(short_from_s, gate):
    world = World()
    world.clock.alarms.append((short_from_s, lambda: setattr(world, "achieved_ratio", 0.9)))
    outcome = Run(world).go()
    assert outcome.ending is Ending.ABORTED
    assert f"gate {gate}" in outcome.reason
    assert "chaos.start" not in world.calls


def test_a_lost_load_generator_ends_the_run_and_denies_further_faults_d05():
    world = World()
    world.load_lost_at_s = 24.0
    outcome = Run(world).go()
    assert outcome.ending is Ending.ABORTED
    assert "killed" in outcome.reason
    assert ("fault", True) not in world.calls


def test_a_stop_request_starts_no_further_fault_and_still_undoes_and_harvests_e03():
    world = World()
    run = Run(world)
    world.clock.alarms.append((26.0, lambda: run.stop.request("SIGTERM")))
    outcome = run.go()
    assert (outcome.ending, outcome.reason) == (Ending.STOPPED, "SIGTERM")
    assert ("fault", True) not in world.calls
    assert world.calls.index("undo") < world.calls.index("harvest")
    assert [e.subject for e in run.journal.events if e.kind == "stop"] == ["run"]


def test_a_second_stop_request_changes_nothing():
    stop = StopFlag()
    stop.request("first")
    stop.request("second")
    assert stop.reason == "first"


def test_a_lost_lease_stops_the_run():
    world = World()
    world.clock.alarms.append((25.0, lambda: setattr(world, "lease_held", False)))
    outcome = Run(world).go()
    assert outcome.ending is Ending.STOPPED
    assert "Lease" in outcome.reason
    assert "undo" in world.calls


def test_a21_an_exception_that_is_not_ours_still_undoes_and_ends_crashed():
    world = World()
    world.chaos_raises = ZeroDivisionError("boom")
    run = Run(world)
    outcome = run.go()
    assert outcome.ending is Ending.CRASHED
    assert "ZeroDivisionError: boom" in outcome.reason
    assert "undo" in world.calls
    assert world.calls[-2:] == ["lease.release", "observer.stop"]


def test_a_failed_undo_is_an_event_and_the_run_goes_on_to_harvest():
    world = World()
    world.undo_fails = True
    run = Run(world)
    run.go()
    assert "failed" in [e.detail["step"] for e in run.journal.events if e.kind == "undo"]
    assert "harvest" in world.calls


def test_metrics_that_cannot_be_harvested_leave_a_note_and_the_rest_of_the_harvest():
    world = World()
    world.harvest_fails = True
    run = Run(world)
    outcome = run.go()
    assert outcome.ending is Ending.COMPLETED
    assert outcome.fingerprint_after == {"x": 1}
    assert any("connection refused" in e.detail.get("message", "") for e in run.journal.events if e.kind == "note")


def test_load_begins_only_after_quiet_scrapes_so_that_counters_have_an_edge():
    world = World()
    run = Run(world)
    run.go()
    baseline = next(e for e in run.journal.events if e.kind == "phase" and e.subject == "baseline")
    assert baseline.t_s >= 3 * TARGET.scrape_interval_s


def test_whether_the_lease_was_given_back_is_a_fact_of_the_run():
    world = World()
    assert Run(world).go().facts["lease_released"] is True
    world = World()
    world.lease_sticks = True
    assert Run(world).go().facts["lease_released"] is False


@pytest.mark.parametrize("broken", ["load.stop", "chaos.stop"])
def test_a_driver_that_cannot_stop_does_not_keep_the_undo_from_being_done(broken, monkeypatch):
    world = World()
    run = Run(world)
    part, _, method = broken.partition(".")

    def stuck():
        raise PortError(part, method, "stuck")

    monkeypatch.setattr(getattr(run.conductor._drivers, part), method, stuck)
    outcome = run.go()
    assert outcome.ending is Ending.ABORTED
    assert world.calls.count("undo") == 1
    assert outcome.undo


def test_a_crash_leaves_its_traceback_in_the_record():
    world = World()
    world.chaos_raises = ZeroDivisionError("boom")
    run = Run(world)
    run.go()
    crash = next(e for e in run.journal.events if e.subject == "crash")
    assert "ZeroDivisionError: boom" in crash.detail["traceback"]
    assert "conductor.py" in crash.detail["traceback"]


def test_the_load_is_told_to_stop_before_a_fault_in_flight_is_waited_for():
    world = World()
    run = Run(world)
    world.clock.alarms.append((20.0, lambda: run.stop.request("somebody asked")))
    assert run.go().ending is Ending.STOPPED
    order = ["load.ask_to_stop", "chaos.stop", "undo", "load.stop"]
    assert [call for call in world.calls if call in order] == order


def test_a_ramp_longer_than_the_gates_limit_is_waited_for_before_any_fault(monkeypatch):
    stages = tuple(replace(stage, duration_s=40.0) if stage.name == "ramp" else stage for stage in STAGES)
    monkeypatch.setattr(conductor_doubles, "STAGES", stages)
    world = World()
    run = Run(world, replace(EXPERIMENT, load=replace(EXPERIMENT.load, stages=stages)))
    assert run.go().ending is Ending.COMPLETED
    phases = {e.subject: e.t_s for e in run.journal.events if e.kind == "phase" and e.detail["edge"] == "start"}
    assert phases["inject"] - phases["burst"] >= 40.0


def chaos_notes(run):
    return [e.detail["message"] for e in run.journal.events if (e.kind, e.subject) == ("note", "chaos")]


def test_a_chaos_failure_that_shows_only_at_the_stop_is_on_record():
    world = World()
    world.chaos_failure_at_stop = "the chaos child could not be ended"
    run = Run(world)
    run.go()
    assert chaos_notes(run) == ["the chaos child could not be ended"]


def test_a_chaos_failure_that_is_known_already_is_noted_once():
    world = World()
    run = Run(world)
    run.conductor._drivers.chaos.failure = "fault kill was not run"
    run.go()
    assert chaos_notes(run) == ["fault kill was not run"]


@pytest.mark.parametrize("code", ["halted", "reaper"])
def test_u3_without_a_reaper_or_under_the_halt_lever_nothing_is_touched_and_no_lease_taken(code):
    world = World()
    world.safety_refuses = Refusal(code, "no", "do something")
    run = Run(world)

    assert run.go().ending is Ending.REFUSED
    assert "lease.acquire" not in world.calls and "load.start" not in world.calls


def test_u7_the_halt_lever_stops_a_run_that_is_on_and_everything_is_taken_back():
    world = World()
    world.trouble_at_s = 30.0
    outcome = Run(world).go()

    assert (outcome.ending, outcome.reason) == (Ending.STOPPED, world.trouble)
    assert "undo" in world.calls and "load.stop" in world.calls


def held_record(fault="kill"):
    return UndoRecord("r1", "run", fault, "v1", "Node", "", "general-1", "u", "patch")


@pytest.mark.parametrize(
    "detail", [{"step": "evidence", "effect": "CONFIRMED"}, {"step": "failed", "effect": "ABSENT"}]
)
def test_a_fault_is_taken_back_once_it_was_held_or_has_failed_while_the_load_goes_on(detail):
    world = World()
    world.fault_seen, world.open = ({"action": "kill_pods", "loss": "none", **detail},), [held_record()]
    run = Run(world, replace(EXPERIMENT, faults=(replace(EXPERIMENT.faults[0], hold_s=5.0),)))
    outcome = run.go()

    assert world.calls.index("undo") < world.calls.index("load.ask_to_stop")
    assert [record["done"] for record in outcome.undo] == [True]


def test_a_fault_that_has_no_hold_is_taken_back_in_the_recovery_phase_only():
    world = World()
    world.fault_seen = ({"step": "evidence", "effect": "CONFIRMED"},)
    world.open = [held_record()]
    Run(world).go()

    assert world.calls.index("load.ask_to_stop") < world.calls.index("undo") < world.calls.index("load.stop")


def test_a_fault_whose_method_died_before_its_proof_is_taken_back_while_the_load_goes_on():
    world = World()
    world.open, world.chaos_failure = [held_record()], "the chaos child was killed"
    outcome = Run(world, replace(EXPERIMENT, faults=(replace(EXPERIMENT.faults[0], hold_s=5.0),))).go()

    assert world.calls.index("undo") < world.calls.index("load.ask_to_stop")
    assert [record["done"] for record in outcome.undo] == [True]
