"""`gameday doctor`: every look of the preflight at once, each with the command to look further; it touches nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from assertions.registry import ASSERTIONS
from harness.doctor import Case, Doctor, Instruments
from harness.doctor_advice import advise
from harness.doctor_lines import State, document, status_of, told
from harness.fakes.world import Twin
from harness.model.drill import DrillFault, DrillPlan
from harness.model.errors import PortError
from harness.model.facts import HpaFact, NodeFact, PdbFact, ScaledObjectFact
from harness.model.fault import Permission, UndoRecord
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.target import AlertRoute
from harness.registries import experiment_path, faults, load
from tests.unit.conductor_doubles import EXPERIMENT, TARGET, Kill, World

DELETE = Permission("delete", "pods", namespace="agents")
READS = {"identify", "access-review", "safety.ask", "watch", "observer.stop"}


class Lists:
    def __init__(self, workloads=()):
        self.workloads = workloads

    def find(self, api_version, kind, namespace="", selector="", field_selector=""):
        return [w for w in self.workloads if w["kind"] == kind]


class Store:
    """A metrics store whose one signal has samples of some age."""

    def __init__(self, age_s=1.0, value=3.0, series=2, error="", skew_s=0.0):
        self.age_s, self.value, self.series, self.error, self.skew = age_s, value, series, error, skew_s

    def identify(self):
        return "2.53.0"

    def skew_s(self):
        return self.skew

    def harvest(self, signals, window):
        def found(signal):
            if self.error:
                return SignalHarvest(signal, error=self.error)
            times, values = np.array([window.end_s - self.age_s]), np.array([self.value])
            parts = tuple(Series(signal.name, {"n": str(n)}, times, values) for n in range(self.series))
            return SignalHarvest(signal, parts, step_s=2.0)

        return Harvest({s.name: found(s) for s in signals}, "2.53.0", 2.0, self.skew)


def examined(world, store=None, target=TARGET, sparse=frozenset(), holder="", metrics=None, named=True):
    d = world.drivers()
    tools = Instruments(
        d.clock, d.observer, Lists(), d.ledger, d.safety, lambda: holder, metrics or (lambda: store or Store())
    )
    cases = [Case(EXPERIMENT, (DELETE,), named)]
    return list(Doctor(target, tools, cases, {"kill_pods": Kill(world)}, ASSERTIONS, sparse).examine())


def found(lines, state=State.FINDING):
    return {f"{line.area}/{line.subject}": line.message for line in lines if line.state is state}


def test_all_well_is_exit_0_with_every_area_told_and_nothing_written():
    world = World()
    lines = examined(world)
    assert (found(lines), status_of(lines)) == ({}, 0)
    assert {line.area for line in lines} == {
        "plan", "connection", "identity", "opt-in", "permissions", "safety", "leftovers", "lease", "metrics", "clocks",
        "signals", "platform", "announce",
    }  # fmt: skip
    assert "2 series, newest sample 1.0 s old" in [line.message for line in lines]
    assert set(world.calls) == READS


def test_every_finding_is_told_and_each_has_a_command():
    world = World()
    world.missing = (DELETE,)
    world.leftovers = [UndoRecord("r1", "earlier", "kill", "v1", "Node", "", "general-1", "u", "patch")]
    world.trouble_at_s = 0.0
    world.preview_problem = "the selector matches no pod"
    world.hpas = []
    lines = examined(world, Store(skew_s=9.0), holder="run-x")
    problems = found(lines)
    for area, words in {
        "permissions/e": "1 of 1 rights are missing: delete pods in agents",
        "leftovers/undo records": "an earlier run left 1 undo record(s)",
        "lease/run Lease": "held by run-x",
        "safety/halt lever and reaper": "halt lever was pulled",
        "clocks/Prometheus": "differs from ours by +9.0 s",
        "platform/hpa agents/planner": "there is no hpa agents/planner",
        "platform/e": "fault kill: the selector matches no pod",
    }.items():
        assert words in problems[area]
    assert status_of(lines) == 20
    assert all(line.command for line in lines if line.state is State.FINDING)
    asked = [line.command for line in lines if line.command.startswith("kubectl")]
    assert asked == ["kubectl --kubeconfig /k --context c -n agents get hpa"]  # of this cluster, not of the current one


def test_a16_of_another_cluster_nothing_more_is_read_and_the_exit_is_4():
    world = World()
    world.identity = replace(world.identity, kube_system_uid="another")
    lines = examined(world)
    assert list(found(lines, State.REFUSED)) == ["identity/c"]
    assert status_of(lines) == 4
    assert world.calls == ["identify"]
    assert told("local", lines)[-1] == "local: refused; nothing more was read, nothing was touched"


def test_a_cluster_that_did_not_opt_in_is_a_finding_and_nothing_more_is_read():
    world = World()
    world.identity = replace(world.identity, kube_system_labels={})
    lines = examined(world)
    assert "namespace kube-system does not carry" in found(lines)["identity/c"]
    assert (status_of(lines), world.calls) == (20, ["identify"])


class Ruled(Store):
    """A store with rules for some alerts."""

    def __init__(self, *alerts, error=""):
        super().__init__()
        self.alerts, self.rules_error = alerts, error

    def alert_rules(self):
        if self.rules_error:
            raise PortError("prometheus", "rules", self.rules_error)
        return dict.fromkeys(self.alerts, "")


TOLD = replace(EXPERIMENT.assertions[0], name="told", kind="alerts", params={"expect": ["Waits"]})
HIDES = DrillPlan(60.0, {}, (DrillFault("kill", "It was killed.", ("Dies",)),))
PAGED = replace(TARGET, drill=AlertRoute("http://127.0.0.1:9093"))


def examined_alerts(store, target=TARGET):
    d = World().drivers()
    tools = Instruments(d.clock, d.observer, Lists(), d.ledger, d.safety, lambda: "", lambda: store)
    case = Case(replace(EXPERIMENT, assertions=(TOLD,), drill=HIDES), (DELETE,), True)
    lines = Doctor(target, tools, [case], {"kill_pods": Kill(World())}, ASSERTIONS, frozenset()).examine()
    return [(line.state, line.message, line.command) for line in lines if line.area == "alerts"]


def test_alerts_that_assertions_and_drills_wait_for_have_rules():
    assert examined_alerts(Ruled("Waits", "Dies"), PAGED) == [
        (State.OK, "every expected alert can fire: Dies, Waits", "")
    ]
    lacks = examined_alerts(Ruled(), PAGED)
    command = "curl -sG http://127.0.0.1:3/api/v1/rules"
    assert [(state, told.partition(":")[0], look) for state, told, look in lacks] == [
        (State.FINDING, "there is no rule Dies (expected by fault kill of e)", command),
        (State.FINDING, "there is no rule Waits (expected by assertion told of e)", command),
    ]


def test_a_drills_alerts_are_no_matter_where_nobody_can_be_paged():
    assert examined_alerts(Ruled("Waits")) == [(State.OK, "every expected alert can fire: Waits", "")]


def test_rules_that_cannot_be_read_are_a_finding():
    ((state, message, _),) = examined_alerts(Ruled(error="HTTP 404"))
    assert state is State.FINDING and "HTTP 404" in message


@pytest.mark.parametrize(
    ("store", "words"),
    [
        (Store(series=0), "signal queue_depth: no series (within 60 s)"),
        (Store(age_s=40.0), "stale: 2 series, newest sample 40.0 s old (limit 15 s)"),
        (Store(value=float("nan")), "no value is a number"),
        (Store(error="HTTP 503"), "signal queue_depth: HTTP 503"),
    ],
)
def test_a_signal_that_is_not_there_is_a_finding_with_the_query_to_ask(store, words):
    target = replace(TARGET, prometheus_token_env="PROM_TOKEN")
    (line,) = [line for line in examined(World(), store, target) if line.state is State.FINDING]
    assert words in line.message
    assert line.command == (
        'curl -sG -H "Authorization: Bearer $PROM_TOKEN" http://127.0.0.1:3/api/v1/query '
        "--data-urlencode query=queue_depth"
    )


def test_a_signal_that_is_said_to_be_sparse_is_not_missed():
    assert found(examined(World(), Store(series=0), sparse=frozenset({"queue_depth"}))) == {}


def test_a_metrics_store_that_cannot_even_be_asked_does_not_hide_the_rest():
    def wrong():
        raise PortError("prometheus", "connect", "TOKEN is not set")

    lines = examined(World(), metrics=wrong)
    assert found(lines) == {"metrics/http://127.0.0.1:3": "prometheus: connect: TOKEN is not set"}
    assert any(line.area == "platform" for line in lines)


def test_only_namespaces_of_experiments_are_looked_at_for_the_label_since_least_rights_read_no_others():
    target = replace(TARGET, namespaces=("agents", "platform-infra"))
    assert {line.subject for line in examined(World(), target=target) if line.area == "opt-in"} == {
        "gameday-system", "agents"
    }  # fmt: skip


def test_an_assertion_whose_signals_the_pack_has_none_of_is_found():
    lines = examined(World(), target=replace(TARGET, signals={"other": Signal("other", "up")}))
    assert "leans on queue_depth, queue_lag, queue_pending; the query pack has none" in found(lines)["signals/e"]


def test_an_experiment_that_does_not_fit_is_a_finding_only_where_it_was_named():
    small = replace(TARGET, rate_max_rps=1.0)
    assert "load peaks at" in found(examined(World(), target=small))["plan/e"]
    lines = examined(World(), target=small, named=False)
    assert "load peaks at" in found(lines, State.ADVICE)["plan/e"]
    assert list(found(lines)) == ["plan/local"]  # none fits


def test_the_json_document_has_what_the_lines_have():
    lines = examined(World())
    text = json.loads(json.dumps(document("local", lines)))
    assert (text["schema"], text["exit_status"], len(text["lines"])) == ("gameday.doctor/1", 0, len(lines))
    assert text["lines"][0]["state"] == "ok"


def test_the_twins_platform_is_examined_with_the_real_faults(tmp_path):
    experiment = load(experiment_path("pod-kill-under-burst"))
    twin = Twin(experiment, 7)
    d = twin.drivers(tmp_path, "doctor")
    d.clock.sleep(30.0)
    tools = Instruments(d.clock, d.observer, d.actor, d.ledger, d.safety, lambda: "", lambda: d.metrics)
    lines = list(Doctor(twin.target, tools, [Case(experiment, (), True)], faults(), ASSERTIONS).examine())
    assert [line.message for line in lines if line.area == "platform"] == [
        "autoscalers able, budgets in order, pods Ready and measured, every fault finds its victims"
    ]


@pytest.mark.parametrize(
    ("offered", "state"),
    [({"nvidia.com/gpu": "4"}, State.OK), ({"nvidia.com/gpu": "0"}, State.FINDING), ({}, State.FINDING)],
)
def test_gpus_that_the_target_names_must_be_offered_by_a_node(offered, state):
    world = World()
    d = world.drivers()
    nodes = [NodeFact("n", "", "gpu-1", allocatable=offered)]
    d.observer.current = lambda kind: {"node": nodes, "hpa": world.hpas, "pod": world.pods, "pdb": world.pdbs}.get(
        kind, ()
    )
    tools = Instruments(d.clock, d.observer, Lists(), d.ledger, d.safety, lambda: "", Store)
    target = replace(TARGET, gpu_resource="nvidia.com/gpu")
    lines = list(Doctor(target, tools, [Case(EXPERIMENT, (), True)], {"kill_pods": Kill(world)}, ASSERTIONS).examine())
    assert [line.state for line in lines if line.subject == "nvidia.com/gpu"] == [state]


# advice ---------------------------------------------------------------------------------------------------------------

CONTAINER = {
    "name": "main", "readinessProbe": {}, "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
}  # fmt: skip


def deployment(replicas=2, container=CONTAINER):
    template = {"metadata": {"labels": {"app": "planner"}}, "spec": {"containers": [container]}}
    meta = {"name": "planner", "namespace": "agents"}
    return {"kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas, "template": template}}


def pdb(**rule):
    return PdbFact("u", "agents", "planner", selector={"app": "planner"}, **rule)


def advice(workload, *, hpas=(), pdbs=(), scaled=()):
    lines = advise({"hpa": hpas, "pdb": pdbs, "scaledobject": scaled}, [workload], "kubectl --context c")
    assert all(line.command.startswith("kubectl --context c -n agents ") for line in lines)
    return [line.message for line in lines]


def test_a_workload_in_order_gets_no_advice():
    assert advice(deployment(), pdbs=[pdb(min_available="1")]) == []


@pytest.mark.parametrize(
    ("rule", "undrainable"),
    [
        ({"min_available": "2"}, True),
        ({"min_available": "1"}, False),
        ({"min_available": "50%"}, False),
        ({"min_available": "51%"}, True),
        ({"min_available": "100%"}, True),
        ({"max_unavailable": "0"}, True),
        ({"max_unavailable": "0%"}, True),
        ({"max_unavailable": "1%"}, False),
        ({}, False),
    ],
)
def test_a_budget_that_never_allows_an_eviction_is_told(rule, undrainable):
    said = advice(deployment(), pdbs=[pdb(**rule)])
    assert [("allows no eviction at 2 replica(s)" in text) for text in said] == [True] * undrainable


def test_what_counts_is_the_minimum_of_the_autoscaler():
    hpa = HpaFact("h", "agents", "planner", target="Deployment/planner", min_replicas=2, max_replicas=9)
    (said,) = advice(deployment(9), hpas=[hpa], pdbs=[pdb(min_available="2")])
    assert "at 2 replica(s) (the minimum of hpa planner)" in said


def test_an_hpa_at_its_maximum_a_single_replica_and_no_budget_are_told():
    hpa = HpaFact("h", "agents", "planner", target="Deployment/planner", max_replicas=1, current_replicas=1)
    said = " ".join(advice(deployment(1), hpas=[hpa]))
    for words in ("a single replica", "no PodDisruptionBudget", "maxReplicas (1) is reached"):
        assert words in said


def test_what_sleeps_at_zero_is_not_asked_for_replicas_or_a_budget():
    scaled = ScaledObjectFact("s", "agents", "planner", target="Deployment/planner", min_replicas=0)
    assert advice(deployment(0), scaled=[scaled]) == []


def test_missing_probes_requests_and_limits_are_told_by_container():
    said = advice(deployment(container={"name": "main"}), pdbs=[pdb(min_available="1")])
    assert [text.partition(":")[0] for text in said] == ["no readinessProbe", "no CPU request", "no memory limit"]


def test_b09_the_proxy_that_requests_would_take_is_told():
    world = World()
    world.identity = replace(world.identity, proxy="http://proxy.example:3128")
    (line,) = [line for line in examined(world) if line.area == "connection"]
    assert line.message == "Kubernetes v1.35.4 through the proxy http://proxy.example:3128"
