"""The reaper's own process against a real API server: whoever dies, everything is taken back (DESIGN U3; CASES A21)."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.connection import connect_context
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.safety import KubernetesSafety
from harness.model.errors import ChangedMeanwhileError, Refusal
from harness.model.fault import ObjectRef, UndoRecord
from harness.undo import recover
from tests.contract.cluster_world import SYSTEM_NAMESPACE, WallClock

pytestmark = pytest.mark.testbed

GPU = "/status/capacity/example.com~1gpu"
RESTORED_LIMIT_S = 25.0
"""Lease 15 s, 2 s for clocks, and some for a busy machine; `make bench-kill` measures it."""

DYING_RUN = """
import sys, time
from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.connection import connect_context
from harness.drivers.kubernetes.lease import KubernetesLease
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.system_clock import RealClock
from experiments.faults.context import FaultContext
from experiments.faults.sequence import Selected, Work
from harness.model.errors import Refusal
from harness.model.fault import FaultPlan, Loss, ObjectRef
from harness.model.target import Target
from harness.ports import Permit
kubeconfig, context, node, hold_s = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
connection = connect_context(kubeconfig, context)
system = "gameday-system"
target = Target("t", "local", context, kubeconfig, "", "", "a=b", (), "", "", 1.0, system_namespace=system)
lease = KubernetesLease(connect_context(kubeconfig, context), system)
for _ in range(60):
    try:
        lease.acquire("run-that-dies")
        break
    except Refusal:  # a reaper that was killed holding it: it lapses
        time.sleep(0.5)
plan = FaultPlan("break-it", "test", {}, 0.0, hold_s, Loss.NONE, "patch", "", 5.0)
fault = FaultContext("run-that-dies", 1, KubernetesActor(connection), KubernetesLedger(connection, system),
                     RealClock.starting_now(), lambda *a: Permit(True), lambda seen: None, lambda *a: (), target=target)
work = Work(fault, plan, Selected(0, ()))
work.change(ObjectRef("v1", "Node", node), {"/spec/unschedulable": True})
taint = {"key": "gameday.local/test", "value": "x", "effect": "NoSchedule"}
work.change(ObjectRef("v1", "Node", node), {"/spec/taints/key=gameday.local~1test,effect=NoSchedule": taint})
work.change(ObjectRef("v1", "Node", node), {"/status/capacity/example.com~1gpu": "4"}, "status")
work.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hold-1", "namespace": system},
             "spec": {"nodeName": "", "schedulingGates": [{"name": "gameday.local/never"}],
                      "containers": [{"name": "hold", "image": "none", "command": ["sleep", "60"]}]}})
print("broken", flush=True)
time.sleep(120)
"""


@pytest.fixture
def connection(real_world: Any, light_testbed: dict[str, Any]) -> Any:
    return connect_context(light_testbed["kubeconfig"], light_testbed["context"])


@pytest.fixture
def reaper(light_testbed: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    started = start_reaper(light_testbed)
    yield started
    started.terminate()  # killed in the middle it would hold the Lease until that lapses
    started.wait(20)


def start_reaper(target: dict[str, Any]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "harness.reaper_main", "--kubeconfig", target["reaper_kubeconfig"]]
    return subprocess.Popen([*command, "--context", target["context"], "--namespace", SYSTEM_NAMESPACE])


@pytest.fixture
def dying_run(light_testbed: dict[str, Any], real_world: Any, tmp_path: Path) -> Iterator[Any]:
    script = tmp_path / "dying_run.py"
    script.write_text(textwrap.dedent(DYING_RUN))
    started: list[subprocess.Popen[str]] = []

    def start(hold_s: float = 300.0) -> "subprocess.Popen[str]":
        argv = [light_testbed["kubeconfig"], light_testbed["context"], real_world.node, str(hold_s)]
        environ = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        run = subprocess.Popen([sys.executable, str(script), *argv], stdout=subprocess.PIPE, text=True, env=environ)
        started.append(run)
        assert run.stdout is not None and run.stdout.readline().strip() == "broken"
        return run

    yield start
    for run in started:
        run.kill()
        run.communicate()
    recover(real_world.ledger(), WallClock(), "run-that-dies")  # a test that failed leaves the next one a whole cluster


def broken(real_world: Any, connection: Any) -> dict[str, Any]:
    node = real_world.node_object()
    actor = KubernetesActor(connection)
    return {
        "cordon": node["spec"].get("unschedulable"),
        "taints": [t["key"] for t in node["spec"].get("taints", ()) if t["key"].startswith("gameday")],
        "marks": [key for key in node["metadata"].get("annotations", {}) if "changed-by" in key],
        "gpu": node["status"]["capacity"].get("example.com/gpu"),
        "pod": actor.get(ObjectRef("v1", "Pod", "hold-1", SYSTEM_NAMESPACE)) is not None,
        "records": len(KubernetesLedger(connection, SYSTEM_NAMESPACE).open_records()),
    }


def set_now(actor: KubernetesActor, ref: ObjectRef, values: dict[str, Any]) -> None:
    """Patch as a person would: again, where the node's own status came between."""
    for _ in range(10):
        try:
            actor.patch(ref, actor.get(ref), values)
        except ChangedMeanwhileError:
            continue
        return
    pytest.fail(f"{ref} changed ten times in a row")


WHOLE = {"cordon": None, "taints": [], "marks": [], "gpu": None, "pod": False, "records": 0}


def wait_whole(real_world: Any, connection: Any) -> None:
    deadline_s = time.monotonic() + RESTORED_LIMIT_S
    while broken(real_world, connection) != WHOLE:
        assert time.monotonic() < deadline_s, broken(real_world, connection)
        time.sleep(0.25)


def test_a21_a_run_that_is_killed_outright_is_taken_back_by_the_reaper(real_world, connection, reaper, dying_run):
    run = dying_run()
    found = broken(real_world, connection)
    assert (found["cordon"], found["gpu"], found["pod"]) == (True, "4", True)
    assert found["records"] >= 4, "one a change, and one more where the node's own status came between"
    assert len(found["marks"]) == 2
    time.sleep(3.0)
    assert broken(real_world, connection) == found, "a run that is alive is left alone"

    run.send_signal(signal.SIGKILL)
    wait_whole(real_world, connection)


def test_a_fault_held_too_long_is_taken_back_though_its_run_is_alive(real_world, connection, reaper, dying_run):
    run = dying_run(hold_s=2.0)

    wait_whole(real_world, connection)
    assert run.poll() is None


def test_a_reaper_that_is_killed_in_the_middle_is_followed_by_another(
    real_world, connection, reaper, dying_run, light_testbed
):
    run = dying_run()
    run.send_signal(signal.SIGKILL)
    reaper.send_signal(signal.SIGKILL)
    successor = start_reaper(light_testbed)  # it waits until the dead one's sign of life has lapsed
    try:
        deadline_s = time.monotonic() + 2 * RESTORED_LIMIT_S
        while broken(real_world, connection) != WHOLE:
            assert time.monotonic() < deadline_s, broken(real_world, connection)
            time.sleep(0.25)
    finally:
        successor.terminate()
        assert successor.wait(15) == 0


def test_what_somebody_else_set_meanwhile_is_left_alone(real_world, connection, reaper, dying_run):
    run = dying_run()
    actor, ref = KubernetesActor(connection), ObjectRef("v1", "Node", real_world.node)
    pointer = "/metadata/annotations/somebody~1else"
    set_now(actor, ref, {"/spec/unschedulable": None, pointer: "was here"})
    set_now(actor, ref, {"/spec/unschedulable": True, "/metadata/labels/theirs": "yes"})

    run.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + RESTORED_LIMIT_S
    while broken(real_world, connection)["records"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.25)
    node = real_world.node_object()
    assert node["metadata"]["annotations"]["somebody/else"] == "was here"
    set_now(actor, ref, {pointer: None, "/metadata/labels/theirs": None, "/spec/unschedulable": None})


def test_u1_a_late_change_of_a_dying_process_is_refused_once_its_record_was_undone(real_world, connection):
    actor, ledger = KubernetesActor(connection), KubernetesLedger(connection, SYSTEM_NAMESPACE)
    ref = ObjectRef("v1", "Node", real_world.node)
    for subresource, values in (("", {"/spec/unschedulable": True}), ("status", {GPU: "4"})):
        seen = actor.get(ref)
        record = UndoRecord(
            f"late-{subresource or 'spec'}", "run-late", "late", "v1", "Node", "", ref.name, seen["metadata"]["uid"],
            "patch", dict.fromkeys(values), values, subresource=subresource,
        )  # fmt: skip
        ledger.write(record)
        assert ledger.undo(record).done

        with pytest.raises(ChangedMeanwhileError):
            actor.patch(ref, seen, values, subresource)
    assert [r.record_id for r in ledger.run_records("run-late")] == ["late-status", "late-spec"], "done, but not closed"
    ledger.close("run-late")
    assert ledger.run_records("run-late") == []
    assert broken(real_world, connection) == WHOLE


def test_u1_a_helper_object_that_is_created_late_goes_with_its_record(real_world, connection):
    actor, ledger = KubernetesActor(connection), KubernetesLedger(connection, SYSTEM_NAMESPACE)
    ref = ObjectRef("v1", "ConfigMap", "late-helper", SYSTEM_NAMESPACE)
    record = UndoRecord("late-1", "run-late", "late", "v1", "ConfigMap", SYSTEM_NAMESPACE, ref.name, "", "delete")
    owner = ledger.write(record)
    assert ledger.undo(record).done
    ledger.close("run-late")

    meta = {"name": ref.name, "namespace": SYSTEM_NAMESPACE, "ownerReferences": [dict(owner)]}
    actor.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    deadline_s = time.monotonic() + RESTORED_LIMIT_S
    while actor.get(ref) is not None:
        assert time.monotonic() < deadline_s
        time.sleep(0.25)


def test_without_a_living_reaper_no_run_starts(connection, light_testbed):
    for _ in range(2 * int(RESTORED_LIMIT_S)):  # the sign of life of an earlier test's reaper lapses by itself
        try:
            KubernetesSafety(connection, SYSTEM_NAMESPACE).start()
        except Refusal as refusal:
            assert refusal.code == "reaper"
            break
        time.sleep(1.0)
    else:
        pytest.fail("it never lapsed")

    reaper = start_reaper(light_testbed)
    try:
        safety = KubernetesSafety(connection, SYSTEM_NAMESPACE, {"patch", "delete"})
        deadline_s = time.monotonic() + RESTORED_LIMIT_S
        while safety.ask():
            assert time.monotonic() < deadline_s, safety.ask()
            time.sleep(0.25)
        with pytest.raises(Refusal, match="cannot take back by command"):
            KubernetesSafety(connection, SYSTEM_NAMESPACE, {"command"}).start()
    finally:
        reaper.terminate()
        assert reaper.wait(15) == 0
