"""A game day against a shared cluster, as its operator meets it: everything right once, then everything wrong in turn.

Each thing that is wrong is refused with the right words and the right exit status, and nothing is touched.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.drivers.kubernetes.connection import MERGE_PATCH, Call
from harness.model.fault import Permission
from tests.contract.announce_peers import Peers
from tests.contract.plain_front import PlainServer
from tests.contract.scraped import prometheus
from tests.contract.staging_world import SECRETS, Gateway, Staging, light_testbed_called
from tests.contract.tls_front import Papers, TlsFront, bearer

pytestmark = pytest.mark.testbed


@pytest.fixture(scope="module")
def testbed() -> Iterator[dict[str, Any]]:
    with light_testbed_called(f"staging-{os.getpid()}") as target:
        yield target


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.exporter.close()


@pytest.fixture(scope="module")
def store(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("store"), gateway.exporter) as url:
        yield url


@pytest.fixture(scope="module")
def front(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsFront]:
    papers = Papers(tmp_path_factory.mktemp("papers"))
    with TlsFront(store, papers, bearer(SECRETS["STAGING_PROMETHEUS_TOKEN"])) as found:
        yield found


@pytest.fixture(scope="module")
def peers() -> Peers:
    return Peers(token=SECRETS["STAGING_GRAFANA_TOKEN"])


@pytest.fixture(scope="module")
def made(
    testbed: dict[str, Any], front: TlsFront, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Staging]:
    folder = tmp_path_factory.mktemp("operator")
    ca_file = str(front._papers.ca_file)
    with PlainServer(gateway.answer) as server:
        found = Staging(testbed, folder, server.url, front.url, ca_file)
        try:
            found.wait_granted()
            yield found
        finally:
            found.close()


@pytest.fixture
def staging(made: Staging, front: TlsFront) -> Iterator[Staging]:
    """The stand-in with everything right; whatever a test made wrong is made right again, and nothing was touched."""
    pods, traces = made.pod_uids(), made.traces()
    front.asked.clear()
    yield made
    assert made.pod_uids() == pods, "a pod was touched"
    assert made.traces() == traces, "a record or a Lease was left"
    front.hidden.clear()
    made.announce = {}
    made.write()


def said(done: Any) -> str:
    text = f"{done.stdout}{done.stderr}"
    assert "Traceback" not in text, text
    assert "pl4nted" not in text, "a secret was told"
    return str(text)


def lines(done: Any, state: str) -> dict[str, str]:
    found = json.loads(done.stdout)["lines"]
    return {f"{line['area']}/{line['subject']}": line["message"] for line in found if line["state"] == state}


# everything right -----------------------------------------------------------------------------------------------------


def test_with_least_rights_and_a_token_the_doctor_finds_nothing_and_the_dry_run_says_that_it_would_run(
    staging: Staging,
) -> None:
    done = staging.doctor("--json")
    assert done.returncode == 0, said(done)
    fine = lines(done, "ok")
    assert fine["permissions/stand-in"].startswith("all ")
    assert "as system:serviceaccount:gameday-system:gameday-runner" in fine[f"identity/{staging.settings['context']}"]
    assert "1 series, newest sample" in fine["signals/queue_depth"]
    assert "a reaper is alive" in fine["safety/halt lever and reaper"]
    assert "no readinessProbe" in done.stdout
    dry = staging.run("--dry-run")
    assert dry.returncode == 0, said(dry)
    assert "nothing was touched; it would run" in said(dry)


# everything wrong in turn ---------------------------------------------------------------------------------------------


def test_a_wrong_uid_is_refused_and_nothing_else_is_read(staging: Staging, front: TlsFront) -> None:
    staging.write(kube_system_uid="00000000-0000-0000-0000-000000000000")
    for done in (staging.doctor(), staging.run()):
        assert done.returncode == 4, said(done)
        assert "refused (identity): kube-system uid is" in said(done)
    assert front.asked == []


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("api_server", "https://api.staging.example:6443", "refused (identity): API server is"),
        ("context", "nosuch", "there is no context 'nosuch'"),
        ("kube_system_uid", "", "an empty identity is never a wildcard"),
        ("opt_in_label", "staging=may-be-broken", "namespace kube-system does not carry staging=may-be-broken"),
    ],
)
def test_another_cluster_than_the_one_described_is_exit_4_or_names_the_label(
    key: str, value: str, words: str, staging: Staging, front: TlsFront
) -> None:
    staging.write(**{key: value, "loopback_only": False})
    for done in (staging.doctor(), staging.run()):
        assert words in said(done)
        assert done.returncode in ({20} if key == "opt_in_label" else {4}), said(done)
    assert front.asked == []


def test_b08_a_token_that_is_not_taken_any_more_says_so(staging: Staging, front: TlsFront) -> None:
    staging.write_kubeconfig(staging.dead_token())
    try:
        for done in (staging.doctor(), staging.run()):
            assert done.returncode == 20, said(done)
            assert "401: Unauthorized" in said(done)
            assert "the credentials of this context are not accepted: renew them" in said(done)
    finally:
        staging.write_kubeconfig(staging.token())
    assert front.asked == []


def test_b07_a_verb_that_is_missing_is_named_before_anything_is_touched(staging: Staging) -> None:
    lacks = Permission("delete", "pods", namespace=staging.namespace)
    staging.grant(without=lacks)
    try:
        staging.world.until(lambda: "rights are missing" in staging.doctor().stdout, "the right is gone")
        done = staging.doctor("--json")
        assert done.returncode == 20, said(done)
        told = lines(done, "finding")
        assert f"rights are missing: {lacks}" in told["permissions/stand-in"]
        run = staging.run()
        assert run.returncode == 20, said(run)
        assert f"refused (permission): not allowed: {lacks}" in said(run)
    finally:
        staging.grant()
        staging.wait_granted()


def test_c16_a_prometheus_without_a_signal_is_found_with_the_query_to_ask(staging: Staging, front: TlsFront) -> None:
    front.hidden.add("queue_depth")
    done = staging.doctor("--json")
    assert done.returncode == 20, said(done)
    assert lines(done, "finding") == {"signals/queue_depth": "signal queue_depth: no series (within 60 s)"}
    (line,) = [one for one in json.loads(done.stdout)["lines"] if one["subject"] == "queue_depth"]
    assert "Bearer $STAGING_PROMETHEUS_TOKEN" in line["command"]


def test_a_token_that_prometheus_does_not_take_is_named_by_its_variable(staging: Staging) -> None:
    for done in (
        staging.doctor(STAGING_PROMETHEUS_TOKEN="pl4nted-old"),
        staging.run(STAGING_PROMETHEUS_TOKEN="pl4nted-old"),
    ):
        assert done.returncode == 20, said(done)
        assert "HTTP 401: not allowed" in said(done)
        assert "renew the token in STAGING_PROMETHEUS_TOKEN" in said(done)


def test_a_token_that_is_not_set_is_named(staging: Staging) -> None:
    for done in (staging.doctor(STAGING_PROMETHEUS_TOKEN=""), staging.run(STAGING_PROMETHEUS_TOKEN="")):
        assert done.returncode == 20, said(done)
        assert "STAGING_PROMETHEUS_TOKEN is not set" in said(done)


def test_a_certificate_that_is_not_known_is_refused_and_verification_stays_on(
    staging: Staging, front: TlsFront, tmp_path: Path
) -> None:
    staging.write(prometheus_ca_file=str(Papers(tmp_path).ca_file))
    for done in (staging.doctor(), staging.run()):
        assert done.returncode == 20, said(done)
        assert "certificate verify failed" in said(done)
    assert front.asked == []


def test_a_halted_cluster_and_a_namespace_without_its_label_are_told(staging: Staging) -> None:
    path = f"/api/v1/namespaces/{staging.namespace}"
    staging.send("PATCH", path, {"metadata": {"labels": {"gameday.local/opt-in": None}}}, MERGE_PATCH)
    try:
        done, run = staging.doctor("--json"), staging.run()
    finally:
        labels = {"metadata": {"labels": {"gameday.local/opt-in": "true"}}}
        staging.send("PATCH", path, labels, MERGE_PATCH)
    assert done.returncode == run.returncode == 20
    assert "does not carry" in lines(done, "finding")[f"opt-in/{staging.namespace}"]
    assert "refused (opt-in)" in said(run)


# init and deploy ------------------------------------------------------------------------------------------------------


def test_init_describes_the_cluster_and_writes_it_beside_what_is_there(staging: Staging) -> None:
    path = staging.write()
    before = path.read_text().replace("[targets.staging]", "# ours\n[targets.other]")
    path.write_text(before)
    options = [
        "--yes", "--kubeconfig", staging.settings["kubeconfig"], "--namespace", staging.namespace, "--gateway-url",
        staging.settings["gateway_url"], "--prometheus-url", staging.settings["prometheus_url"],
        "--prometheus-token-env", "STAGING_PROMETHEUS_TOKEN", "--prometheus-ca-file",
        staging.settings["prometheus_ca_file"], "--loopback-only", "--settings", str(path),
    ]  # fmt: skip
    refused = staging.gameday("init", "staging", *options)
    assert refused.returncode == 4, said(refused)
    assert "most requests a second that this cluster may ever get: cannot be found out" in said(refused)
    assert path.read_text() == before
    done = staging.gameday("init", "staging", *options, "--rate-max-rps", "50")
    text = path.read_text()
    written = tomllib.loads(text)["targets"]["staging"]
    for key in ("context", "api_server", "kube_system_uid", "prometheus_url", "rate_max_rps"):
        assert written[key] == staging.settings[key], said(done)
    assert written["query_pack"] == ["stand-in"]
    assert written["scrape_interval_s"] == staging.settings["scrape_interval_s"]
    assert "# ours" in text
    assert "wrote targets.staging" in said(done)
    assert done.returncode == 20  # the shipped experiments want more than this cluster has, and the doctor says so
    again = staging.gameday("init", "staging", *options, "--rate-max-rps", "60")
    assert again.returncode == 4
    assert "is 50 already, not 60: nothing is overwritten" in said(again)


def test_what_deploy_writes_is_taken_by_a_real_api_server(staging: Staging, tmp_path: Path) -> None:
    settings = str(staging.write())
    image = "registry.example/gameday:0.1.0"
    arguments = ["--target", "staging", "--settings", settings, "--image", image, "--out", str(tmp_path / "out")]
    done = staging.gameday("deploy", str(staging.experiment), *arguments)
    assert done.returncode == 0, said(done)
    kubectl = str(Path(sys.executable).with_name("kubectl"))
    for folder in (tmp_path / "out", tmp_path / "out" / "jobs" / "stand-in"):
        built = staging._run([kubectl, "kustomize", str(folder)], {})
        assert built.returncode == 0, built.stderr
        for manifest in filter(None, yaml.safe_load_all(built.stdout)):
            _dry_run(staging, manifest)


def _dry_run(staging: Staging, manifest: dict[str, Any]) -> None:
    meta, version = manifest["metadata"], manifest["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scope = f"/namespaces/{meta['namespace']}" if meta.get("namespace") else ""
    plural = f"{manifest['kind'].lower()}s"
    params = {"dryRun": "All", "fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
    path = f"{root}{scope}/{plural}/{meta['name']}"
    staging.world._admin.send(Call(f"apply {path}", "PATCH", path, params, manifest, "application/apply-patch+yaml"))


# a whole game day -----------------------------------------------------------------------------------------------------


def test_pytest_runs_a_game_day_on_it_tells_who_is_to_be_told_and_leaves_no_secret(made: Staging, peers: Peers) -> None:
    with PlainServer(peers.answer) as server:
        made.announce = {
            "grafana_url": server.url,
            "grafana_token_env": "STAGING_GRAFANA_TOKEN",
            "alertmanager_url": server.url,
            "alertmanager_token_env": "STAGING_ALERTMANAGER_TOKEN",
            "silence": ['alertname=~"Planner.*"'],
        }
        made.write()
        try:
            done = made.pytest("-rA")
        finally:
            made.announce = {}
            made.write()
    assert done.returncode == 0, said(done)
    (silence,) = peers.silences.values()
    assert silence["status"]["state"] == "expired"
    (region,) = peers.annotations.values()
    assert "ended: everything held" in region["text"]
    run_dir = (made.folder / "runs" / "latest").resolve()
    undone = {one["fault"]: one for one in json.loads((run_dir / "undo.json").read_text())}
    assert undone["announcement"]["outcome"] == "ended 1 silence(s) of 1"
    token = yaml.safe_load(Path(made.settings["kubeconfig"]).read_text())["users"][0]["user"]["token"]
    for path in run_dir.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            assert b"pl4nted" not in held, path
            assert token.encode() not in held, path
    assert made.traces() == []
