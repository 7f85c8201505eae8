"""The judge: registries in, verdicts and exit status out; never a crash, never a silent green."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from harness.judge import Judgement, exit_status, judge
from harness.model.experiment import AssertionSpec
from harness.model.record import Ending
from harness.model.verdict import Outcome, Verdict
from tests.replay.builders import Run, blank_run, good_run, hpa
from tests.replay.keda_builders import keda_run


def answer(run: Run) -> Judgement:
    return judge(run.record(), ASSERTIONS, ASSUMPTIONS)


def by_kind(judgement: Judgement) -> Mapping[str, Verdict]:
    return {verdict.kind: verdict for verdict in judgement.verdicts}


@pytest.mark.parametrize("make", [good_run, keda_run])
def test_a_good_run_passes_everything_and_ends_with_0(make: Any) -> None:
    judgement = answer(make())
    assert {v.outcome for v in judgement.verdicts} == {Outcome.PASS}
    assert judgement.exit_status == 0


def test_the_same_record_gives_the_same_judgement() -> None:
    record = good_run().record()
    assert judge(record, ASSERTIONS, ASSUMPTIONS) == judge(record, ASSERTIONS, ASSUMPTIONS)


def test_a_judge_that_crashes_is_inconclusive_and_does_not_take_the_others_along() -> None:
    def crash(record: Any, spec: Any) -> Verdict:
        raise ZeroDivisionError("tokens per second")

    broken = {**ASSERTIONS, "latency": replace(ASSERTIONS["latency"], judge=crash)}
    verdicts = {v.kind: v for v in judge(good_run().record(), broken, ASSUMPTIONS).verdicts}
    assert verdicts["latency"].outcome is Outcome.INCONCLUSIVE
    assert "ZeroDivisionError: tokens per second" in verdicts["latency"].reason
    assert verdicts["error_budget"].outcome is Outcome.PASS


def test_an_assumption_that_crashes_cannot_be_told() -> None:
    def crash(record: Any) -> Any:
        raise KeyError("cpu_ratio")

    found = judge(good_run().record(), ASSERTIONS, {**ASSUMPTIONS, "generator_healthy": crash})
    assert by_kind(found)["error_budget"].outcome is Outcome.INCONCLUSIVE
    assert by_kind(found)["pdb_safety"].outcome is Outcome.PASS


def test_a_kind_without_a_judge_is_inconclusive() -> None:
    run = good_run()
    run.experiment = replace(run.experiment, assertions=(AssertionSpec("x", "no_such_kind"),))
    assert "no judge of kind 'no_such_kind'" in answer(run).verdicts[0].reason


def test_no_assertion_at_all_is_inconclusive() -> None:
    run = good_run()
    run.experiment = replace(run.experiment, assertions=())
    assert answer(run).outcome is Outcome.INCONCLUSIVE
    assert answer(run).exit_status == 20


def test_a_pass_without_its_needs_is_inconclusive_and_names_them() -> None:
    run = good_run()
    run.drop("fault", lambda t, s, d: False)
    found = by_kind(answer(run))
    assert found["error_budget"].outcome is Outcome.INCONCLUSIVE
    assert "faults_took_effect does not hold" in found["error_budget"].reason
    assert "would be PASS" in found["error_budget"].reason
    assert found["restored"].outcome is Outcome.PASS


def test_a_fail_stays_a_fail_where_only_the_needs_of_a_pass_are_missed() -> None:
    run = good_run()
    run.drop("fault", lambda t, s, d: False)
    run.requests["latency_s"] = 0.9
    assert by_kind(answer(run))["latency"].outcome is Outcome.FAIL


def test_a_fail_without_its_own_needs_is_inconclusive() -> None:
    run = good_run()
    run.requests["latency_s"] = 0.9
    run.requests_lost = 5
    verdict = by_kind(answer(run))["latency"]
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "would be FAIL" in verdict.reason


def test_a_load_below_its_floor_turns_what_leans_on_it_inconclusive() -> None:
    run = good_run()
    run.requests = run.requests[(run.requests["intended_s"] < 52) | (run.requests["seq"] % 2 > 0)]
    run.series.pop("gateway_requests_total")
    from tests.replay.builders import add_gateway  # noqa: PLC0415

    add_gateway(run)
    found = by_kind(answer(run))
    for kind in ("autoscaler_response", "error_budget", "backlog", "pdb_safety", "latency"):
        assert found[kind].outcome is Outcome.INCONCLUSIVE, kind
        assert "load_reached_floor does not hold" in found[kind].reason
    assert answer(run).exit_status == 20


def test_prometheus_gone_half_way_turns_budget_and_backlog_inconclusive_and_nothing_else() -> None:
    run = good_run()
    for name in run.series:
        run.reshape(name, lambda t, v: (t[t < 90], v[t < 90]))
    found = by_kind(answer(run))
    unclear = {kind for kind, verdict in found.items() if verdict.outcome is Outcome.INCONCLUSIVE}
    assert unclear == {"error_budget", "backlog"}


def test_a_hole_in_one_signal_touches_only_what_asks_for_it() -> None:
    run = good_run()
    run.series["queue_lag"] = []
    found = by_kind(answer(run))
    assert found["backlog"].outcome is Outcome.INCONCLUSIVE
    assert found["error_budget"].outcome is Outcome.PASS


def test_an_autoscaler_that_was_deleted_fails_even_below_the_floor_of_load() -> None:
    run = good_run()
    run.fact(80, hpa(9, 80, deleted=True))
    run.requests_lost = 5
    assert by_kind(answer(run))["autoscaler_response"].outcome is Outcome.FAIL


# Endings


def found_before(run: Run, subject: str = "hpa agents/planner", kind: str = "autoscaler_response") -> Run:
    blank = blank_run()
    blank.experiment = run.experiment
    blank.ended(Ending.ABORTED, f"preflight: there is no {subject}; nothing was touched")
    told = {"code": "missing", "message": f"there is no {subject}", "remedy": "make one", "concerns": [kind]}
    blank.say(5, "harness", "finding", subject, **told)
    return blank


def test_a_finding_fails_its_own_assertion_and_leaves_the_others_open() -> None:
    judgement = answer(found_before(good_run()))
    found = by_kind(judgement)
    assert found["autoscaler_response"].outcome is Outcome.FAIL
    assert "there is no hpa agents/planner" in found["autoscaler_response"].reason
    others = {kind: v for kind, v in found.items() if kind != "autoscaler_response"}
    assert {v.outcome for v in others.values()} == {Outcome.INCONCLUSIVE}
    assert all("not run: there is no hpa agents/planner" in v.reason for v in others.values())
    assert judgement.exit_status == 1


def test_of_two_assertions_of_a_kind_the_finding_fails_the_one_that_names_its_object() -> None:
    run = found_before(good_run())
    two = tuple(
        AssertionSpec(name, "autoscaler_response", {"autoscaler": f"hpa/agents/{name}"}) for name in ("planner", "gpu")
    )
    run.experiment = replace(run.experiment, assertions=two)
    assert [v.outcome for v in answer(run).verdicts] == [Outcome.FAIL, Outcome.INCONCLUSIVE]


def test_a_refusal_leaves_everything_open_with_its_remedy() -> None:
    run = blank_run()
    run.ended(Ending.REFUSED, "refused (lease-held): run 42 holds the Lease")
    run.say(3, "harness", "refusal", "lease-held", message="run 42 holds the Lease", remedy="wait for it")
    judgement = answer(run)
    assert {v.outcome for v in judgement.verdicts} == {Outcome.INCONCLUSIVE}
    assert all("run 42 holds the Lease" in v.reason and v.remedy == "wait for it" for v in judgement.verdicts)
    assert judgement.exit_status == 20


def test_a_refused_identity_ends_with_4() -> None:
    run = blank_run()
    run.ended(Ending.REFUSED, "refused (identity): another cluster")
    run.say(3, "harness", "refusal", "identity", message="another cluster", remedy="")
    assert answer(run).exit_status == 4


def test_a_stopped_run_passes_nothing_but_tells_what_was_taken_back() -> None:
    run = good_run()
    run.ended(Ending.STOPPED, "SIGINT")
    judgement = answer(run)
    found = by_kind(judgement)
    assert {kind for kind, v in found.items() if v.outcome is Outcome.PASS} == {"restored"}
    assert judgement.exit_status == 2


def test_a_stopped_run_does_not_fail_the_budget_for_the_requests_that_it_cut_off() -> None:
    run = good_run()
    run.ended(Ending.STOPPED, "SIGINT")
    run.requests.loc[run.requests.index[-200:], "outcome"] = "unfinished"
    run.requests.loc[run.requests.index[-200:], "status"] = 0
    assert by_kind(answer(run))["error_budget"].outcome is Outcome.INCONCLUSIVE


def test_a_run_that_was_killed_ends_with_3_also_when_something_is_broken() -> None:
    run = good_run()
    run.undo[0]["done"] = False
    run.ended(None)
    judgement = answer(run)
    assert by_kind(judgement)["restored"].outcome is Outcome.FAIL
    assert judgement.exit_status == 3


def test_a_gate_that_was_missed_is_inconclusive_a01() -> None:
    run = good_run()
    run.ended(Ending.ABORTED, "gate baseline: planner-has-two-ready-pods: 1 Ready; no fault was injected")
    run.drop("fault")
    judgement = answer(run)
    assert Outcome.PASS not in {v.outcome for v in judgement.verdicts if v.kind != "restored"}
    assert judgement.exit_status == 20


@pytest.mark.parametrize("ending", [None, *Ending])
@pytest.mark.parametrize("outcome", Outcome)
def test_only_a_completed_run_in_which_all_held_ends_with_0(ending: Ending | None, outcome: Outcome) -> None:
    run = good_run()
    run.ended(ending, "because")
    verdict = Verdict("x", "latency", outcome, "", "", "")
    status = exit_status(run.record(), [verdict])
    assert (status == 0) == (ending is Ending.COMPLETED and outcome is Outcome.PASS)


# Registries


@pytest.mark.parametrize("kind", sorted(ASSERTIONS))
def test_every_definition_is_complete(kind: str) -> None:
    definition = ASSERTIONS[kind]
    jsonschema.Draft202012Validator.check_schema(dict(definition.params_schema))
    assert definition.kind == kind
    assert definition.question.endswith("?")
    assert set(definition.needs_for_pass) <= ASSUMPTIONS.keys()
    assert set(definition.needs_for_fail) <= ASSUMPTIONS.keys()


def test_the_limits_of_the_good_run_fit_their_schemas_and_unknown_keys_do_not() -> None:
    for spec in good_run().experiment.assertions:
        schema = dict(ASSERTIONS[spec.kind].params_schema)
        jsonschema.validate(dict(spec.params), schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**spec.params, "no_such_key": 1}, schema)


# Truncated records

KINDS = ["phase", "gate", "watch", "load", "load-edge", "pod", "workload", "hpa", "pdb", "fault", "undo"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cut_s=st.floats(0, 200),
    dropped=st.sets(st.sampled_from(KINDS)),
    keep=st.floats(0, 1),
    series=st.sets(st.sampled_from(["gateway_requests_total", "queue_depth", "queue_up", "tasks_dead"])),
)
def test_no_truncated_record_crashes_a_judge_or_passes_without_evidence(
    cut_s: float, dropped: set[str], keep: float, series: set[str]
) -> None:
    run = good_run()
    run.events = [e for e in run.events if e[0] <= cut_s and e[2] not in dropped]
    run.requests = run.requests.iloc[: int(len(run.requests) * keep)]
    for name in series:
        run.series.pop(name)
    found = by_kind(answer(run))
    assert not [v.reason for v in found.values() if "crashed" in v.reason]
    if cut_s < 152 or "load" in dropped or "load-edge" in dropped or keep < 0.9:
        passed = {kind for kind, v in found.items() if v.outcome is Outcome.PASS}
        assert passed <= {"restored"}
