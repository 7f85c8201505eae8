"""Chaos Toolkit and its extension as pinned: what we use is there, and what they get wrong we do not (CASES A)."""

import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import version

import jsonschema
import pytest
import yaml
from chaoslib import run as chaoslib_run
from chaoslib.experiment import ensure_experiment_is_valid, load_experiment
from packaging.requirements import Requirement

from experiments.faults.nodes import choose_nodes
from experiments.faults.registry import FAULTS
from experiments.faults.targets import TargetError
from experiments.faults.termination import terminate_pods
from harness.definitions import ProbeResult
from harness.drivers.chaostoolkit_child import MethodWatch
from harness.drivers.chaostoolkit_job import judge_journal
from harness.model.errors import PortError, SpecError
from harness.model.fault import FaultPlan, Loss
from harness.model.record import Ending
from harness.registries import PROJECT_DIR
from tests.unit.conductor_doubles import World
from tests.unit.kubernetes_stub import pod, pod_list, status, stub_api
from tests.unit.test_conductor import Run
from tests.unit.test_spec import good, put, read, text_of

PLAN = FaultPlan("kill", "kill_pods", {}, 0.0, 30.0, Loss.ABRUPT, undo_reason="replaced")
CHAOS_PACKAGES = ("chaostoolkit-lib", "chaostoolkit-kubernetes", "kubernetes")


def test_a03_the_journal_of_an_interrupted_run_lacks_keys_and_is_told_all_the_same():
    told = judge_journal({"status": "interrupted", "run": [{"activity": {"name": "kill"}}]}, [PLAN])
    assert "kill did not end: it was cut off" in told and "status is interrupted" in told
    assert "kill was not run" in judge_journal({}, [PLAN])


class FailingProbe(World):
    """A world whose probe has no answer once the load is over."""

    @property
    def probe(self):
        if "load.stop" in self.calls:
            raise PortError("kubernetes", "list pods", "503: unavailable")
        return ProbeResult(True, "fine")

    @probe.setter
    def probe(self, value):
        assert value.ok


def settled(world):
    run = Run(world)
    outcome = run.go()
    (gate,) = [e.detail for e in run.journal.events if (e.kind, e.subject) == ("gate", "settle")]
    return outcome, gate


def test_a04_a_probe_that_errors_at_the_end_is_unknown_and_all_is_undone_and_harvested():
    world = FailingProbe()
    outcome, gate = settled(world)
    assert gate["ok"] is None and "503: unavailable" in gate["reason"]
    assert outcome.ending is Ending.COMPLETED and [record["done"] for record in outcome.undo] == [True]
    assert outcome.fingerprint_after == {"x": 1}


def test_a04_a_steady_state_that_is_out_of_tolerance_at_the_end_is_a_deviation():
    world = World()
    world.clock.alarms.append((40.0, lambda: setattr(world, "probe", ProbeResult(False, "one pod"))))
    outcome, gate = settled(world)
    assert gate["ok"] is False and "one pod" in gate["reason"]
    assert [record["done"] for record in outcome.undo] == [True]


# nodes ----------------------------------------------------------------------------------------------------------------


class Nodes:
    """Reads of a cluster that has only nodes."""

    def __init__(self, **unschedulable):
        self.nodes = {name: self._node(name, state) for name, state in unschedulable.items()}

    def _node(self, name, state):
        ready = {"type": "Ready", "status": "False" if state == "down" else "True"}
        spec = {"unschedulable": True} if state == "cordoned" else {}
        return {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec, "status": {"conditions": [ready]}}

    def get(self, ref):
        return self.nodes.get(ref.name)

    def find(self, api_version, kind, namespace="", selector="", field_selector=""):
        return list(self.nodes.values())


def drawn(actor, seed="7", **arguments):
    return [node["metadata"]["name"] for node in choose_nodes(actor, {"selector": "pool=general", **arguments}, seed)]


def test_a05_nodes_are_drawn_without_replacement_and_the_seed_repeats_the_draw():
    actor = Nodes(n1="", n2="", n3="")
    assert all(sorted(drawn(actor, str(seed), count=3)) == ["n1", "n2", "n3"] for seed in range(50))
    assert {tuple(drawn(actor, "7", count=2)) for _ in range(5)} == {tuple(drawn(actor, "7", count=2))}
    assert len({tuple(drawn(actor, str(seed), count=2)) for seed in range(50)}) > 1
    assert len(choose_nodes(actor, {"nodes": ["n1", "n1"]}, "7")) == 1


def test_a14_a_node_that_is_cordoned_or_not_ready_is_no_victim_and_too_few_are_an_error():
    actor = Nodes(n1="", n2="cordoned", n3="down")
    assert drawn(actor, count=1) == ["n1"]
    with pytest.raises(TargetError, match=r"2 nodes were asked for, but 1 of 3 nodes .* are Ready and schedulable"):
        drawn(actor, count=2)
    with pytest.raises(TargetError, match="no node matches"):
        drawn(Nodes(), count=1)
    with pytest.raises(TargetError, match="node n3 is not Ready already"):
        choose_nodes(actor, {"nodes": ["n3"]}, "7")


@pytest.mark.parametrize("name", sorted(FAULTS))
@pytest.mark.parametrize("arguments", [{}, {"namespace": "agents"}, {"nodes": []}, {"selector": "pool=general"}])
def test_a06_no_fault_can_be_written_without_a_bounded_list_of_targets(name, arguments):
    schema = FAULTS[name].arguments_schema
    allowed = jsonschema.Draft202012Validator(schema).is_valid(arguments)
    assert not allowed or _names_its_own_target(schema, arguments)


def _names_its_own_target(schema, arguments):
    """Tell whether a fault has exactly one target by its nature, and so may be written without naming one."""
    free = {"nodes", "selector", "hosting"} & set(schema.get("properties", {}))
    return not free and not arguments


# what we call of others -----------------------------------------------------------------------------------------------


def test_a18_what_we_call_takes_the_arguments_that_we_pass():
    inspect.signature(terminate_pods).bind(name_pattern="^(a)$", all=True, grace_period=0, ns="agents", secrets={})
    assert chaoslib_run.Strategy.SKIP
    inspect.signature(chaoslib_run.Runner).bind(chaoslib_run.Strategy.SKIP)
    inspect.signature(ensure_experiment_is_valid).bind({})
    inspect.signature(load_experiment).bind("path")


def test_a18_every_hook_that_we_override_is_still_called_by_that_name_with_those_arguments():
    ours = {name: f for name, f in vars(MethodWatch).items() if inspect.isfunction(f) and not name.startswith("_")}
    assert set(ours) == {"started", "start_method", "start_activity", "activity_completed"}
    for name, hook in ours.items():
        theirs = getattr(chaoslib_run.RunEventHandler, name)
        assert list(inspect.signature(hook).parameters) == list(inspect.signature(theirs).parameters), name


@pytest.mark.parametrize("package", CHAOS_PACKAGES)
def test_a18_b07_the_version_that_runs_is_the_one_that_is_pinned_with_its_hash(package):
    text = (PROJECT_DIR / "requirements" / "runtime.txt").read_text()
    blocks = re.findall(rf"^({package}==.*) \\\n +--hash=sha256:", text, re.MULTILINE)
    meant = [one for one in map(Requirement, blocks) if one.marker is None or one.marker.evaluate()]
    assert [str(one.specifier) for one in meant] == [f"=={version(package)}"]


KILLING = """
import json, sys
from experiments.faults.termination import terminator
from harness.model.errors import PortError
try:
    print(json.dumps({"accepted": terminator("mine")("agents", json.loads(sys.argv[1]), 0)}))
except PortError as error:
    print(json.dumps({"error": str(error)}))
"""
"""In a process of its own: chaosk8s writes the client's global configuration."""


def killed(tmp_path, names, *, pods=("a", "ab", "b"), delete=200):
    """Let chaosk8s kill pods of a stub; return what it said, and every deletion with its grace."""
    listed = pod_list("1", *({**pod(name, f"u-{name}", "1"), "spec": {"containers": [{"name": "c"}]}} for name in pods))
    with stub_api() as (stub, connection):
        stub.on("GET", "/api/v1/namespaces/agents/pods", lambda e: e.json(200, listed))
        answer = {"kind": "Pod"} if delete == 200 else status(delete, "Forbidden", "you may not")
        for name in pods:
            path = f"/api/v1/namespaces/agents/pods/{name}"
            stub.on("DELETE", path, lambda e: e.json(delete, answer))
        kubeconfig = {
            "clusters": [{"name": "c", "cluster": {"server": connection.server}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "mine", "context": {"cluster": "c", "user": "u"}}],
        }
        (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
        environ = {"KUBECONFIG": str(tmp_path / "config"), "PYTHONPATH": str(PROJECT_DIR), "HOME": str(tmp_path)}
        command = [sys.executable, "-c", KILLING, json.dumps(names)]
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=True)
        deleted = [
            (r.path.rpartition("/")[2], r.body["gracePeriodSeconds"]) for r in stub.requests if r.method == "DELETE"
        ]
    return json.loads(ended.stdout.splitlines()[-1]), deleted


def test_a10_a23_chaosk8s_kills_exactly_the_pods_that_are_named_with_no_grace(tmp_path):
    told, deleted = killed(tmp_path, ["a", "b"])
    assert told == {"accepted": ["a", "b"]}
    assert deleted == [("a", 0), ("b", 0)]


def test_a10_what_chaosk8s_raises_is_one_clear_error(tmp_path):
    told, _ = killed(tmp_path, ["a"], delete=403)
    assert "chaosk8s" in told["error"] and "403" in told["error"]


def test_a10_a11_no_name_is_an_error_and_never_every_pod_of_the_namespace(tmp_path):
    told, deleted = killed(tmp_path, [])
    assert "no pod is named" in told["error"] and deleted == []


@pytest.mark.parametrize("place", ["controls", "method/0/controls", "steady-state-hypothesis/controls"])
def test_a19_a_control_is_refused_wherever_it_stands(place):
    data = good()
    put(data, place, [{"name": "safety", "provider": {"type": "python", "module": "safety"}}])
    with pytest.raises(SpecError, match="controls: refused — Chaos Toolkit swallows what a control raises"):
        read(text_of(data))
