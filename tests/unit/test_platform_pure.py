"""The platform's pure parts: settings, bodies, admission, CPU work, the simulated device, failure injection, logs."""

import asyncio
import json
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.platform import bodies, cpu_work, jsonlog, planner, queue_state, tool_adapter
from testbed.platform.admission import Admission, Shed
from testbed.platform.device import BusyWindow
from testbed.platform.settings import Environment, SettingsError
from testbed.platform.tasks import Delivery, Task


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("x", "is not a number"),
        ("-1", "must be from 0 to 10"),
        ("11", "must be from 0 to 10"),
        ("nan", "must be from 0 to 10"),
        ("1.5", "must be a whole number"),
    ],
)
def test_a_bad_number_names_the_variable_its_value_and_what_is_allowed(raw: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"LIMIT.*{message}"):
        Environment({"LIMIT": raw}).integer("LIMIT", 5, 0, 10)


def test_a_missing_value_takes_the_default_and_an_empty_one_counts_as_missing() -> None:
    assert Environment({"LIMIT": " "}).integer("LIMIT", 5, 0, 10) == 5


@pytest.mark.parametrize("raw", ["redis", "redis:", ":6379", "redis:0", "redis:70000", "redis:x"])
def test_an_address_that_is_not_host_and_port_is_refused(raw: str) -> None:
    with pytest.raises(SettingsError, match=r"REDIS_ADDRESS.*host:port"):
        Environment({"REDIS_ADDRESS": raw}).host_port("REDIS_ADDRESS")


def test_bind_ip_wins_over_pod_ip() -> None:
    assert Environment({"BIND_IP": "127.44.1.1", "POD_IP": "198.18.1.1"}).bind_ip() == "127.44.1.1"
    assert Environment({"POD_IP": "10.244.0.9"}).bind_ip() == "10.244.0.9"


def test_a_pod_path_lies_below_the_pods_root_only_where_there_is_one() -> None:
    assert str(Environment({"GAMEDAY_POD_ROOT": "/pods/x"}).pod_path("/data")) == "/pods/x/data"
    assert str(Environment({"GAMEDAY_POD_ROOT": ""}).pod_path("/data")) == "/data"
    assert str(Environment({}).pod_path("/data")) == "/data"


def test_a_later_check_of_adapter_settings_names_both_variables() -> None:
    env = {"BIND_IP": "127.0.0.1", "REDIS_ADDRESS": "h:1", "POD_NAME": "a", "TASK_CLAIM_IDLE_MS": "300"}
    with pytest.raises(SettingsError, match="TASK_CLAIM_IDLE_MS=300 must be at least twice TOOL_LATENCY_MS=200"):
        tool_adapter.AdapterSettings.from_env(Environment(env))


def test_adapter_settings_leave_a_tool_call_its_whole_budget_before_the_task_is_taken_over() -> None:
    env = {"BIND_IP": "127.0.0.1", "REDIS_ADDRESS": "h:1", "POD_NAME": "a", "TOOL_API_URL": "http://127.0.0.1:1/"}
    tool_api = tool_adapter.AdapterSettings.from_env(Environment(env)).tool_api
    assert tool_api is not None
    assert (tool_api.url, tool_api.longest_ms) == ("http://127.0.0.1:1", 3500)
    with pytest.raises(SettingsError, match="and the 3500 ms of TOOL_API_BUDGET_S"):
        tool_adapter.AdapterSettings.from_env(Environment(env | {"TASK_CLAIM_IDLE_MS": "3800"}))


def test_a_local_adapter_refuses_a_tool_api_off_the_machine() -> None:
    env = {"BIND_IP": "127.0.0.1", "REDIS_ADDRESS": "h:1", "POD_NAME": "a", "TOOL_API_URL": "http://10.96.0.7:8080"}
    with pytest.raises(SettingsError, match="not on loopback"):
        tool_adapter.AdapterSettings.from_env(Environment(env))
    assert tool_adapter.AdapterSettings.from_env(Environment(env | {"POD_ADDRESSES": "routable"})).tool_api


def test_the_same_turn_always_has_the_same_task_ids() -> None:
    turn = bodies.turn_of({"conversation_id": "c", "turn": 2, "tool_calls": 2}, tool_calls_max=8)
    first, second = planner.tasks_of(turn, now_ms=1), planner.tasks_of(turn, now_ms=9)
    assert [t.task_id for t in first] == [t.task_id for t in second] == ["c:2:0", "c:2:1"]


def test_a_payload_may_be_any_json() -> None:
    turn = bodies.turn_of({"conversation_id": "c", "payload": {"a": [1, 2]}}, tool_calls_max=8)
    assert json.loads(turn.payload) == {"a": [1, 2]}


def test_admission_runs_some_queues_some_and_sheds_the_rest_in_order() -> None:
    async def story() -> None:
        admission = Admission(concurrency_max=1, queue_max=1)
        order: list[str] = []
        leave = asyncio.Event()

        async def enter(name: str) -> None:
            async with admission.slot():
                order.append(name)
                await leave.wait()

        first, second = asyncio.create_task(enter("first")), asyncio.create_task(enter("second"))
        await asyncio.sleep(0)
        assert admission.inside == 2
        with pytest.raises(Shed):
            await enter("third")
        leave.set()
        await asyncio.gather(first, second)
        assert order == ["first", "second"]
        assert admission.inside == 0

    asyncio.run(story())


def test_a_cancelled_wait_gives_its_place_back() -> None:
    async def story() -> None:
        admission = Admission(concurrency_max=1, queue_max=1)
        async with admission.slot():
            waiting = asyncio.create_task(admission.slot().__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert admission.inside == 1
        assert admission.inside == 0

    asyncio.run(story())


def test_cpu_work_spends_thread_time_and_lets_others_run_in_between() -> None:
    async def story() -> None:
        turns_of_the_loop = 0

        async def count() -> None:
            nonlocal turns_of_the_loop
            while True:
                turns_of_the_loop += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        before = time.thread_time()
        await cpu_work.spend(0.02)
        assert time.thread_time() - before >= 0.02
        counter.cancel()
        assert turns_of_the_loop >= 5

    asyncio.run(story())


def test_busy_share_counts_finished_and_running_work_inside_the_window_only() -> None:
    window = BusyWindow(window_s=10)
    window.begin(0)
    window.end(4)
    assert window.busy_ratio(10) == pytest.approx(0.4)
    assert window.busy_ratio(12) == pytest.approx(0.2)
    window.begin(14)
    assert window.busy_ratio(19) == pytest.approx(0.5)
    window.end(19)
    assert window.busy_ratio(40) == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), max_size=20))
def test_busy_share_is_always_a_share(steps: list[tuple[float, float]]) -> None:
    window, now_s = BusyWindow(window_s=5), 0.0
    for idle_s, busy_s in steps:
        now_s += idle_s
        window.begin(now_s)
        now_s += busy_s
        window.end(now_s)
        assert 0 <= window.busy_ratio(now_s) <= 1


def delivery(number: int, deliveries: int) -> Delivery:
    return Delivery("1-0", Task(f"c:0:{number}", "c", 0, 0), deliveries)


def test_injected_failures_are_the_same_in_every_run_and_near_their_ratio() -> None:
    failed = [tool_adapter.attempt_fails(delivery(n, 1), 0.3) for n in range(2000)]
    assert failed == [tool_adapter.attempt_fails(delivery(n, 1), 0.3) for n in range(2000)]
    assert 0.25 < sum(failed) / 2000 < 0.35
    assert not any(tool_adapter.attempt_fails(delivery(n, 1), 0.0) for n in range(100))
    assert all(tool_adapter.attempt_fails(delivery(n, 1), 1.0) for n in range(100))


def test_a_second_attempt_may_fare_otherwise() -> None:
    changed = [n for n in range(100) if _fails(n, 1) != _fails(n, 2)]
    assert changed


def _fails(number: int, deliveries: int) -> bool:
    return tool_adapter.attempt_fails(delivery(number, deliveries), 0.5)


def test_the_oldest_of_pending_and_undelivered_gives_the_age() -> None:
    raw = {
        "now_ms": 10_000, "depth": 2, "pending": 1, "lag": 1, "dead_letters": 0, "enqueued": 2, "done": 0, "dead": 0,
        "duplicate": 0, "late": 0, "undelivered_id": "7000-0", "pending_id": "4000-3",
    }  # fmt: skip
    assert queue_state.parse(json.dumps(raw)).oldest_age_s == 6.0
    del raw["pending_id"]
    assert queue_state.parse(json.dumps(raw)).oldest_age_s == 3.0
    del raw["undelivered_id"]
    assert queue_state.parse(json.dumps(raw)).oldest_age_s == 0.0


def test_a_log_line_is_one_json_object_with_its_fields() -> None:
    record = logging.LogRecord("platform", logging.INFO, "f", 1, "task done", None, None)
    record.fields = {"task_id": "c:0:1"}
    line = jsonlog.JsonFormatter("tool-adapter", "pod-1").format(record)
    assert "\n" not in line
    loaded = json.loads(line)
    assert loaded["task_id"] == "c:0:1"
    assert (loaded["program"], loaded["pod"], loaded["level"]) == ("tool-adapter", "pod-1", "info")
