"""`gameday doctor` and `gameday init` with their real drivers, against doubles of an API server and of Prometheus.

Quick and without a cluster: what an operator meets when one thing at a time is wrong.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from harness import cli
from tests.contract.paper_api import UID, PaperApi, budget, node, pod
from tests.contract.plain_front import PlainServer
from tests.contract.short_game_day import SIGNALS, experiment_document
from tests.contract.tls_front import Papers

TOKEN = "pl4nted-prometheus"


class PaperStore:
    """A double of Prometheus: every signal of the stand-in's pack has a sample a second."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = request.query.get("query", "")
        self.asked.append(query)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401, text="Unauthorized")
        now_s = time.time()
        if request.path.endswith("buildinfo"):
            return web.json_response({"status": "success", "data": {"version": "2.53.0"}})
        if query in {"1", "time()"}:
            value = [now_s, "1" if query == "1" else str(now_s)]
            return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": value}})
        name, ranged, _ = query.partition("[")
        values = [[now_s - age, "1"] for age in range(20, 0, -1)]
        one = {"metric": {"__name__": name}, **({"values": values} if ranged else {"value": values[-1]})}
        result = [] if name in self.missing or name not in {*SIGNALS, "up"} else [one]
        data = {"resultType": "matrix" if ranged else "vector", "result": result}
        return web.json_response({"status": "success", "data": data})


class Bench:
    """An operator's folder with the two doubles behind it."""

    def __init__(self, folder: Path, api: PaperApi, store: PaperStore, papers: Papers) -> None:
        self.folder, self.api, self.store, self.papers = folder, api, store, papers
        self.api_url = self.store_url = ""
        self.settings: dict[str, Any] = {}

    def arrange(self) -> None:
        self.settings = {
            "kind": "cluster", "context": "eu", "kubeconfig": str(self.folder / "config"), "api_server": self.api_url,
            "kube_system_uid": UID, "opt_in_label": "gameday.local/opt-in=true", "namespaces": ["agents"],
            "gateway_url": "http://127.0.0.1:9", "prometheus_url": self.store_url, "prometheus_token_env": "PROM_TOKEN",
            "prometheus_ca_file": str(self.papers.ca_file), "scrape_interval_s": 1.0, "rate_max_rps": 50,
            "loopback_only": True, "query_pack": "stand-in", "components": ["core"],
        }  # fmt: skip
        self.write_config(self.api.token)
        document = yaml.safe_dump(experiment_document("agents"), sort_keys=False)
        (self.folder / "stand-in.yaml").write_text(document)
        self.api.objects = {
            "pods": [pod(f"planner-{n}", "agents", "planner") for n in range(3)],
            "poddisruptionbudgets": [budget("planner", "agents")],
        }
        self.write()

    def write_config(self, token: str) -> None:
        config = {
            "apiVersion": "v1", "kind": "Config",
            "clusters": [
                {"name": "eu", "cluster": {"server": self.api_url, "certificate-authority": str(self.papers.ca_file)}}
            ],
            "users": [{"name": "eu", "user": {"token": token}}],
            "contexts": [{"name": "eu", "context": {"cluster": "eu", "user": "eu"}}],
        }  # fmt: skip
        (self.folder / "config").write_text(yaml.safe_dump(config))

    def write(self, name: str = "staging", **changes: Any) -> Path:
        lines = [f"{key} = {json.dumps(value)}" for key, value in (self.settings | changes).items()]
        queries = [f"{one} = {{ query = '{one}' }}" for one in SIGNALS]
        text = ["[objectives]", "success_ratio = 0.9", f"[targets.{name}]  # ours", *lines]
        path = self.folder / "gameday.toml"
        path.write_text("\n".join([*text, "[query_packs.stand-in]", *queries, ""]))
        return path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    papers = Papers(tmp_path)
    found = Bench(tmp_path, PaperApi(), PaperStore(), papers)
    monkeypatch.setenv("PROM_TOKEN", TOKEN)
    monkeypatch.delenv("GAMEDAY_TARGET", raising=False)
    api = PlainServer(found.api.answer, papers.context(ask_client=False))
    store = PlainServer(found.store.answer, papers.context(ask_client=False))
    with api as api_server, store as store_server:
        found.api_url, found.store_url = api_server.url, store_server.url
        found.arrange()
        yield found
    assert found.api.writes == []


@pytest.fixture
def gameday(bench: Bench, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return how the command is called; it returns exit status and what was said."""

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            cli.main([*arguments, "--settings", str(bench.folder / "gameday.toml")])
        told = capsys.readouterr()
        assert "pl4nted" not in told.out + told.err
        return int(end.value.code or 0), told.out + told.err

    return call


def doctor(bench: Bench, gameday: Any, *more: str) -> tuple[int, str]:
    status, said = gameday("doctor", str(bench.folder / "stand-in.yaml"), "--target", "staging", *more)
    return status, said


def test_all_well_is_exit_0_and_no_write_is_sent(bench: Bench, gameday: Any) -> None:
    status, said = doctor(bench, gameday, "--json")
    lines = json.loads(said)["lines"]
    assert (status, [line for line in lines if line["state"] == "finding"]) == (0, [])
    told = {f"{line['area']}/{line['subject']}": line["message"] for line in lines}
    assert told["identity/eu"].endswith("as system:serviceaccount:gameday-system:gameday-runner")
    assert told["safety/halt lever and reaper"] == "not halted; a reaper is alive and able"
    assert "1 series, newest sample" in told["signals/queue_depth"]
    assert told["platform/stand-in"].startswith("autoscalers able")


def test_a16_a_wrong_uid_is_exit_4_and_only_the_identity_was_read(bench: Bench, gameday: Any) -> None:
    bench.write(kube_system_uid="another")
    status, said = doctor(bench, gameday)
    assert status == 4
    assert "refused (identity): kube-system uid is" in said
    assert {path.rpartition("/")[2] for path in bench.api.asked} == {"selfsubjectreviews", "kube-system", "version"}
    assert bench.store.asked == []


def test_b08_a_token_that_is_not_taken_is_a_finding_that_says_to_renew_it(bench: Bench, gameday: Any) -> None:
    bench.write_config("pl4nted-expired")
    status, said = doctor(bench, gameday)
    assert status == 20
    assert "401: Unauthorized" in said
    assert "renew them" in said
    assert bench.store.asked == []


def test_b07_a_missing_verb_is_named_with_the_command_that_grants_it(bench: Bench, gameday: Any) -> None:
    bench.api.denied = {"delete pods"}
    status, said = doctor(bench, gameday)
    assert status == 20
    assert "rights are missing: delete pods in agents" in said
    assert "gameday rbac stand-in --target staging | kubectl apply -f -" in said


def test_a_signal_without_series_and_a_budget_that_is_gone_are_findings(bench: Bench, gameday: Any) -> None:
    bench.store.missing = {"queue_depth"}
    bench.api.objects["poddisruptionbudgets"] = []
    status, said = doctor(bench, gameday)
    assert status == 20
    assert "signal queue_depth: no series (within 60 s)" in said
    assert "there is no pdb agents/planner" in said


def test_a_token_that_prometheus_does_not_take_is_named(
    bench: Bench, gameday: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROM_TOKEN", "pl4nted-old")
    status, said = doctor(bench, gameday)
    assert status == 20
    assert "HTTP 401: not allowed — renew the token in PROM_TOKEN" in said


def options(bench: Bench) -> list[str]:
    return [
        "init", "staging", "--yes", "--kubeconfig", str(bench.folder / "config"), "--prometheus-url", bench.store_url,
        "--prometheus-token-env", "PROM_TOKEN", "--prometheus-ca-file", str(bench.papers.ca_file), "--loopback-only",
        "--gateway-url", "http://127.0.0.1:9",
    ]  # fmt: skip


def test_init_finds_out_what_it_can_writes_it_and_has_it_examined(bench: Bench, gameday: Any) -> None:
    path = bench.write("other")
    before = path.read_text()
    bench.api.objects["namespaces"] = [{"metadata": {"name": name}} for name in ("agents", "kube-system")]
    bench.api.objects["nodes"] = [node("n1", {"nvidia.com/gpu": "4"})]
    status, said = gameday(*options(bench))
    assert (status, path.read_text()) == (4, before), said
    assert "most requests a second that this cluster may ever get: cannot be found out — pass --rate-max-rps" in said
    status, said = gameday(*options(bench), "--rate-max-rps", "50")
    written = tomllib.loads(path.read_text())["targets"]["staging"]
    derived = ("context", "api_server", "kube_system_uid", "namespaces", "rate_max_rps")
    assert {key: written[key] for key in derived} == {
        "context": "eu", "api_server": bench.api_url, "kube_system_uid": UID, "namespaces": ["agents"],
        "rate_max_rps": 50,
    }  # fmt: skip
    assert (written["query_pack"], written["scrape_interval_s"]) == (["stand-in"], 1.0)
    assert (written["gpu_resource"], written["components"]) == ("nvidia.com/gpu", ["core", "platform"])
    assert "# ours" in path.read_text()
    assert status == 20, said  # the shipped experiments want more than these doubles have
    assert "opt-in       agents: carries gameday.local/opt-in=true" in said


def test_init_never_overwrites(bench: Bench, gameday: Any) -> None:
    path = bench.write()
    before = path.read_text()
    status, said = gameday(*options(bench), "--rate-max-rps", "60")
    assert (status, path.read_text()) == (4, before)
    assert "targets.staging.rate_max_rps: is 50 already, not 60: nothing is overwritten" in said
