"""The one sequence of every fault: records before deeds, only what is ours, nothing after a stop."""

import copy
from dataclasses import dataclass, field

import pytest

from experiments.faults.context import FaultContext, FaultError, drive
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work, carry_out
from experiments.faults.targets import TargetError
from harness.model.errors import ChangedMeanwhileError, PortError
from harness.model.fault import RUN_LABEL, Effect, FaultPlan, Loss, ObjectRef
from harness.model.pointer import resolve
from harness.model.target import Target
from harness.ports import Permit
from tests.unit.fault_doubles import SteppedClock

NODE = ObjectRef("v1", "Node", "general-1")
CORDON = {"/spec/unschedulable": True}
VICTIM = {"kind": "Node", "namespace": "", "name": "general-1", "uid": "uid-1"}


def target():
    return Target("t", "local", "c", "", "", "", "a=b", ("agents",), "", "", 1.0, system_namespace="gameday-system")


@dataclass
class Cluster:
    """One node and what is created; notes the order of everything that is written."""

    node: dict = field(default_factory=lambda: {"metadata": {"uid": "uid-1", "resourceVersion": "1"}, "spec": {}})
    log: list = field(default_factory=list)
    records: list = field(default_factory=list)
    conflicts: int = 0
    on_conflict: dict = field(default_factory=dict)
    created: list = field(default_factory=list)
    write_fails: bool = False

    def get(self, ref):
        return copy.deepcopy(self.node) if ref == NODE else None

    def patch(self, ref, seen, values, subresource=""):
        if self.conflicts:
            self.conflicts -= 1
            self.node["metadata"]["resourceVersion"] += "x"
            self.node["spec"].update(self.on_conflict)
            raise ChangedMeanwhileError("twin", "patch", "conflict")
        assert seen["metadata"]["resourceVersion"] == self.node["metadata"]["resourceVersion"]
        self.log.append(("patch", subresource, dict(values)))
        return self.node

    def create(self, manifest):
        self.log.append(("create", manifest["metadata"]["name"]))
        self.created.append(manifest)
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "new"}}

    def write(self, record):
        if self.write_fails:
            raise PortError("twin", "write", "disk full")
        self.log.append(("record", record.operation))
        self.records.append(record)
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": "r", "uid": "record-uid"}


@dataclass
class Scene:
    cluster: Cluster = field(default_factory=Cluster)
    seen: list = field(default_factory=list)
    permit: Permit = field(default_factory=lambda: Permit(True))
    asked: list = field(default_factory=list)
    stop: str = ""
    clock: SteppedClock = field(default_factory=SteppedClock)

    def context(self):
        def permit(fault, victims):
            self.asked.append((fault, tuple(victims)))
            return self.permit

        return FaultContext(
            "run-1", 7, self.cluster, self.cluster, self.clock, permit, self.seen.append, lambda *a: (),
            stopping=lambda: self.stop, target=target(),
        )  # fmt: skip

    def plan(self):
        return FaultPlan("cordon-it", "cordon", {}, 0.0, 30.0, Loss.NONE, "patch", "", 5.0)

    def work(self):
        return Work(self.context(), self.plan(), Selected(1, (VICTIM,)))

    def steps(self):
        return [seen.detail["step"] for seen in self.seen]


class Cordon:
    """A whole small fault."""

    def __init__(self, scene, proven=True):
        self.scene, self.proven = scene, proven

    def select(self, actor, arguments, seed_text, target):
        return Selected(1, (VICTIM,))

    def act(self, work):
        work.change(NODE, CORDON)
        work.recorded()
        yield 0.5
        return Deed((VICTIM,))

    def prove(self, work, deed):
        return (yield from wait_for(work.context, lambda: (self.proven, "unschedulable"), 2.0))


def run(scene, conduct):
    return drive(carry_out(scene.context(), scene.plan(), conduct), scene.clock)


def test_the_undo_record_is_written_before_the_change_and_holds_what_was_before():
    scene = Scene()
    assert scene.work().change(NODE, CORDON) is True

    (kind, operation), (patch, _, values) = scene.cluster.log
    assert (kind, operation, patch) == ("record", "patch", "patch")
    (record,) = scene.cluster.records
    assert record.prior["/spec/unschedulable"] is None and record.applied["/spec/unschedulable"] is True
    assert record.uid == "uid-1" and record.deadline_unix_s == 1030.0
    assert values == record.applied


def test_the_ownership_mark_travels_in_the_same_patch_and_is_taken_back_with_it():
    scene = Scene()
    scene.work().change(NODE, CORDON)

    (record,) = scene.cluster.records
    marks = {p: v for p, v in record.applied.items() if "changed-by" in p}
    assert list(marks.values()) == ["run-1/cordon-it-1"]
    assert all(record.prior[pointer] is None for pointer in marks)


def test_a_value_that_somebody_else_set_already_is_never_ours():
    scene = Scene()
    scene.cluster.node["spec"]["unschedulable"] = True

    assert scene.work().change(NODE, CORDON) is False
    assert scene.cluster.log == []


def test_only_the_values_that_differ_are_recorded_and_written():
    scene = Scene()
    scene.cluster.node["spec"]["unschedulable"] = True
    scene.work().change(NODE, {**CORDON, "/spec/x": 1})

    (record,) = scene.cluster.records
    assert "/spec/unschedulable" not in record.applied and record.applied["/spec/x"] == 1


def test_an_object_that_moved_in_other_fields_is_changed_all_the_same():
    scene = Scene(Cluster(conflicts=2))

    assert scene.work().change(NODE, CORDON) is True
    assert [entry[0] for entry in scene.cluster.log] == ["record", "record", "record", "patch"]
    assert len({record.record_id for record in scene.cluster.records}) == 3, "u1: each attempt has its own record"


def test_a_value_that_somebody_sets_between_record_and_change_is_left_to_them():
    scene = Scene(Cluster(conflicts=1, on_conflict={"unschedulable": True}))

    with pytest.raises(ChangedMeanwhileError):
        scene.work().change(NODE, CORDON)
    assert [entry[0] for entry in scene.cluster.log] == ["record"]


def test_an_object_that_never_holds_still_is_given_up():
    scene = Scene(Cluster(conflicts=99))

    with pytest.raises(ChangedMeanwhileError):
        scene.work().change(NODE, CORDON)


def test_a_status_is_changed_without_the_mark_that_a_status_patch_cannot_write():
    scene = Scene()
    scene.work().change(NODE, {"/status/capacity/gpu": "0"}, subresource="status")

    (record,) = scene.cluster.records
    assert record.subresource == "status" and set(record.applied) == {"/status/capacity/gpu"}
    assert resolve(scene.cluster.node, "/metadata/annotations") is None


@pytest.mark.parametrize(("namespace", "owned"), [("gameday-system", True), ("agents", False)])
def test_a_helper_object_is_recorded_first_labelled_and_owned_where_it_can_be(namespace, owned):
    scene = Scene()
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hold-1", "namespace": namespace}}
    scene.work().create(manifest)

    assert scene.cluster.log == [("record", "delete"), ("create", "hold-1")]
    meta = scene.cluster.created[0]["metadata"]
    assert meta["labels"][RUN_LABEL] == "run-1"
    assert ("ownerReferences" in meta) is owned


def test_without_a_stored_record_nothing_is_done():
    scene = Scene(Cluster(write_fails=True))

    with pytest.raises(FaultError, match="disk full"):
        run(scene, Cordon(scene))
    assert scene.cluster.log == []
    assert scene.seen[-1].detail["step"] == "failed" and scene.seen[-1].detail["effect"] == "ABSENT"


def test_a_stop_between_record_and_change_leaves_the_cluster_untouched():
    scene = Scene()
    work = scene.work()
    scene.stop = "somebody asked"

    with pytest.raises(Exception, match="somebody asked"):
        work.change(NODE, CORDON)
    assert [entry[0] for entry in scene.cluster.log] == ["record"]
    assert work.touched is False


def test_every_step_is_told_in_order_and_the_permit_is_asked_for_the_victims():
    scene = Scene()
    told = run(scene, Cordon(scene))

    assert scene.steps() == ["due", "permit", "undo-recorded", "acted", "evidence"]
    assert scene.asked == [("cordon-it", (VICTIM,))]
    assert told["effect"] == "CONFIRMED" and told["victims"] == [VICTIM]


def test_a_denied_fault_says_why_and_touches_nothing():
    scene = Scene(permit=Permit(False, "over the cap"))

    with pytest.raises(FaultError, match="over the cap"):
        run(scene, Cordon(scene))
    assert scene.steps() == ["due", "denied"] and scene.cluster.log == []


def test_a_fault_that_finds_no_victims_is_absent_and_asks_for_no_permit():
    scene = Scene()

    class Nobody(Cordon):
        def select(self, actor, arguments, seed_text, target):
            raise TargetError("no node matches")

    with pytest.raises(FaultError, match="no node matches"):
        run(scene, Nobody(scene))
    assert scene.steps() == ["due", "failed"] and scene.asked == []
    assert scene.seen[-1].detail["effect"] == Effect.ABSENT.value


def test_a_fault_without_proof_has_failed_though_its_deed_succeeded():
    scene = Scene()

    with pytest.raises(FaultError, match="ABSENT"):
        run(scene, Cordon(scene, proven=False))
    assert scene.seen[-1].detail["effect"] == "ABSENT"


def test_a_proof_that_cannot_be_seen_is_unclear_not_absent():
    scene = Scene()

    def blind():
        raise PortError("kubernetes", "read node", "connection refused")

    evidence = drive(wait_for(scene.context(), blind, 1.0), scene.clock)
    assert (evidence.effect, "connection refused" in evidence.reason) == (Effect.UNCLEAR, True)


def test_a_problem_of_the_deed_makes_its_proof_unclear():
    scene = Scene()

    class Half(Cordon):
        def act(self, work):
            yield from super().act(work)
            return Deed((VICTIM,), "one of two was left")

    with pytest.raises(FaultError, match="one of two was left"):
        run(scene, Half(scene))
    assert scene.seen[-1].detail["effect"] == "UNCLEAR"


def test_evidence_can_carry_what_is_judged_later():
    scene = Scene()

    class Told(Cordon):
        def prove(self, work, deed):
            yield from ()
            return Evidence(Effect.CONFIRMED, "blocked", (("blocked_by", ["agents/planner"]),))

    run(scene, Told(scene))
    assert scene.seen[-1].detail["blocked_by"] == ["agents/planner"]
