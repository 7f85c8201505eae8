"""Conversations beside the arrivals: affinity, think time, patience, streams, and books of their own."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from harness.drivers.locust_driver import LocustDriver
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError
from harness.model.load import TURN_MARK, LoadWorkers
from harness.ports import Observation
from loadprofiles.reference import PLANNER
from loadprofiles.shapes import burst_stages
from tests.contract.scripted_server import Asked, ScriptedServer
from tests.contract.test_load_driver import GET_USER, edges, listen, plan_of
from tests.contract.test_load_workers import worker_processes

STAGES = burst_stages(10.0, 20.0, baseline_s=1.0, burst_s=3.0, cooldown_s=0.5, ramp_s=0.5)
ARRIVALS = 10 + 7.5 + 60 + 5
USERS = "tests.contract.talk_users:"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[LocustDriver]:
    made = LocustDriver(RealClock.starting_now(), tmp_path)
    yield made
    made.stop()


class Said:
    """What a load came to."""

    def __init__(
        self, driver: LocustDriver, server: ScriptedServer, talkers: dict[str, int], **changes: object
    ) -> None:
        changes = {"stages": STAGES, "user_classes": {GET_USER: 1.0}, "conversations": talkers, **changes}
        driver.start(plan_of(server.url, **changes))
        self.seen: list[Observation] = listen(driver, "ended")
        driver.stop()
        rows, self.lost = driver.collect()
        turns = rows["endpoint"].astype(str).str.startswith(TURN_MARK)
        self.turns: pd.DataFrame = rows[turns]
        self.arrivals: pd.DataFrame = rows[~turns]
        self.ended = edges(self.seen)["ended"].detail

    def snapshots(self, key: str) -> list[float]:
        return [float(o.detail[key]) for o in self.seen if o.kind == "load"]


def by_conversation(asked: list[Asked]) -> dict[str, list[Asked]]:
    found: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        if conversation := one.headers.get("x-conversation-id"):
            found[conversation].append(one)
    return found


def test_turns_are_rows_and_no_arrivals(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        said = Said(driver, server, {USERS + "Talker": 4})
    assert said.lost == 0
    assert len(said.arrivals) + len(said.turns) == len(server.asked)
    assert len(said.arrivals) == pytest.approx(ARRIVALS, abs=1)
    assert (said.ended["offered"], said.ended["dropped"]) == (len(said.arrivals), 0)
    assert set(said.turns["endpoint"]) == {"turn: GET /talk"}
    assert said.ended["turns"] == len(said.turns) > 4 * 5 / 0.2
    assert set(said.turns["outcome"]) == {"ok"}
    assert sum(said.snapshots("achieved_rps")[:5]) == pytest.approx(ARRIVALS, abs=10)
    assert sum(said.snapshots("turns_rps")) > len(said.turns) / 2
    assert (said.turns["start_s"] - said.turns["intended_s"]).max() < 0.5


def test_a_conversation_has_one_id_one_connection_and_one_cookie(driver: LocustDriver) -> None:
    with ScriptedServer(lambda number: "cookie") as server:
        Said(driver, server, {USERS + "Talker": 3})
    talks = by_conversation(server.asked)
    assert len(talks) > 10
    whole = [asked for asked in talks.values() if len(asked) == 3]
    assert len(whole) >= len(talks) - 3  # but for those that were on at the end
    assert {len({one.connection for one in asked}) for asked in talks.values()} == {1}
    assert len({asked[0].connection for asked in talks.values()}) == len(talks)
    assert {tuple(one.headers.get("cookie", "") for one in asked) for asked in whole} == {("", "pod=p7", "pod=p7")}


def test_a_stall_gives_fewer_turns_and_no_late_generator(driver: LocustDriver) -> None:
    began_s = time.monotonic()

    def stalled(number: int) -> str:
        return "hang" if number >= 40 and time.monotonic() - began_s < 3600 else "ok"

    with ScriptedServer(stalled) as server:
        said = Said(driver, server, {USERS + "Hasty": 5}, request_timeout_s=1.5)
    assert set(said.turns["outcome"]) == {"ok", "timeout"}
    assert len(said.turns) <= 40 + 5 * 5
    assert (said.turns["start_s"] - said.turns["intended_s"]).max() < 0.5
    assert said.ended["errors"]["total-timeout"] >= 5


@pytest.mark.parametrize(("who", "again"), [("Talker", False), ("ComesBack", True)])
def test_a_person_without_an_answer_hangs_up_and_the_conversation_is_over(
    driver: LocustDriver, who: str, again: bool
) -> None:
    with ScriptedServer(lambda number: "hang") as server:
        said = Said(driver, server, {USERS + who: 2}, request_timeout_s=2.0)
    assert {len(asked) for asked in by_conversation(server.asked).values()} == {1}
    gave_up = said.turns[said.turns["outcome"] == "timeout"]
    assert gave_up["latency_s"].between(0.25, 0.8).all()
    assert len(gave_up) == len(said.turns) == said.ended["errors"]["gave-up"] == said.ended["gave_up"] > 4
    pauses_s = gave_up["intended_s"].sort_values().diff(2).dropna() - 0.3
    assert (pauses_s.min() > 0.15) == again  # they think of something else meanwhile


def test_a_stream_is_one_row_with_its_events_counted(driver: LocustDriver) -> None:
    def script(number: int) -> str:
        return "events-cut" if number == 5 else "events"

    with ScriptedServer(script) as server:
        said = Said(
            driver, server, {USERS + "Listener": 2}, user_classes={USERS.replace("talk", "load") + "GetUser": 1.0}
        )
    heard = said.ended["streams"]["GET /events"]
    assert heard["streams"] == len(said.turns)
    assert heard["without_event"] == 0
    assert 0 < heard["first_event_mean_s"] <= heard["first_event_max_s"] < 1.0
    assert heard["events"] >= 5 * (len(said.turns) - 3)
    good = said.turns[said.turns["outcome"] == "ok"]
    assert set(good["endpoint"]) == {"turn: GET /events"}
    assert good["latency_s"].min() > 0.2  # to the last byte
    assert "user code raised AssertionError" not in said.ended["errors"]


def test_a_stream_cut_off_is_broken_and_one_without_an_end_is_closed_at_the_stop(driver: LocustDriver) -> None:
    def script(number: int) -> str:
        return "events-cut" if number % 3 == 0 else "events-endless"

    with ScriptedServer(script) as server:
        said = Said(
            driver, server, {USERS + "Listener": 12}, stages=burst_stages(1, 2, baseline_s=1, burst_s=2, cooldown_s=1)
        )
    found = Counter(said.turns["outcome"])
    # One without an end goes on for minutes: its row ended as unfinished, so nobody waited for more of it.
    assert found["broken"] > 0 and found["unfinished"] == 12
    assert set(found) == {"broken", "unfinished"}
    assert said.ended["errors"]["cut-off"] == found["broken"]
    assert said.lost == 0


def test_conversations_stay_under_what_the_target_allows_beside_the_arrivals(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        said = Said(driver, server, {USERS + "Hasty": 20}, rate_max_rps=50.0)
    in_second = Counter(said.turns["start_s"].astype(int))
    assert max(in_second.values()) <= 30 * 1.3
    assert said.ended["turns_held_back"] > 0
    assert len(said.arrivals) == pytest.approx(ARRIVALS, abs=1)
    assert set(said.turns["outcome"]) == {"ok"}


def test_people_are_as_many_with_several_workers(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        said = Said(driver, server, {USERS + "Talker": 4}, workers=LoadWorkers(count=2))
    assert said.lost == 0
    assert len(said.arrivals) + len(said.turns) == len(server.asked)
    assert set(said.arrivals["worker"]) == {0, 1}
    assert said.ended["turns"] == len(said.turns)
    assert len({asked.headers["x-conversation-id"].rpartition("-")[0] for asked in server.asked
                if "x-conversation-id" in asked.headers}) == 4  # fmt: skip


def test_the_people_of_a_killed_worker_are_replaced_by_others(driver: LocustDriver) -> None:
    stages = burst_stages(10.0, 20.0, baseline_s=3.0, burst_s=8.0, cooldown_s=1.0)
    with ScriptedServer() as server:
        changes = {"stages": stages, "user_classes": {GET_USER: 1.0}, "workers": LoadWorkers(count=2)}
        driver.start(plan_of(server.url, conversations={USERS + "Talker": 6}, **changes))
        time.sleep(3)
        worker_processes(driver)[0].kill()
        time.sleep(5)
        before = len(server.asked)
        seen = listen(driver, "ended")
        driver.stop()
    talks = [one.headers["x-conversation-id"] for one in server.asked[before:] if "x-conversation-id" in one.headers]
    assert "worker-lost" in edges(seen)
    assert len({talk.rpartition("-")[0] for talk in talks}) == 6


def test_the_planner_is_talked_to_in_its_words(driver: LocustDriver) -> None:
    options = {"think_s": "0.05-0.1", "turns": "2-2", "tool_calls": 1}
    with ScriptedServer() as server:
        said = Said(driver, server, {"PlannerConversation": 2}, user_classes={PLANNER: 1.0}, options=options)
    assert set(said.turns["endpoint"]) == {"turn: POST /v1/plan"}
    bodies = [json.loads(one.body) for one in server.asked if "x-conversation-id" in one.headers]
    turns = Counter((body["conversation_id"], body["turn"]) for body in bodies)
    assert max(turns.values()) == 1
    assert {body["turn"] for body in bodies} == {0, 1}
    assert {body["tool_calls"] for body in bodies} == {1}


def test_people_who_say_nothing_are_named(driver: LocustDriver) -> None:
    with ScriptedServer() as server:
        driver.start(
            plan_of(server.url, stages=STAGES, user_classes={GET_USER: 1.0}, conversations={USERS + "Mute": 2})
        )
        lost = edges(listen(driver, "lost"))["lost"]
    assert f"{USERS}Mute" in lost.detail["reason"] and "GetUser" not in lost.detail["reason"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conversations": {GET_USER: 2}, "user_classes": {PLANNER: 1.0}}, "holds no conversations"),
        ({"conversations": {USERS + "NoTalker": 2}}, "holds no conversations"),
        ({"conversations": {USERS + "Talker": 0}}, "without users"),
        ({"conversations": {GET_USER: 1}}, "for arrivals and for conversations"),
        ({"user_classes": {USERS + "Talker": 1.0}}, "keeps its own time"),
        ({"conversations": {USERS + "Talker": 2}, "rate_max_rps": 20.0}, "is left for conversations"),
        ({"conversations": {USERS + "Talker": 2}, "options": {"think_s": "6-2"}}, "does not rise"),
        ({"conversations": {USERS + "Talker": 2}, "options": {"turns": "some"}}, "is no range"),
        ({"conversations": {USERS + "Talker": 2}, "stages": burst_stages(0, 0, baseline_s=1, burst_s=1, cooldown_s=1)},
         "conversations and no arrivals"),
    ],
)  # fmt: skip
def test_conversations_that_cannot_be_held_are_refused(
    driver: LocustDriver, changes: dict[str, object], message: str
) -> None:
    with ScriptedServer() as server:
        with pytest.raises(PortError, match=message):
            driver.start(plan_of(server.url, **{"stages": STAGES, "user_classes": {GET_USER: 1.0}, **changes}))
    assert server.connections == 0
