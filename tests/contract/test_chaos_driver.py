"""The chaos driver with the real chaoslib in the real child; only the cluster behind it is made up."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from chaoslib.run import Runner
from chaoslib.types import Strategy

from experiments.faults.registry import FAULTS
from harness.drivers import chaostoolkit
from harness.drivers.chaostoolkit import ChaosToolkitDriver, child_environment, ensure_valid
from harness.drivers.chaostoolkit_job import judge_journal
from harness.drivers.system_clock import RealClock
from harness.model.errors import SpecError
from harness.model.experiment import Experiment, Scope
from harness.model.fault import FaultPlan
from harness.model.load import LoadProfile
from harness.model.target import Target
from harness.model.timeline import Event, Timeline
from harness.ports import Observation, Permit, Victims

WAIT_LIMIT_S = 60.0
COMMAND = (sys.executable, str(Path(__file__).with_name("chaos_child.py")))


@dataclass
class Office:
    """Grants everything but the faults named."""

    denied: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def permit(self, fault: str, victims: Victims = ()) -> Permit:
        del victims
        self.asked.append(fault)
        return Permit(False, "not today") if fault in self.denied else Permit(True)


def target() -> Target:
    return Target(
        name="local",
        kind="local",
        context="gameday-default",
        kubeconfig="/nowhere/kubeconfig",
        api_server="https://127.0.0.1:21000",
        kube_system_uid="uid",
        opt_in_label="a=b",
        namespaces=("agents",),
        gateway_url="http://127.0.0.1:21020",
        prometheus_url="http://127.0.0.1:21022",
        rate_max_rps=10.0,
        loopback_only=True,
    )


def experiment(*actions: tuple[str, str, float], max_hold_s: float = 5.0) -> Experiment:
    """Make an experiment of ``(name, action, pause before)``."""
    arguments = {"namespace": "agents", "selector": "app=planner", "count": 2}
    method, plans, at_s = [], [], 0.0
    for name, action, pause_s in actions:
        at_s += pause_s
        fault = FAULTS[action]
        provider = {"type": "python", "module": fault.module, "func": action, "arguments": arguments}
        method.append({"type": "action", "name": name, "provider": provider, "pauses": {"before": pause_s}})
        plan = FaultPlan(name, action, arguments, at_s, max_hold_s, fault.loss, fault.undo, fault.undo_reason)
        plans.append(plan)
    written = {"title": "t", "description": "d", "method": method, "rollbacks": []}
    return Experiment(
        name="trial",
        title="t",
        hypothesis="h",
        probes=(),
        load=LoadProfile("p", (), {}),
        faults=tuple(plans),
        assertions=(),
        scope=Scope(("agents",)),
        components=("core",),
        settle_s=1.0,
        timeout_s=60.0,
        runbook="r.md",
        text=yaml.safe_dump(written),
    )


@dataclass
class Trial:
    """A driver under test with all that it said."""

    driver: ChaosToolkitDriver
    seen: list[Observation] = field(default_factory=list)

    def until_over(self) -> None:
        self.until(lambda: not self.driver.running)
        self.seen += self.driver.poll()

    def until(self, done: Any) -> None:
        deadline_s = time.monotonic() + WAIT_LIMIT_S
        while not done():
            assert time.monotonic() < deadline_s, f"waited {WAIT_LIMIT_S:g} s; seen {self.seen}"
            self.seen += self.driver.poll()
            time.sleep(0.02)
        self.seen += self.driver.poll()

    def steps(self, fault: str) -> list[str]:
        return [o.detail["step"] for o in self.seen if o.kind == "fault" and o.subject == fault]

    def notes(self) -> str:
        return " ".join(str(o.detail["message"]) for o in self.seen if o.kind == "note")

    def timeline(self) -> Timeline:
        events = [Event(n, o.t_s, o.actor, o.kind, o.subject, o.detail) for n, o in enumerate(self.seen, start=1)]
        return Timeline(None, tuple(events))  # type: ignore[arg-type]  # the origin is not asked for


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    driver = ChaosToolkitDriver(target(), RealClock.starting_now(), tmp_path, "run-1", 7, COMMAND)
    yield Trial(driver)
    driver.stop()


def journal(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "logs" / "journal.json").read_text())


def child_pid(trial: Trial) -> int:
    child = trial.driver._child
    assert child is not None
    return child._process.pid


def test_a_method_runs_to_its_end_and_every_fault_is_proven(trial: Trial, tmp_path: Path) -> None:
    office = Office()
    trial.driver.start(experiment(("kill", "kill_pods", 0.1), ("evict", "evict_pods", 0.1)), office)
    trial.until_over()
    assert trial.driver.failure == ""
    assert office.asked == ["kill", "evict"]
    assert trial.steps("kill") == ["due", "permit", "undo-recorded", "acted", "evidence"]
    kill, evict = trial.timeline().injections()
    assert (kill.effect, len(kill.victims), kill.asked, kill.loss) == ("CONFIRMED", 2, 2, "abrupt kill")
    assert evict.loss == "eviction"
    assert len({v["uid"] for v in (*kill.victims, *evict.victims)}) == 4
    assert [run["status"] for run in journal(tmp_path)["run"]] == ["succeeded", "succeeded"]


def test_the_undo_is_written_down_before_the_deed_for_each_victim(trial: Trial, tmp_path: Path) -> None:
    trial.driver.start(experiment(("kill", "kill_pods", 0)), Office())
    trial.until_over()
    log = (tmp_path / "logs" / "chaos.log").read_text()
    victims = next(o.detail["victims"] for o in trial.seen if o.detail.get("step") == "undo-recorded")
    assert all(v["uid"] in log for v in victims) and log.count("undo record") == 2


def test_a02_an_action_that_fails_is_a_failure_and_no_further_fault_starts(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOS_SCENARIO", "forbidden")
    office = Office()
    trial.driver.start(experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 0)), office)
    trial.until_over()
    assert "403" in trial.driver.failure and "fault evict was not run" in trial.driver.failure
    assert office.asked == ["kill"]
    assert trial.steps("kill")[-1] == "failed"
    assert trial.timeline().injections()[0].effect == "UNCLEAR"


@pytest.mark.parametrize(
    ("scenario", "effect", "said"),
    [
        ("nothing-happens", "ABSENT", "0 of 2 uids gone"),
        ("never-replaced", "UNCLEAR", "0 replacements Ready"),
        ("budget", "ABSENT", "The disruption budget planner needs 2 healthy pods"),
    ],
)
def test_a02_a_fault_without_proof_is_a_failure_that_says_why(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, scenario: str, effect: str, said: str
) -> None:
    monkeypatch.setenv("CHAOS_SCENARIO", scenario)
    action = "evict_pods" if scenario == "budget" else "kill_pods"
    trial.driver.start(experiment(("fault", action, 0), max_hold_s=0.8), Office())
    trial.until_over()
    assert said in trial.driver.failure
    assert trial.timeline().injections()[0].effect == effect


def test_a_denied_permit_touches_nothing_and_is_not_an_injection(trial: Trial) -> None:
    trial.driver.start(experiment(("kill", "kill_pods", 0)), Office(denied=frozenset({"kill"})))
    trial.until_over()
    assert trial.steps("kill") == ["due", "denied"]
    assert "denied: not today" in trial.driver.failure
    assert trial.timeline().injections() == ()


def test_a_stop_cuts_a_pause_short_and_no_further_fault_starts(trial: Trial, tmp_path: Path) -> None:
    office = Office()
    trial.driver.start(experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 300)), office)
    trial.until(lambda: "evidence" in trial.steps("kill"))
    trial.driver.stop()
    trial.until_over()
    assert office.asked == ["kill"] and trial.steps("evict") == []
    assert "fault evict was not run" in trial.driver.failure
    assert "sending" not in trial.notes()  # it ended by itself
    assert journal(tmp_path)["status"] == "interrupted"


def test_a_stop_ends_a_wait_for_evidence_which_is_then_unclear(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_SCENARIO", "never-replaced")
    office = Office()
    trial.driver.start(experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 0), max_hold_s=300), office)
    trial.until(lambda: "acted" in trial.steps("kill"))
    trial.driver.stop()
    trial.until_over()
    assert office.asked == ["kill"]
    injection = trial.timeline().injections()[0]
    assert injection.effect == "UNCLEAR" and "stopped" in injection.reason


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a03_a_signal_in_an_action_is_not_swallowed_into_the_next_fault(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("CHAOS_SCENARIO", "never-replaced")
    office = Office()
    trial.driver.start(experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 0), max_hold_s=300), office)
    trial.until(lambda: "acted" in trial.steps("kill"))
    os.kill(child_pid(trial), number)
    trial.until_over()
    assert office.asked == ["kill"]
    assert number.name in trial.driver.failure


def test_a03_a_signal_in_a_pause_ends_the_method_and_leaves_a_journal(trial: Trial, tmp_path: Path) -> None:
    trial.driver.start(experiment(("kill", "kill_pods", 0), ("evict", "evict_pods", 300)), Office())
    trial.until(lambda: "evidence" in trial.steps("kill"))
    time.sleep(0.3)
    os.kill(child_pid(trial), signal.SIGTERM)
    trial.until_over()
    assert journal(tmp_path)["status"] == "interrupted"
    assert "fault evict was not run" in trial.driver.failure


def test_a_child_that_is_killed_is_a_failure_with_its_status(trial: Trial) -> None:
    trial.driver.start(experiment(("kill", "kill_pods", 300)), Office())
    trial.until(lambda: child_pid(trial) > 0)
    os.kill(child_pid(trial), signal.SIGKILL)
    trial.until_over()
    assert "left no journal" in trial.driver.failure and "status -9" in trial.driver.failure


@pytest.mark.parametrize(("scenario", "said"), [("crash", "the child has a bug"), ("no-cluster", "is it up?")])
def test_a_child_that_cannot_work_is_a_failure_with_its_last_lines(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, scenario: str, said: str
) -> None:
    monkeypatch.setenv("CHAOS_SCENARIO", scenario)
    trial.driver.start(experiment(("kill", "kill_pods", 0)), Office())
    trial.until_over()
    assert said in trial.driver.failure


def test_a_child_that_hears_nothing_is_ended_by_force(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOS_SCENARIO", "deaf")
    monkeypatch.setattr(chaostoolkit, "STOP_LIMIT_S", 0.5)
    monkeypatch.setattr(chaostoolkit, "TERM_LIMIT_S", 0.5)
    trial.driver.start(experiment(("kill", "kill_pods", 0)), Office())
    trial.until(lambda: "undo-recorded" in trial.steps("kill"))
    trial.driver.stop()
    trial.seen += trial.driver.poll()
    assert not trial.driver.running
    assert "SIGTERM" in trial.notes() and "SIGKILL" in trial.notes()
    assert "status -9" in trial.driver.failure


def test_a_driver_that_vanishes_stops_its_child(trial: Trial) -> None:
    office = Office()
    trial.driver.start(experiment(("kill", "kill_pods", 300)), office)
    child = trial.driver._child
    assert child is not None
    child.hang_up()  # what the kernel does when the conductor is killed
    trial.until_over()
    assert office.asked == [] and "was not run" in trial.driver.failure


def test_time_that_a_fault_took_does_not_delay_the_next(trial: Trial) -> None:
    trial.driver.start(experiment(("kill", "kill_pods", 4), ("evict", "evict_pods", 3)), Office())
    trial.until_over()
    late_s = [o.detail["late_s"] for o in trial.seen if o.detail.get("step") == "due"]
    assert len(late_s) == 2
    # each is measured against the same start: what comes before the second does not add up
    assert late_s[1] < late_s[0] + 1.0 and min(late_s) >= 0


def test_stop_before_start_and_twice_does_nothing(trial: Trial) -> None:
    trial.driver.stop()
    trial.driver.stop()
    assert not trial.driver.running and trial.driver.failure == ""


def test_a16_the_child_gets_our_kubeconfig_and_nothing_that_leads_elsewhere() -> None:
    ours = {
        "PATH": "/bin",
        "KUBECONFIG": "a:b",
        "KUBERNETES_HOST": "http://elsewhere",
        "HTTPS_PROXY": "http://proxy",
        "GAMEDAY_HEADER_AUTHORIZATION": "secret",
        "STAGING_PROMETHEUS": "secret",
    }
    there = replace(target(), prometheus_token_env="STAGING_PROMETHEUS")
    assert child_environment(there, ours) == {"PATH": "/bin", "KUBECONFIG": "/nowhere/kubeconfig"}


def test_a17_chaoslib_still_refuses_any_thread_but_the_main_one() -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            Runner(Strategy.SKIP).run({"title": "t", "description": "d", "method": []}, {})
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(WAIT_LIMIT_S)
    assert "main thread" in str(raised[0])


def test_a01_plain_chaos_run_would_call_an_unmet_steady_state_completed() -> None:
    """The reason for our own judgement: the tool's status is not a verdict."""
    probe = {"type": "probe", "name": "p", "tolerance": True}
    provider = {"type": "python", "module": "os.path", "func": "exists", "arguments": {"path": "/nowhere"}}
    written = {
        "title": "t",
        "description": "d",
        "steady-state-hypothesis": {"title": "h", "probes": [{**probe, "provider": provider}]},
        "method": [{"type": "action", "name": "a", "provider": provider}],
    }
    found = Runner(Strategy.DEFAULT).run(written, {})
    assert found["status"] == "failed" or (found["status"] == "completed" and not found["run"])
    plan = experiment(("a", "kill_pods", 0)).faults[0]
    assert "fault a was not run" in judge_journal(found, [plan])


def test_plain_chaos_run_is_refused_by_our_actions(tmp_path: Path) -> None:
    written = yaml.safe_load(experiment(("kill", "kill_pods", 0)).text)
    found = Runner(Strategy.SKIP).run(written, {})
    assert found["run"][0]["status"] == "failed"
    assert "gameday run NAME" in "".join(found["run"][0]["exception"])


NO_MESSAGES = """
import os, sys
os.write(int(sys.argv[2]), b'{"x": 1}\\n["m"]\\n7\\n{"m": "event"}\\n{"m": "permit"}\\nnot json\\n')
"""


def test_a_message_without_its_keys_is_a_note_and_a_stop_never_raises(tmp_path: Path) -> None:
    command = (sys.executable, "-c", NO_MESSAGES)
    trial = Trial(ChaosToolkitDriver(target(), RealClock.starting_now(), tmp_path, "run-1", 7, command))
    trial.driver.start(experiment(("kill", "kill_pods", 0)), Office())
    trial.driver.stop()
    trial.until_over()
    assert trial.notes().count("something that is no message") >= 1
    assert "left no journal" in trial.driver.failure


@pytest.mark.parametrize("message", [{"x": 1}, ["m"], 7, {"m": "event"}, {"m": "permit", "fault": "kill"}])
def test_every_message_without_its_keys_is_told_and_raises_nothing(trial: Trial, message: Any) -> None:
    trial.driver._take(message)
    trial.seen += trial.driver.poll()
    assert "the chaos child wrote something that is no message" in trial.notes()


@pytest.mark.parametrize("path", sorted(Path("experiments").glob("*.yaml")), ids=lambda p: p.stem)
def test_chaos_toolkit_accepts_every_experiment(path: Path) -> None:
    ensure_valid(path)


def test_what_chaos_toolkit_refuses_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("title: t\nmethod: []\n")
    with pytest.raises(SpecError, match="Chaos Toolkit refuses it"):
        ensure_valid(path)
