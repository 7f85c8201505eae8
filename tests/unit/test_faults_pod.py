"""Faults on pods: the order of their steps, what they prove, and when they touch nothing."""

import pytest

from experiments.faults.context import FaultError, NotUnderGamedayError, bound, drive
from experiments.faults.evidence import conclude, look
from experiments.faults.pod import _evict_one, evict_pods, kill_pods
from experiments.faults.registry import FAULTS
from harness.model.errors import PortError
from harness.model.facts import PodFact
from harness.model.fault import Effect, Loss, UndoRecord
from harness.ports import EvictionResult, Permit
from tests.unit.fault_doubles import Bench, bench, plan, pod

BLOCKED = EvictionResult("blocked", "The disruption budget planner needs 2 healthy pods and has 2 currently")


def carry_out(on: Bench, action: str, **arguments: object) -> dict[str, object]:
    hold_s = float(arguments.pop("max_hold_s", 30.0))  # type: ignore[arg-type]
    return drive(FAULTS[action].steps(on.context, plan(action, hold_s, **arguments)), on.cluster.clock)


def test_a23_a_kill_is_abrupt_and_its_undo_is_written_before_it() -> None:
    on = bench()
    told = carry_out(on, "kill_pods", share=0.34)
    assert on.steps() == ["due", "permit", "undo-recorded", "acted", "evidence"]
    kinds = [line.split()[0] for line in on.cluster.log]
    assert kinds == ["undo"] * 3 + ["kill"] * 3
    assert all(line.endswith("grace 0") for line in on.cluster.log[3:])
    assert told["effect"] == "CONFIRMED" and "3 of 3 uids gone, 3 replacements Ready" in str(told["reason"])


def test_a23_events_carry_the_kind_of_loss_the_victims_with_uid_and_how_many_were_asked() -> None:
    on = bench()
    carry_out(on, "evict_pods", count=1)
    last = on.last()
    assert last["loss"] == Loss.EVICTION.value and last["asked"] == 1
    assert [set(v) for v in last["victims"]] == [{"kind", "namespace", "name", "uid", "node"}]  # type: ignore[attr-defined]


def test_the_preview_names_the_victims_that_the_run_then_hits() -> None:
    on = bench()
    arguments = {"namespace": "agents", "selector": "app=planner", "count": 3}
    preview = FAULTS["kill_pods"].preview(on.cluster, arguments, 7)
    assert on.cluster.log == [] and preview.asked == 3 and not preview.problem
    assert carry_out(on, "kill_pods", count=3)["victims"] == list(preview.victims)


def test_a11_a_preview_of_nobody_says_why() -> None:
    preview = FAULTS["kill_pods"].preview(bench(ready=0).cluster, plan("kill_pods", count=1).arguments, 7)
    assert preview.problem == "no pod matches app=planner in agents"


def test_a_denied_fault_touches_nothing() -> None:
    on = bench()
    on.permit = Permit(False, "the Lease is not held")
    with pytest.raises(FaultError, match="denied: the Lease is not held"):
        carry_out(on, "kill_pods", count=1)
    assert on.steps() == ["due", "denied"] and on.cluster.log == []


def test_u7_after_a_stop_request_no_permit_is_even_asked_for() -> None:
    on = bench()
    on.stop_at_s = 0.0
    with pytest.raises(FaultError, match="denied: somebody asked"):
        carry_out(on, "kill_pods", count=1)
    assert on.cluster.log == []


def test_a11_fewer_pods_than_asked_for_is_an_error_and_touches_nothing() -> None:
    on = bench(ready=2)
    with pytest.raises(FaultError, match="3 victims were asked for, but 2 of 2"):
        carry_out(on, "kill_pods", count=3)
    assert on.steps() == ["due", "failed"] and on.last()["effect"] == "ABSENT"
    assert on.cluster.log == []


def test_without_an_undo_record_there_is_no_deed(monkeypatch: pytest.MonkeyPatch) -> None:
    on = bench()

    def full(record: object) -> None:
        raise PortError("kubernetes", "write undo record", "quota exceeded")

    monkeypatch.setattr(on.cluster, "write", full)
    with pytest.raises(FaultError, match="quota exceeded"):
        carry_out(on, "kill_pods", count=1)
    assert on.last()["effect"] == "ABSENT" and on.cluster.log == []


def test_a_kill_that_hit_fewer_than_asked_is_unclear_and_names_the_missed() -> None:
    on = bench(accept=lambda name: name != "planner-03")
    with pytest.raises(FaultError, match="UNCLEAR: not killed: planner-03; 8 of 8 uids gone"):
        carry_out(on, "kill_pods", share=1.0)
    assert len(on.last()["victims"]) == 8 and on.last()["asked"] == 9  # type: ignore[arg-type]


def test_a_kill_without_replacement_is_unclear_after_max_hold() -> None:
    on = bench(replace_after_s=None)
    with pytest.raises(FaultError, match=r"UNCLEAR: 1 of 1 uids gone, 0 replacements Ready after 10\.0 s"):
        carry_out(on, "kill_pods", count=1, max_hold_s=10.0)


def test_a_stop_while_waiting_for_evidence_ends_the_wait() -> None:
    on = bench(replace_after_s=100.0)
    on.stop_at_s = 3.0
    with pytest.raises(FaultError, match="stopped: somebody asked"):
        carry_out(on, "kill_pods", count=1, max_hold_s=300.0)
    assert on.cluster.clock.t_s < 5


def test_a08_a_blocked_eviction_is_asked_again_and_the_budget_is_named() -> None:
    on = bench(answers=[BLOCKED, EvictionResult("throttled", "too many requests"), BLOCKED])
    carry_out(on, "evict_pods", count=1)
    assert [line.split()[-1] for line in on.cluster.log[1:]] == ["blocked", "throttled", "blocked", "accepted"]
    notes = [str(o.detail["message"]) for o in on.seen if o.kind == "note"]
    assert "budget planner needs 2 healthy pods" in notes[0] and "throttled" in notes[1]


@pytest.mark.parametrize(("retry_after_s", "asked_at_s"), [(0.0, 0.5), (7.0, 7.0), (60.0, 10.0)])
def test_b14_an_eviction_that_is_throttled_is_asked_again_when_the_server_says(
    retry_after_s: float, asked_at_s: float
) -> None:
    on = bench(answers=[EvictionResult("throttled", "too many requests", retry_after_s)])
    since_s = on.cluster.clock.now_s()
    drive(_evict_one(on.context, plan("evict_pods", 10.0, count=1), on.cluster.alive[0], since_s + 10.0),
          on.cluster.clock)  # fmt: skip
    assert on.cluster.clock.now_s() - since_s == asked_at_s


def test_a08_an_eviction_that_stays_blocked_is_absent_and_says_for_how_long() -> None:
    on = bench(answers=[BLOCKED] * 100)
    with pytest.raises(FaultError, match=r"ABSENT: eviction of agents/planner-\d+ blocked: .*asked for 10\.0 s"):
        carry_out(on, "evict_pods", count=1, max_hold_s=10.0)
    assert on.last()["victims"] == []


@pytest.mark.parametrize("status", ["overlap", "refused", "gone"])
def test_an_eviction_that_waiting_cannot_help_is_asked_once(status: str) -> None:
    on = bench(answers=[EvictionResult(status, "why")])
    with pytest.raises(FaultError, match=f"ABSENT: eviction of .* {status}: why"):
        carry_out(on, "evict_pods", count=1)
    assert len(on.cluster.log) == 2


def test_an_api_error_in_the_deed_is_unclear_since_it_may_have_bitten(monkeypatch: pytest.MonkeyPatch) -> None:
    on = bench()

    def lost(*call: object) -> list[str]:
        raise PortError("chaosk8s", "terminate_pods", "connection reset")

    monkeypatch.setattr(on.cluster, "terminate_pods", lost)
    with pytest.raises(FaultError, match="connection reset"):
        carry_out(on, "kill_pods", count=1)
    assert on.last()["step"] == "failed" and on.last()["effect"] == "UNCLEAR"


def test_an_api_error_while_looking_for_evidence_is_looked_past(monkeypatch: pytest.MonkeyPatch) -> None:
    on = bench()
    listed, calls = on.cluster.pods, []

    def shaky(*call: object) -> object:
        calls.append(call)
        if len(calls) in {2, 3}:
            raise PortError("kubernetes", "list pods", "connection reset")
        return listed(*call)  # type: ignore[arg-type]

    monkeypatch.setattr(on.cluster, "pods", shaky)
    assert carry_out(on, "kill_pods", count=1)["effect"] == "CONFIRMED"


def test_actions_refuse_outside_a_game_day_and_for_an_activity_that_was_not_announced() -> None:
    on = bench()
    with pytest.raises(NotUnderGamedayError, match="gameday run NAME"):
        kill_pods(namespace="agents", selector="app=planner", count=1)
    with bound(on.context), pytest.raises(NotUnderGamedayError):
        evict_pods(namespace="agents", selector="app=planner", count=1)
    context = on.context
    context.plan = plan("kill_pods", count=1)
    with bound(context), pytest.raises(NotUnderGamedayError):
        evict_pods(namespace="agents", selector="app=planner", count=1)
    assert on.cluster.log == []


def test_a_bound_action_runs_what_the_plan_says() -> None:
    on = bench()
    context = on.context
    context.plan = plan("kill_pods", count=2)
    with bound(context):
        assert kill_pods(namespace="agents", selector="app=planner", count=2)["asked"] == 2


def test_every_fault_says_its_evidence_its_undo_and_what_it_needs() -> None:
    kinds = {"mesh_chaos": "PodChaos"}
    for name, fault in FAULTS.items():
        assert fault.name == name and fault.evidence and fault.undo and (fault.undo != "none" or fault.undo_reason)
        assert fault.permissions({"namespace": "agents", "kind": kinds.get(name, "Deployment")})
    assert str(FAULTS["evict_pods"].permissions({"namespace": "agents"})[-1]) == "create pods/eviction in agents"


# evidence ------------------------------------------------------------------------------------------------------------


def evidence_of(victims: list[PodFact], now: list[PodFact], before: frozenset[str]) -> Effect:
    return conclude(look(victims, before, now), 1.0, "").effect


def test_a13_a_pod_that_was_coming_up_before_the_deed_is_no_replacement() -> None:
    victim, coming = pod(0), pod(1, ready=False)
    now = [pod(1)]
    assert evidence_of([victim], now, frozenset({victim.uid, coming.uid})) is Effect.UNCLEAR


def test_a13_a_terminating_or_unready_pod_is_no_replacement() -> None:
    victim = pod(0)
    for fresh in (pod(1, terminating=True), pod(1, ready=False)):
        assert evidence_of([victim], [fresh], frozenset({victim.uid})) is Effect.UNCLEAR


def test_a_pod_of_the_same_name_with_another_uid_is_a_replacement() -> None:
    victim = pod(0)
    assert evidence_of([victim], [pod(0, uid="other")], frozenset({victim.uid})) is Effect.CONFIRMED


def test_a_victim_that_still_serves_is_absent_and_one_that_is_leaving_is_unclear() -> None:
    victim = pod(0)
    assert evidence_of([victim], [victim], frozenset({victim.uid})) is Effect.ABSENT
    assert evidence_of([victim], [pod(0, terminating=True)], frozenset({victim.uid})) is Effect.UNCLEAR


def test_pods_that_could_never_be_read_prove_nothing() -> None:
    assert conclude(None, 3.0, "kubernetes: list pods: reset").effect is Effect.UNCLEAR


def test_a_stop_request_between_the_permit_and_the_deed_touches_nothing() -> None:
    on = bench()
    context = on.context
    write = on.cluster.write

    def slow_write(record: UndoRecord) -> None:
        write(record)
        on.stop_at_s = 0.0  # asked for while the API server kept us

    on.cluster.write = slow_write  # type: ignore[method-assign]
    with pytest.raises(FaultError, match="stopped: somebody asked"):
        drive(FAULTS["kill_pods"].steps(context, plan("kill_pods", count=2)), on.cluster.clock)
    assert on.steps() == ["due", "permit", "undo-recorded", "failed"]
    assert on.last()["effect"] == Effect.ABSENT.value
    assert not [line for line in on.cluster.log if line.startswith("kill")]


def test_e07_after_a_stop_request_no_further_pod_is_evicted() -> None:
    on = bench(answers=[BLOCKED] * 4)
    on.stop_at_s = 1.0
    with pytest.raises(FaultError, match="was not asked for any more"):
        carry_out(on, "evict_pods", count=3)
    assert len({line.split()[1] for line in on.cluster.log if line.startswith("evict")}) == 1
