"""A game day with least rights through an API server that is rough to it, and with an exec plugin for a login.

Throttled reads and evictions (429 with Retry-After), a history that expires in the middle of the run (410), tokens that
live for seconds (CASES B02, B08, B14): the game day goes on, and says what it could not see.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.api_front import ApiFront, Throttle
from tests.contract.plain_front import PlainServer
from tests.contract.scraped import prometheus
from tests.contract.short_game_day import experiment_document
from tests.contract.staging_world import SECRETS, Gateway, Staging, light_testbed_called
from tests.contract.tls_front import Papers, TlsFront, bearer

pytestmark = pytest.mark.testbed

TOKENS = 40
LIVES_S = 16
PLUGIN = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
if (folder / "fails").exists():
    print("pl4nted: no session", file=sys.stderr)
    sys.exit(255)
left = (folder / "tokens").read_text().splitlines()
(folder / "tokens").write_text("\\n".join(left[1:] + left[:1]))
end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + LIVES_S))
status = {"token": left[0], "expirationTimestamp": end}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
""".replace("LIVES_S", str(LIVES_S))


class Rough:
    """The stand-in behind the rough API server, and its operator's plugin."""

    def __init__(self, staging: Staging, front: ApiFront, testbed: dict[str, Any]) -> None:
        self.staging, self.front, self.folder = staging, front, staging.folder / "plugin"
        self.folder.mkdir()
        self.tokens = [staging.token() for _ in range(TOKENS)]
        (self.folder / "tokens").write_text("\n".join(self.tokens))
        plugin = self.folder / "get-token"
        plugin.write_text(f"#!{sys.executable}\n{PLUGIN}")
        plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
        config = yaml.safe_load(Path(testbed["kubeconfig"]).read_text())
        config["clusters"][0]["cluster"] = {"server": front.url, "certificate-authority": str(front.papers.ca_file)}
        exec_ = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "args": [str(self.folder)],
            "interactiveMode": "Never",
        }
        config["users"][0]["user"] = {"exec": exec_}
        (staging.folder / "runner.kubeconfig").write_text(yaml.safe_dump(config))

    def said(self, done: Any) -> str:
        text = f"{done.stdout}{done.stderr}"
        assert "Traceback" not in text, text
        self.holds_no_secret(text)
        return text

    def holds_no_secret(self, text: str) -> None:
        assert "pl4nted" not in text
        assert not [token for token in self.tokens if token in text]

    def count(self, status: int, method: str, path: str) -> int:
        return sum(s == status and m == method and path in p for m, p, s in self.front.answered)


def evicting(namespace: str) -> dict[str, Any]:
    """Return the short game day with an eviction instead of its kill."""
    document = experiment_document(namespace)
    document["method"][0]["provider"]["func"] = "evict_pods"
    return document


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rough]:
    folder, papers, gateway = tmp_path_factory.mktemp("rough"), Papers(tmp_path_factory.mktemp("papers")), Gateway()
    with light_testbed_called(f"rough-{os.getpid()}") as testbed, prometheus(folder, gateway.exporter) as store:
        cluster = yaml.safe_load(Path(testbed["kubeconfig"]).read_text())["clusters"][0]["cluster"]
        api = ApiFront(testbed["api_server"], b64decode(cluster["certificate-authority-data"]).decode(), papers)
        gate = bearer(SECRETS["STAGING_PROMETHEUS_TOKEN"])
        with api, TlsFront(store, papers, gate) as front, PlainServer(gateway.answer) as served:
            staging = Staging(testbed, folder, served.url, front.url, str(papers.ca_file))
            try:
                staging.experiment.write_text(yaml.safe_dump(evicting(staging.namespace), sort_keys=False))
                staging.settings["api_server"] = api.url
                staging.write()
                staging.grant()
                found = Rough(staging, api, testbed)
                staging.wait_granted()
                yield found
            finally:
                staging.close()
    gateway.exporter.close()


def test_b02_b08_b14_a_run_goes_on_where_the_api_server_is_rough_and_says_what_it_could_not_see(rough: Rough) -> None:
    front, staging = rough.front, rough.staging
    namespace = staging.namespace
    front.throttles = [
        Throttle("GET", f"/namespaces/{namespace}/pods$", 2, 1),
        Throttle("GET", "/configmaps", 1, 1),
        Throttle("POST", "/eviction$", 2, 1),
    ]
    front.forgets_after = "/eviction$"
    front.answered.clear()
    front.tokens.clear()

    done = staging.run()

    told = rough.said(done)
    run_dir = (staging.folder / "runs" / "latest").resolve()
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    holes = [e for e in events if e["kind"] == "watch" and e["detail"]["state"] == "hole"]
    assert [e["subject"] for e in holes if e["subject"] == f"pods in {namespace}"], holes
    assert all("410" in e["detail"]["reason"] and "listed anew" in e["detail"]["reason"] for e in holes), holes
    (proof,) = [e["detail"] for e in events if e["kind"] == "fault" and e["detail"]["step"] == "evidence"]
    assert proof["effect"] == "CONFIRMED", proof
    (victim,) = proof["victims"]
    gone = [e for e in events if e["kind"] == "pod" and e["detail"].get("uid") == victim["uid"]]
    assert gone[-1]["detail"]["deleted"] is True, "what went in the gap is not lost"
    verdicts = {v["assertion"]: v for v in json.loads((run_dir / "verdicts.json").read_text())["verdicts"]}
    assert {name: v["outcome"] for name, v in verdicts.items()} == {
        "pdb-safety": "INCONCLUSIVE", "error-budget": "PASS", "restored": "PASS"
    }, told  # fmt: skip
    assert "410" in verdicts["pdb-safety"]["reason"]
    assert done.returncode == 20, told
    assert rough.count(429, "GET", "/pods") == 2
    assert rough.count(429, "POST", "/eviction") == 2
    assert rough.count(201, "POST", "/eviction") == 1
    assert rough.count(410, "GET", "/pods") >= 1
    assert len(front.tokens) > 2
    assert {token.removeprefix("Bearer ") for token in front.tokens} <= set(rough.tokens)
    assert staging.traces() == []
    for path in run_dir.rglob("*"):
        if path.is_file():
            rough.holds_no_secret(path.read_bytes().decode("latin-1"))


def test_b08_a_plugin_that_fails_ends_run_and_doctor_in_one_sentence_and_sends_nothing(rough: Rough) -> None:
    (rough.folder / "fails").touch()
    rough.front.answered.clear()
    try:
        for done in (rough.staging.doctor(), rough.staging.run()):
            told = rough.said(done)
            assert done.returncode == 20, told
            assert "the exec plugin get-token of context" in told
            assert "ended with status 255" in told
            assert "do you have to log in again?" in told
    finally:
        (rough.folder / "fails").unlink()
    assert rough.front.answered == []
