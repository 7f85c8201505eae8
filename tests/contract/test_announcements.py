"""Who is told of a run, and the silence of expected alerts, against doubles of the real APIs on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from harness.announce import AnnouncedLoad, Announcer
from harness.announce_http import channels_of, silences_of
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError, Refusal
from harness.model.fault import UndoRecord
from harness.model.record import Ending
from harness.model.target import Announce, Target
from harness.undo import explain
from tests.contract.announce_peers import Peers
from tests.contract.plain_front import PlainServer
from tests.unit.conductor_doubles import EXPERIMENT, TARGET

ENVIRON = {"HOOK": "", "GRAFANA_TOKEN": "pl4nted-peer-token", "AM_TOKEN": "pl4nted-peer-token"}
RUN = "20261128-0800-e-1a2b"


class Records:
    """A ledger that only remembers."""

    def __init__(self, order: list[str]) -> None:
        self.records: list[UndoRecord] = []
        self._order = order

    def write(self, record: UndoRecord) -> dict[str, Any]:
        self.records.append(record)
        self._order.append("ledger")
        return {}


class Load:
    """A load that only remembers that it was started."""

    def __init__(self, order: list[str]) -> None:
        self._order = order

    def start(self, plan: object) -> None:
        self._order.append("load")

    def poll(self) -> list[Any]:
        return []


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def url(peers: Peers) -> Iterator[str]:
    with PlainServer(peers.answer) as server:
        yield server.url


def target(url: str, **changes: Any) -> Target:
    told = Announce("HOOK", url, "GRAFANA_TOKEN", url, "AM_TOKEN", ('alertname=~"Tool.*"', 'severity!="page"'))
    return replace(TARGET, announce=replace(told, **changes))


def announcer(url: str, **changes: Any) -> Announcer:
    environ = ENVIRON | {"HOOK": f"{url}/hooks/pl4nted-path"}
    where = target(url, **changes)
    made = Announcer(EXPERIMENT, where.name, RealClock.starting_now(), run_id=RUN)
    made.channels, made.silences = channels_of(where, environ), silences_of(where, environ)
    return made


def notes(made: Announcer) -> list[str]:
    return [note.detail["message"] for note in made.take_notes()]


def test_the_record_comes_before_the_silence_and_both_and_the_word_before_the_load(peers: Peers, url: str) -> None:
    made, records = announcer(url), Records(peers.order)
    load = AnnouncedLoad(Load(peers.order), made, records)  # type: ignore[arg-type]
    load.start(None)  # type: ignore[arg-type]
    assert peers.order == [
        "GET /api/v2/silences", "ledger", "POST /api/v2/silences", "POST /hooks/pl4nted-path", "POST /api/annotations",
        "load",
    ]  # fmt: skip
    told = [seen.detail["message"] for seen in load.poll()]
    assert told == ["alerts are silenced", "the webhook was told of the start", "Grafana was told of the start"]
    (record,), (silence,) = records.records, peers.silences.values()
    assert (record.operation, record.name, record.run_id) == ("silence", RUN, RUN)
    assert "end the silence" in explain(record)
    assert silence["createdBy"] == f"gameday {RUN}"
    assert silence["matchers"] == [
        {"name": "alertname", "value": "Tool.*", "isRegex": True, "isEqual": True},
        {"name": "severity", "value": "page", "isRegex": False, "isEqual": False},
    ]


def test_a_run_that_ended_is_told_with_its_result_and_the_region_ends_with_it(peers: Peers, url: str) -> None:
    made = announcer(url)
    made.start(Records([]))  # type: ignore[arg-type]
    (region,) = peers.annotations.values()
    latest_ms = region["timeEnd"]
    made.end(Ending.COMPLETED, "", 1)
    start, stop = peers.webhook
    assert (start["event"], start["run_id"], start["target"]) == ("start", RUN, "local")
    assert (stop["event"], stop["exit_status"], stop["result"]) == ("stop", 1, "something is broken")
    assert "reason" not in stop
    assert region["time"] <= region["timeEnd"] < latest_ms
    assert region["text"] == stop["text"]
    assert {"gameday", "stop", "experiment:e", "target:local", f"run:{RUN}"} == set(region["tags"])


@pytest.mark.parametrize("ending", [Ending.STOPPED, Ending.ABORTED, Ending.CRASHED])
def test_a_run_that_ended_early_is_an_abort_with_its_reason(ending: Ending, peers: Peers, url: str) -> None:
    made = announcer(url)
    made.start(Records([]))  # type: ignore[arg-type]
    made.end(ending, "the halt lever was pulled", None)
    assert (peers.webhook[1]["event"], peers.webhook[1]["reason"]) == ("abort", "the halt lever was pulled")
    made.end(ending, "again", None)
    assert len(peers.webhook) == 2


def test_of_a_refused_run_nobody_is_told(peers: Peers, url: str) -> None:
    announcer(url).end(Ending.REFUSED, "no", 20)
    assert peers.order == []


@pytest.mark.parametrize("status", [302, 401, 500])
def test_who_cannot_be_told_is_noted_and_nothing_secret_with_it(status: int, peers: Peers, url: str) -> None:
    made = announcer(url, alertmanager_url="", silence=())
    peers.status = status
    made.start(Records([]))  # type: ignore[arg-type]
    told = notes(made)
    assert len(told) == 2
    assert all(f"answered HTTP {status}" in text for text in told)
    assert "pl4nted" not in " ".join(told)


def test_a_peer_that_is_not_there_is_noted_without_its_address(url: str) -> None:
    made = announcer("http://127.0.0.1:9", alertmanager_url="", silence=())
    made.start(Records([]))  # type: ignore[arg-type]
    text = " ".join(notes(made))
    assert "no answer from 127.0.0.1" in text
    assert "pl4nted" not in text


def test_alerts_that_cannot_be_silenced_end_the_run_before_the_load(peers: Peers, url: str) -> None:
    peers.status = 500
    with pytest.raises(PortError, match=r"alertmanager: get: 127\.0\.0\.1 answered HTTP 500"):
        AnnouncedLoad(Load(peers.order), announcer(url), Records(peers.order)).start(None)  # type: ignore[arg-type]
    assert peers.order == ["GET /api/v2/silences"]  # nothing is written down, nothing has to be taken back


def test_the_undo_ends_this_runs_silences_only_and_again_is_harmless(peers: Peers, url: str) -> None:
    silences = announcer(url).silences
    assert silences is not None
    silences.create(RUN, time.time() + 60)
    silences.create("another", time.time() + 60)
    assert silences.expire(RUN) == "ended 1 silence(s) of 1"
    assert [one["status"]["state"] for one in peers.silences.values()] == ["expired", "active"]
    assert silences.expire(RUN) == "ended 0 silence(s) of 1"
    assert silences.expire("third") == "there is no silence of this run"


def ledger(end: Any) -> KubernetesLedger:
    found = KubernetesLedger(None, "gameday-system", None, end)  # type: ignore[arg-type]
    found._store = lambda record: None  # type: ignore[method-assign]
    return found


def silenced(until_unix_s: float) -> UndoRecord:
    applied = {"until_unix_s": until_unix_s}
    return UndoRecord("silence", RUN, "announcement", "alertmanager/v2", "Silence", "", RUN, "", "silence", {}, applied)


def test_whoever_takes_the_record_back_ends_the_silence(peers: Peers, url: str) -> None:
    silences = announcer(url).silences
    assert silences is not None
    silences.create(RUN, time.time() + 60)
    done = ledger(silences.expire).undo(silenced(time.time() + 60))
    assert (done.done, done.outcome) == (True, "ended 1 silence(s) of 1")


def test_without_an_alertmanager_the_record_stays_open_until_the_silence_has_ended_by_itself() -> None:
    with pytest.raises(Refusal, match=r"no Alertmanager is known here — it ends by itself in \d+ s"):
        ledger(None).undo(silenced(time.time() + 60))
    assert ledger(None).undo(silenced(time.time() - 1)).outcome == "it has ended by itself"


def test_an_alertmanager_that_does_not_answer_is_asked_again_until_the_silence_has_ended_by_itself(
    peers: Peers, url: str
) -> None:
    silences = announcer(url).silences
    assert silences is not None
    peers.status = 503
    with pytest.raises(PortError, match=r"answered HTTP 503 — see its log; it ends by itself in \d+ s"):
        ledger(silences.expire).undo(silenced(time.time() + 60))
    done = ledger(silences.expire).undo(silenced(time.time() - 1))
    assert done.outcome == "it has ended by itself, unseen (127.0.0.1 answered HTTP 503)"


def test_a_variable_that_is_not_set_and_an_address_off_loopback_are_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(PortError, match="HOOK is not set"):
        channels_of(target(url), ENVIRON)
    with pytest.raises(Refusal, match=r"http://hooks\.example is not a loopback address") as caught:
        channels_of(target(url), ENVIRON | {"HOOK": "http://hooks.example/pl4nted-path"})
    assert "pl4nted" not in str(caught.value)
    with pytest.raises(PortError, match="AM_TOKEN is not set"):
        silences_of(target(url), {})


def test_a_target_that_announces_nothing_has_nobody_to_tell() -> None:
    assert (channels_of(TARGET, {}), silences_of(TARGET, {})) == ([], None)
