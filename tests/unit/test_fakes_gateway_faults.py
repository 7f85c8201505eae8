"""Faults at the gateway in the twin: who meets them, what is counted, and what a game day makes of them."""

from pathlib import Path

from harness import registries
from harness.fakes.gateway_faults import ABORTS, DELAYS, GatewayFaults
from harness.fakes.queue import SimulatedQueue
from tests.unit.twin_runs import Rehearsal, rehearse

SHIPPED = "tool-api-rate-limit"
TOOL_API = "part: tool-api, abort_percent: 100, abort_status: 429"


def filters(**values: int) -> GatewayFaults:
    made = GatewayFaults(7)
    made.load({f"gameday.gateway.{key}": str(value) for key, value in values.items()})
    return made


def variant(folder: Path, arguments: str) -> Rehearsal:
    text = registries.experiment_path(SHIPPED).read_text()
    assert TOOL_API in text
    path = folder / f"{SHIPPED}.yaml"
    path.write_text(text.replace(TOOL_API, arguments))
    return rehearse(path)


def test_a_share_of_the_requests_of_one_part_is_aborted_and_counted() -> None:
    on = filters(abort_percent=50, abort_status=504)
    aborted = [on.meet("gateway")[1] for _ in range(400)]
    assert set(aborted) == {0, 504} and 150 < aborted.count(504) < 250
    assert {on.meet("tool_api") for _ in range(50)} == {(0.0, 0)}
    counted = {
        (labels["__name__"], labels["envoy_http_conn_manager_prefix"]): value for _, labels, value in on.samples()
    }
    assert counted[ABORTS, "gateway"] == aborted.count(504) and sum(counted.values()) == aborted.count(504)


def test_a_delay_and_an_abort_of_one_request_are_both_counted() -> None:
    on = filters(abort_percent=100, abort_status=503, delay_percent=100, delay_ms=700)
    assert on.meet("gateway") == (0.7, 503)
    assert (on.injected["gateway", DELAYS], on.injected["gateway", ABORTS]) == (1, 1)
    on.load({})
    assert on.meet("gateway") == (0.0, 0)


def test_a_refused_tool_call_is_made_again_and_its_task_is_not_lost() -> None:
    refused = True
    queue = SimulatedQueue(meet=lambda: (0.0, 429 if refused else 0))
    queue.add(8, 0.0)
    queue.work(1, 10.0)
    assert (queue.done, queue.depth, queue.age_s(10.0)) == (0, 8, 10.0)
    refused = False
    queue.work(1, 13.0)
    assert (queue.done, queue.depth) == (8, 0)


def test_half_of_the_answers_aborted_at_the_entry_break_the_error_budget(tmp_path: Path) -> None:
    run = variant(tmp_path, "part: gateway, abort_percent: 50")
    budget = run.verdicts["error-budget"]
    assert str(budget.outcome) == "FAIL" and "requests were bad" in budget.reason, budget.reason
    assert str(run.verdicts["restored"].outcome) == "PASS", run.verdicts["restored"].reason
    aborted = run.twin.filters.injected["gateway", ABORTS]
    assert aborted == (run.record.requests["status"] == 503).sum() > 0


def test_tool_calls_that_are_refused_leave_the_error_budget_and_lose_no_task() -> None:
    run = rehearse(SHIPPED)
    assert str(run.verdicts["error-budget"].outcome) == "PASS", run.verdicts["error-budget"].reason
    assert run.twin.filters.injected["tool_api", ABORTS] > 0
    assert run.twin.queue.enqueued == run.twin.queue.done > 0
    (found,) = run.record.timeline.injections()
    assert "aborts at tool-api" in found.reason


def test_a_part_that_nobody_calls_has_no_proof(tmp_path: Path) -> None:
    run = variant(tmp_path, "part: inference, delay_percent: 100, delay_ms: 300")
    (found,) = run.record.timeline.injections()
    assert str(found.effect.value) == "ABSENT" and "0 delays at inference" in found.reason


def test_a_delay_at_the_entry_shows_in_the_latency_of_the_answers(tmp_path: Path) -> None:
    slow, usual = variant(tmp_path, "part: gateway, delay_percent: 100, delay_ms: 300"), rehearse(SHIPPED)
    counts = [int((run.record.requests["latency_s"] >= 0.3).sum()) for run in (slow, usual)]
    assert counts == [slow.twin.filters.injected["gateway", DELAYS], 0]
