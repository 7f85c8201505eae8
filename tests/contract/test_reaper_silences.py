"""The silence of a run that dies: ended by the reaper's own process in a real Alertmanager, or by its own end.

Alertmanager stands behind TLS and asks for a token, as staging's does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.announce import silence_record
from harness.announce_http import AlertmanagerSilences, Peer
from harness.drivers.kubernetes.connection import connect_context
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.safety import SILENCE, KubernetesSafety
from harness.undo import recover
from tests.contract.cluster_world import SYSTEM_NAMESPACE, WallClock
from tests.contract.real_alertmanager import alertmanager, until
from tests.contract.scraped import free_port
from tests.contract.tls_front import Papers, TlsFront, bearer

pytestmark = pytest.mark.testbed

RUN, OTHER = "run-that-died", "run-of-somebody-else"
TOKEN = "pl4nted-alertmanager-token"
TOKEN_ENV = "TEST_ALERTMANAGER_TOKEN"
MATCHERS = ('alertname=~"Planner.*"',)
OPEN_MAX_S = 60.0
"""The sign of life of an earlier test's reaper has to lapse first."""

Start = Callable[..., "Process"]


class Process:
    """A reaper's process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def said(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def front(papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsFront]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager"), "a-webhook-token-of-a-test", free_port()) as url:
        with TlsFront(url, papers, bearer(TOKEN)) as found:
            yield found


@pytest.fixture
def silences(front: TlsFront, papers: Papers) -> Iterator[AlertmanagerSilences]:
    found = AlertmanagerSilences(Peer("alertmanager", front.url, TOKEN, str(papers.ca_file)), MATCHERS)
    yield found
    for run_id in (RUN, OTHER):
        found.expire(run_id)


@pytest.fixture
def ledger(light_testbed: dict[str, Any]) -> Iterator[KubernetesLedger]:
    found = KubernetesLedger(connect_context(light_testbed["kubeconfig"], light_testbed["context"]), SYSTEM_NAMESPACE)
    yield found
    ends = KubernetesLedger(found._connection, SYSTEM_NAMESPACE, None, lambda run_id: "tidied away")
    recover(ends, WallClock(), RUN)
    ends.close(RUN)


@pytest.fixture
def start(light_testbed: dict[str, Any], papers: Papers, tmp_path: Path) -> Iterator[Start]:
    log, started = tmp_path / "reaper.log", []

    def started_with(url: str, token: str) -> Process:
        command = [
            sys.executable, "-m", "harness.reaper_main", "--kubeconfig", light_testbed["reaper_kubeconfig"],
            "--context", light_testbed["context"], "--namespace", SYSTEM_NAMESPACE, "--alertmanager-url", url,
            "--alertmanager-token-env", TOKEN_ENV, "--alertmanager-ca-file", str(papers.ca_file),
        ]  # fmt: skip
        with log.open("wb") as stream:
            process = subprocess.Popen(command, stderr=stream, env={**os.environ, TOKEN_ENV: token})
        started.append(process)
        return Process(process, log)

    yield started_with
    for process in started:
        process.terminate()
        assert process.wait(20) == 0


def states(front: TlsFront, papers: Papers) -> dict[str, str]:
    found = Peer("alertmanager", front.url, TOKEN, str(papers.ca_file)).send("GET", "/api/v2/silences")
    return {one["createdBy"]: one["status"]["state"] for one in found}


def test_the_reaper_ends_the_silence_of_a_run_that_died_and_no_others(
    front: TlsFront, papers: Papers, silences: AlertmanagerSilences, ledger: KubernetesLedger, start: Start
) -> None:
    until_unix_s = time.time() + 600
    silences.create(OTHER, until_unix_s)
    ledger.write(silence_record(RUN, until_unix_s))
    silences.create(RUN, until_unix_s)
    (stored,) = ledger.open_records(RUN)
    assert stored.applied["created_by"] == f"gameday {RUN}"
    reaper = start(front.url, TOKEN)
    until(lambda: not ledger.open_records(RUN), OPEN_MAX_S)
    assert states(front, papers) == {f"gameday {RUN}": "expired", f"gameday {OTHER}": "active"}
    assert "took back" in reaper.said
    assert "ended 1 silence(s) of 1" in reaper.said
    assert KubernetesSafety(ledger._connection, SYSTEM_NAMESPACE, {SILENCE}).ask() == ""
    shown = Path(f"/proc/{reaper.process.pid}/cmdline").read_text()
    assert TOKEN not in reaper.said + shown + json.dumps(stored.applied)


def test_where_alertmanager_does_not_answer_the_record_stays_open_until_the_silences_own_end(
    ledger: KubernetesLedger, start: Start
) -> None:
    reaper = start(f"https://127.0.0.1:{free_port()}", TOKEN)
    until(lambda: "on duty" in reaper.said, OPEN_MAX_S)
    end_unix_s = time.time() + 12
    ledger.write(silence_record(RUN, end_unix_s))
    until(lambda: "CANNOT TAKE BACK" in reaper.said)
    assert "no answer from 127.0.0.1" in reaper.said
    assert "it ends by itself in" in reaper.said
    (still,) = ledger.open_records(RUN)
    assert (still.operation, still.done) == ("silence", False)
    until(lambda: not ledger.open_records(RUN), OPEN_MAX_S)
    assert time.time() >= end_unix_s
    assert "it has ended by itself, unseen (no answer from 127.0.0.1" in reaper.said


def test_a_token_that_is_not_taken_is_said_and_never_told(
    front: TlsFront, ledger: KubernetesLedger, start: Start
) -> None:
    ledger.write(silence_record(RUN, time.time() + 600))
    reaper = start(front.url, "pl4nted-old-token")
    until(lambda: "CANNOT TAKE BACK" in reaper.said, OPEN_MAX_S)
    assert "127.0.0.1 answered HTTP 401" in reaper.said
    assert "check its token" in reaper.said
    assert "pl4nted" not in reaper.said
    assert len(ledger.open_records(RUN)) == 1


def test_without_its_token_a_reaper_does_all_the_rest_and_says_what_it_cannot(
    front: TlsFront, ledger: KubernetesLedger, start: Start
) -> None:
    reaper = start(front.url, "")
    until(lambda: "on duty" in reaper.said, OPEN_MAX_S)
    assert f"silences of dead runs last until their own end: announcements: prepare: {TOKEN_ENV} is not set" in (
        reaper.said
    )
    safety = KubernetesSafety(ledger._connection, SYSTEM_NAMESPACE, {SILENCE, "patch"})
    assert safety.ask() == "the reaper cannot take back by silence"
    ledger.write(silence_record(RUN, time.time() + 600))
    until(lambda: "no Alertmanager is known here" in reaper.said)
