"""Credentials by an exec plugin (CASES B08): a real program, a scripted API server, and all that goes wrong."""

from __future__ import annotations

import json
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml
from aiohttp import web

from harness.drivers.kubernetes import exec_plugin
from harness.drivers.kubernetes.connection import Call, Connection, connect_context
from harness.drivers.kubernetes.exec_plugin import Credential, ExecPlugin, TokenKeeper
from harness.model.errors import PortError, SpecError
from tests.contract.plain_front import PlainServer
from tests.contract.real_alertmanager import until
from tests.contract.tls_front import Papers

VERSION = "client.authentication.k8s.io/v1"
SECRET = "pl4nted"

PLUGIN = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
told = json.loads((folder / "does.json").read_text())
asked = folder / "asked"
count = len(asked.read_text().splitlines()) + 1 if asked.exists() else 1
with asked.open("a") as log:
    log.write(os.environ["KUBERNETES_EXEC_INFO"] + "\\n")
print("pl4nted secret of the plugin", file=sys.stderr)
if told.get("hangs"):
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)
if told.get("prints") is not None:
    print(told["prints"])
    sys.exit(told.get("status", 0))
status = {"token": f"pl4nted-{count}"}
if "lives_s" in told:
    status["expirationTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + told["lives_s"]))
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
sys.exit(told.get("status", 0))
"""


@dataclass
class Server:
    """An API server that takes some tokens, and remembers which it was shown."""

    shown: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "nobody").removeprefix("Bearer ")
        with self.lock:
            self.shown.append(token)
        if token in self.refused or token == "nobody":
            body = {"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}
            return web.json_response(body, status=401)
        return web.json_response({"ok": True})


@dataclass
class Bench:
    """A kubeconfig with the plugin, and the plugin's own folder."""

    folder: Path
    server: Server
    kubeconfig: Path

    def plugin_does(self, **does: Any) -> None:
        (self.folder / "does.json").write_text(json.dumps(does))

    @property
    def asked(self) -> list[dict[str, Any]]:
        path = self.folder / "asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def rewrite(self, **changes: Any) -> None:
        document = yaml.safe_load(self.kubeconfig.read_text())
        document["users"][0]["user"]["exec"] |= changes
        self.kubeconfig.write_text(yaml.safe_dump(document))

    def connect(self) -> Connection:
        return connect_context(str(self.kubeconfig), "staging")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    papers, server = Papers(tmp_path), Server()
    plugin = tmp_path / "get-token"
    plugin.write_text(f"#!{sys.executable}\n{PLUGIN}")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    with PlainServer(server.answer, papers.context(ask_client=False)) as front:
        cluster = {"server": front.url, "certificate-authority": "ca.pem"}  # beside the kubeconfig
        exec_ = {"apiVersion": VERSION, "command": "./get-token", "args": [str(tmp_path)], "interactiveMode": "Never"}
        document = {
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"exec": exec_}}],
            "contexts": [{"name": "staging", "context": {"cluster": "c", "user": "u"}}],
        }  # fmt: skip
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(document))
        found = Bench(tmp_path, server, kubeconfig)
        found.plugin_does(lives_s=3600)
        yield found


def read(connection: Connection) -> dict[str, Any]:
    return connection.get("read", "/version")


def test_b08_a_token_is_asked_for_once_and_not_at_every_call_however_short_it_lives(bench: Bench) -> None:
    bench.plugin_does(lives_s=250)  # less than the five minutes from which on the client asks at every call
    connection = bench.connect()
    for _ in range(20):
        assert read(connection) == {"ok": True}
    connection.close()
    assert bench.server.shown == ["pl4nted-1"] * 20
    assert len(bench.asked) == 1


def test_b08_a_token_that_expires_in_the_middle_is_followed_by_the_next(bench: Bench) -> None:
    bench.plugin_does(lives_s=2)
    connection = bench.connect()
    until(lambda: bool(read(connection)) and "pl4nted-3" in bench.server.shown)
    connection.close()
    assert list(dict.fromkeys(bench.server.shown))[:3] == ["pl4nted-1", "pl4nted-2", "pl4nted-3"]


def test_b08_a_token_without_an_end_that_is_refused_is_asked_for_anew_once(bench: Bench) -> None:
    bench.plugin_does()
    connection = bench.connect()
    assert read(connection) == {"ok": True}
    bench.server.refused.add("pl4nted-1")
    assert read(connection) == {"ok": True}
    bench.server.refused.add("pl4nted-2")
    bench.server.refused.add("pl4nted-3")
    with pytest.raises(PortError, match="renew them"):
        read(connection)
    connection.close()
    assert bench.server.shown == ["pl4nted-1", "pl4nted-1", "pl4nted-2", "pl4nted-2", "pl4nted-3"]


BAD = {
    "fails": ({"status": 3}, "ended with status 3"),
    "no-json": ({"prints": "pl4nted, log in at once"}, "printed no ExecCredential"),
    "no-object": ({"prints": '["pl4nted"]'}, "printed no ExecCredential"),
    "no-status": ({"prints": json.dumps({"apiVersion": VERSION})}, "printed no ExecCredential"),
    "null-status": ({"prints": json.dumps({"apiVersion": VERSION, "status": None})}, "printed no ExecCredential of"),
    "other-version": ({"prints": json.dumps({"apiVersion": "v9", "status": {"token": SECRET}})}, "ExecCredential of"),
    "no-token": ({"prints": json.dumps({"apiVersion": VERSION, "status": {}})}, "neither a token nor"),
    "half-a-pair": (
        {"prints": json.dumps({"apiVersion": VERSION, "status": {"clientCertificateData": SECRET}})},
        "neither a token nor",
    ),
    "no-time": (
        {"prints": json.dumps({"apiVersion": VERSION, "status": {"token": SECRET, "expirationTimestamp": "soon"}})},
        "no time",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_b08_a_plugin_that_fails_is_named_and_nothing_is_sent_as_nobody(name: str, bench: Bench) -> None:
    does, words = BAD[name]
    bench.plugin_does(**does)
    with pytest.raises(PortError) as raised:
        bench.connect()
    told = str(raised.value)
    assert f"the exec plugin get-token of context staging {words}" in told or words in told
    assert "do you have to log in again?" in told
    assert SECRET not in told
    assert bench.server.shown == []


def test_b08_a_plugin_that_hangs_is_given_up_and_ended(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_plugin, "PLUGIN_LIMIT_S", 2.0)
    bench.plugin_does(hangs=True)
    with pytest.raises(PortError, match="has not ended within 2 s"):
        bench.connect()
    pid = int((bench.folder / "pid").read_text())
    assert not psutil.pid_exists(pid)
    assert bench.server.shown == []


def test_b08_a_plugin_that_hangs_in_the_middle_keeps_nobody_waiting_while_the_old_token_is_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "PLUGIN_LIMIT_S", 3.0)
    monkeypatch.setattr(exec_plugin, "AHEAD_RATIO", 1.0)  # due at once
    monkeypatch.setattr(exec_plugin, "AHEAD_MAX_S", 3600.0)
    connection = bench.connect()
    bench.plugin_does(hangs=True)
    for _ in range(5):
        assert read(connection) == {"ok": True}
    until((bench.folder / "pid").exists)
    assert read(connection) == {"ok": True}  # while it hangs
    connection.close()
    until(lambda: not psutil.pid_exists(int((bench.folder / "pid").read_text())))
    assert bench.server.shown == ["pl4nted-1"] * 6
    assert len(bench.asked) == 2


def test_b08_once_the_old_token_is_over_a_plugin_that_fails_is_the_error_and_it_is_asked_again(bench: Bench) -> None:
    bench.plugin_does(lives_s=2)
    connection = bench.connect()
    assert read(connection) == {"ok": True}
    bench.plugin_does(status=1)

    def failed() -> bool:
        try:
            read(connection)
        except PortError as error:
            assert "get-token of context staging ended with status 1" in str(error)
            return True
        return False

    until(failed)
    bench.plugin_does(lives_s=3600)  # somebody logged in
    assert read(connection) == {"ok": True}
    connection.close()


def test_b08_many_threads_whose_token_is_over_ask_the_plugin_once(bench: Bench) -> None:
    bench.plugin_does(lives_s=1)
    connection = bench.connect()
    time.sleep(1.1)  # its life
    bench.plugin_does(lives_s=3600)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: read(connection), range(16)))
    connection.close()
    assert len(bench.asked) == 2
    assert set(bench.server.shown) == {"pl4nted-2"}


def test_b08_a_kubeconfig_that_is_gone_when_its_token_is_refused_is_an_error_of_the_call(bench: Bench) -> None:
    connection = bench.connect()
    bench.server.refused.add("pl4nted-1")
    bench.kubeconfig.unlink()
    with pytest.raises(PortError, match="renew the credentials"):
        read(connection)
    connection.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": "no-such-plugin", "installHint": "get it from the shelf"}, "'no-such-plugin' is not there"),
        ({"command": "./no-such-plugin"}, "is not there"),
        ({"command": ""}, "is not there"),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1' is not known"),
        ({"interactiveMode": "Always"}, "wants a terminal"),
    ],
)
def test_a_plugin_that_cannot_be_run_as_written_is_the_kubeconfigs_fault(
    changes: dict[str, Any], words: str, bench: Bench
) -> None:
    bench.rewrite(**changes)
    with pytest.raises(SpecError, match="exec of context staging") as raised:
        bench.connect()
    assert words in str(raised.value)
    assert bench.asked == []


def test_a_plugin_gets_its_environment_and_the_cluster_where_it_asks_for_it(bench: Bench) -> None:
    bench.rewrite(provideClusterInfo=True, env=[{"name": "REGION", "value": "eu"}])
    bench.connect().close()
    (info,) = bench.asked
    assert (info["apiVersion"], info["kind"], info["spec"]["interactive"]) == (VERSION, "ExecCredential", False)
    assert info["spec"]["cluster"]["server"].startswith("https://127.0.0.1:")
    assert info["spec"]["cluster"]["certificate-authority-data"]


def test_a_written_token_wins_over_the_plugin_as_it_does_for_kubectl(bench: Bench) -> None:
    document = yaml.safe_load(bench.kubeconfig.read_text())
    document["users"][0]["user"]["token"] = "written"
    bench.kubeconfig.write_text(yaml.safe_dump(document))
    connection = bench.connect()
    assert read(connection) == {"ok": True}
    connection.close()
    assert (bench.server.shown, bench.asked) == (["written"], [])


def test_a_client_certificate_of_a_plugin_is_shown(bench: Bench, tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    pair = {"clientCertificateData": papers.cert_file.read_text(), "clientKeyData": papers.key_file.read_text()}
    bench.plugin_does(prints=json.dumps({"apiVersion": VERSION, "status": pair}))
    with PlainServer(_anybody, papers.context(ask_client=True)) as front:
        document = yaml.safe_load(bench.kubeconfig.read_text())
        document["clusters"][0]["cluster"]["server"] = front.url
        bench.kubeconfig.write_text(yaml.safe_dump(document))
        connection = bench.connect()
        assert connection.send(Call("read", "GET", "/version")) == {"ok": True}
        connection.close()


async def _anybody(request: web.Request) -> web.StreamResponse:
    return web.json_response({"ok": True})


def test_no_secret_is_shown_by_what_is_printed_of_a_credential() -> None:
    assert SECRET not in repr(Credential(SECRET, SECRET, SECRET, 1.0))


def test_a_token_is_renewed_when_a_quarter_of_its_life_is_left_and_a_failed_try_is_repeated_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "Thread", Inline)
    plugin, now = Scripted(), [0.0]
    keeper = TokenKeeper(plugin, Credential("first", expires_unix_s=100.0), lambda: now[0])
    assert shown(keeper, now, 74.0) == "first"
    plugin.answers = [PortError("kubernetes", "get credentials", "no"), Credential("second", expires_unix_s=1000.0)]
    assert shown(keeper, now, 76.0) == "first"
    assert shown(keeper, now, 78.0) == "first"
    assert len(plugin.answers) == 1, "it failed a moment ago"
    assert shown(keeper, now, 82.0) == "second"
    assert shown(keeper, now, 939.0) == "second"
    plugin.answers = [Credential("third")]
    assert shown(keeper, now, 941.0) == "third", "a minute ahead is enough for one that lives long"
    assert shown(keeper, now, 1e9) == "third"


class Inline:
    """A thread that has done its work when it was started."""

    def __init__(self, target: Callable[[], None], **_: Any) -> None:
        self.start = target


class Scripted(ExecPlugin):
    """A plugin that answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[Credential | PortError] = []

    def ask(self) -> Credential:
        answer = self.answers.pop(0)
        if isinstance(answer, PortError):
            raise answer
        return answer


def shown(keeper: TokenKeeper, now: list[float], at_s: float) -> str:
    configuration = SimpleNamespace(api_key={})
    now[0] = at_s
    keeper(configuration)
    return str(configuration.api_key["BearerToken"]).removeprefix("Bearer ")
