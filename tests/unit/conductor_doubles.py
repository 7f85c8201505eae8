"""Doubles of every port for tests of the conductor: they log each call in one list and misbehave on demand."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.definitions import Preview, ProbeResult
from harness.model.errors import PortError, Refusal
from harness.model.experiment import AssertionSpec, Experiment, ProbeSpec, Scope, WorkloadRef
from harness.model.facts import HpaFact, PdbFact, PodFact
from harness.model.fault import FaultPlan, Loss, Permission, UndoRecord
from harness.model.load import REQUEST_COLUMNS, LoadProfile, LoadSnapshot, Stage
from harness.model.signal import Harvest, Signal
from harness.model.target import ClusterIdentity, Target
from harness.ports import Drivers, Observation

OPT_IN = {"gameday.local/opt-in": "true"}
PLANNER = {"app": "planner"}
TARGET = Target(
    name="local", kind="local", context="c", kubeconfig="/k", api_server="https://127.0.0.1:1", kube_system_uid="u",
    opt_in_label="gameday.local/opt-in=true", namespaces=("agents",), gateway_url="http://127.0.0.1:2",
    prometheus_url="http://127.0.0.1:3", rate_max_rps=100.0, loopback_only=True, components=("core",),
    scrape_interval_s=2.0, signals={"queue_depth": Signal("queue_depth", "queue_depth")},
)  # fmt: skip
STAGES = (
    Stage("baseline", 10, 15, 15), Stage("ramp", 2, 15, 60), Stage("burst", 30, 60, 60), Stage("cooldown", 5, 15, 15),
)  # fmt: skip
KILL = FaultPlan(
    "kill", "kill_pods", {"share": 0.3}, at_s=5.0, max_hold_s=10.0, loss=Loss.ABRUPT, undo_reason="replaced"
)
EXPERIMENT = Experiment(
    name="e", title="t", hypothesis="h", probes=(ProbeSpec("ready", "ready_pods", {}),),
    load=LoadProfile("p", STAGES, {"PlannerUser": 1.0}), faults=(KILL,),
    assertions=(
        AssertionSpec("scales", "autoscaler_response", {"autoscaler": "hpa/agents/planner"}),
        AssertionSpec("safe", "pdb_safety", {"pdb": "agents/planner"}),
    ),
    scope=Scope(("agents",), (WorkloadRef("agents", "planner", PLANNER),)), components=("core",), settle_s=20.0,
    timeout_s=300.0, runbook="",
)  # fmt: skip


class TickClock:
    origin_unix_s = 1_700_000_000.0

    def __init__(self):
        self.t_s = 0.0
        self.alarms = []

    def now_s(self):
        return self.t_s

    def sleep(self, duration_s):
        self.t_s += duration_s
        for at_s, act in [a for a in self.alarms if a[0] <= self.t_s]:
            self.alarms.remove((at_s, act))
            act()


class World:
    """Switches of misbehaviour, and the log of calls."""

    def __init__(self):
        self.clock = TickClock()
        self.calls = []
        self.identity = ClusterIdentity("c", "https://127.0.0.1:1", "u", OPT_IN, "runner", "v1.35.4")
        self.missing = ()
        self.leftovers = []
        self.lease_holder = ""
        self.lease_held = True
        self.lease_sticks = False
        self.hpas = [HpaFact("u1", "agents", "planner", target="Deployment/planner", active=True)]
        self.pods = [PodFact("u3", "agents", "planner-1", labels=PLANNER, phase="Running", ready=True)]
        self.pdbs = [PdbFact("u2", "agents", "planner", selector=PLANNER)]
        self.achieved_ratio = 1.0
        self.load_lost_at_s = None
        self.probe = ProbeResult(True, "fine")
        self.chaos_raises = None
        self.chaos_failure_at_stop = ""
        self.undo_fails = False
        self.harvest_fails = False
        self.preview_problem = ""
        self.safety_refuses = None
        self.trouble_at_s = None
        self.trouble = "the halt lever was pulled by somebody: enough"
        self.fault_seen = ()
        self.open = None
        self.chaos_failure = ""

    def log(self, *call):
        self.calls.append(call[0] if len(call) == 1 else call)

    def drivers(self):
        return Drivers(
            clock=self.clock, load=Load(self), chaos=Chaos(self), observer=Observer(self), actor=None,
            metrics=Metrics(self), ledger=Ledger(self), lease=Lease(self), safety=Safety(self),
            run_dir=Path("."),
        )  # fmt: skip


class Observer:
    def __init__(self, world):
        self.w = world

    def identify(self):
        self.w.log("identify")
        return self.w.identity

    def allowed(self, permissions):
        self.w.log("access-review")
        return self.w.missing

    def namespace_labels(self, name):
        return OPT_IN

    def skew_s(self):
        return 0.1

    def start(self, scope):
        self.w.log("watch")

    def poll(self):
        return ()

    def stop(self):
        self.w.log("observer.stop")

    def current(self, kind):
        return {"hpa": self.w.hpas, "pod": self.w.pods, "pdb": self.w.pdbs}.get(kind, ())

    def pod_metrics(self, namespace):
        return {pod.name: 0.1 for pod in self.w.pods}

    def fingerprint(self, scope):
        self.w.log("fingerprint")
        return {"x": 1}


class Metrics:
    def __init__(self, world):
        self.w = world

    def identify(self):
        return "2.42.0"

    def skew_s(self):
        return 0.0

    def instant(self, signal):
        return {"": 1.0}

    def harvest(self, signals, window):
        self.w.log("harvest")
        if self.w.harvest_fails:
            raise PortError("prometheus", "query", "connection refused")
        return Harvest(server="2.42.0")


class Load:
    def __init__(self, world):
        self.w = world
        self.started_s = None
        self.stopped = False
        self.lost = False

    def start(self, plan):
        self.w.log("load.start")
        self.started_s = self.w.clock.now_s()

    def _stage(self):
        elapsed_s = self.w.clock.now_s() - self.started_s
        for stage in STAGES:
            if elapsed_s < stage.duration_s:
                return stage
            elapsed_s -= stage.duration_s
        return None

    def latest(self):
        if self.started_s is None:
            return None
        stage = self._stage()
        name, rate = (stage.name, stage.to_rps) if stage and not self.stopped else ("ended", 0.0)
        t_s = self.w.clock.now_s()
        return LoadSnapshot(t_s, name, rate, rate * self.w.achieved_ratio, 1, 0, 0, 0, 1, 1, 0.1, 0.0)

    def poll(self):
        lost_at_s = self.w.load_lost_at_s
        if lost_at_s is not None and self.w.clock.now_s() >= lost_at_s and not self.lost:
            self.lost = True
            return [Observation(self.w.clock.now_s(), "load", "load-edge", "lost", {"reason": "killed"})]
        return ()

    def ask_to_stop(self):
        self.w.log("load.ask_to_stop")

    def stop(self):
        if self.started_s is not None and not self.stopped:
            self.w.log("load.stop")
        self.stopped = True

    def collect(self):
        return pd.DataFrame(columns=list(REQUEST_COLUMNS)), 0

    def request_log(self):
        return self.collect()


class Chaos:
    def __init__(self, world):
        self.w = world
        self.office = None
        self.running = False
        self.failure = ""
        self.start_s = 0.0

    def start(self, experiment, office):
        self.w.log("chaos.start")
        self.office, self.running, self.start_s = office, True, self.w.clock.now_s()

    def poll(self):
        if self.running and self.w.clock.now_s() - self.start_s >= KILL.at_s:
            self.running = False
            if self.w.chaos_raises:
                raise self.w.chaos_raises
            permit = self.office.permit("kill")
            self.failure = self.w.chaos_failure or self.failure
            self.w.log("fault", permit.granted)
            return [Observation(self.w.clock.now_s(), "chaos", "fault", "kill", detail) for detail in self.w.fault_seen]
        return ()

    def stop(self):
        self.w.log("chaos.stop")
        self.running = False
        self.failure = self.w.chaos_failure_at_stop or self.failure


class Ledger:
    def __init__(self, world):
        self.w = world

    def open_records(self, run_id=None):
        if run_id is None:
            return self.w.leftovers
        if self.w.open is not None:
            return [record for record in self.w.open if not record.done]
        return [UndoRecord("r1", run_id, "kill", "v1", "Pod", "agents", "p", "u", "none")]

    def run_records(self, run_id):
        return list(self.w.open or ())

    def undo(self, record):
        self.w.log("undo")
        if self.w.undo_fails:
            raise PortError("kubernetes", "patch", "connection refused")
        done = replace(record, done=True, outcome="nothing to restore")
        if self.w.open is not None:
            self.w.open = [done if r.record_id == record.record_id else r for r in self.w.open]
        return done

    def close(self, run_id):
        self.w.log("ledger.close")


class Safety:
    def __init__(self, world):
        self.w = world

    def start(self):
        self.w.log("safety.start")
        if self.w.safety_refuses:
            raise self.w.safety_refuses

    def trouble(self):
        at_s = self.w.trouble_at_s
        return self.w.trouble if at_s is not None and self.w.clock.now_s() >= at_s else ""

    def ask(self):
        self.w.log("safety.ask")
        return self.trouble()

    def stop(self):
        self.w.log("safety.stop")


class Lease:
    def __init__(self, world):
        self.w = world

    def acquire(self, holder):
        self.w.log("lease.acquire")
        if self.w.lease_holder:
            raise Refusal("lease-held", f"run {self.w.lease_holder} holds the Lease", "wait for it")

    @property
    def held(self):
        return self.w.lease_held

    def release(self):
        self.w.log("lease.release")
        return not self.w.lease_sticks


class Kill:
    def __init__(self, world):
        self.w = world

    def permissions(self, arguments):
        return (Permission("delete", "pods", namespace="agents"),)

    def undo_permissions(self, arguments):
        return (Permission("get", "pods", namespace="agents"),)

    def preview(self, actor, arguments, seed, target):
        return Preview(1, (), self.w.preview_problem)


class Journal:
    def __init__(self):
        self.events = []

    def append(self, event):
        self.events.append(event)
