"""A stand-in for staging: a light testbed under another name, Prometheus behind TLS and a token, least rights only.

Arranged with an administrator's rights; used, as an operator would, through a kubeconfig that holds nothing but the
token of the runner's ServiceAccount.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from harness.deploy import runner
from harness.drivers.kubernetes.connection import MERGE_PATCH, Call
from harness.model.errors import PortError
from harness.model.fault import Permission
from harness.model.target import Target
from harness.registries import PROJECT_DIR
from harness.registries import load as load_experiment
from tests.contract.cluster_world import SYSTEM_NAMESPACE, RealWorld
from tests.contract.conftest import DOWN_LIMIT_S, UP_LIMIT_S, _testbed
from tests.contract.scraped import SCRAPE_S, Exporter
from tests.contract.short_game_day import SIGNALS, experiment_document

RUN_LIMIT_S = 300.0
TOKEN_S = 3600
SECRETS = {
    "STAGING_PROMETHEUS_TOKEN": "pl4nted-prometheus",
    "STAGING_GRAFANA_TOKEN": "pl4nted-peer-token",
    "STAGING_ALERTMANAGER_TOKEN": "pl4nted-peer-token",
}
_RBAC = "/apis/rbac.authorization.k8s.io/v1"


@contextmanager
def light_testbed_called(name: str) -> Iterator[dict[str, Any]]:
    """Boot a light testbed with its own reaper; yields its target document. Its logs stay where a test failed."""
    up = ["up", "--light", "--name", name, "--owner-pid", str(os.getpid()), "--json"]
    try:
        target = Path(json.loads(_testbed(up, UP_LIMIT_S))["target"])
        yield json.loads(target.read_text())
    finally:
        _testbed(["down", "--name", name], DOWN_LIMIT_S)
    shutil.rmtree(target.parent)


class Gateway:
    """Answers every request well and counts it on the exporter's page, as a gateway would."""

    def __init__(self) -> None:
        self.exporter, self._count = Exporter(), 0
        self.exporter.samples = dict.fromkeys(SIGNALS[1:], "1")
        self._tell()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self._count += 1
        self._tell()
        return web.json_response({"status": "done"})

    def _tell(self) -> None:
        self.exporter.samples[f'{SIGNALS[0]}{{envoy_response_code_class="2"}}'] = str(self._count)


class Staging:
    """The stand-in.

    Attributes:
        folder: Settings, experiment, kubeconfig and runs of the operator.
        namespace: Where the platform is.
        settings: Values of ``[targets.staging]`` as they are written; tests change them and `write`.
    """

    def __init__(self, testbed: Mapping[str, Any], folder: Path, gateway: str, prometheus: str, ca_file: str) -> None:
        self.world, self.folder, self._testbed = RealWorld(testbed), folder, testbed
        self.namespace = self.world.namespace
        self.world.deploy("planner", 3)
        self.world.budget("planner", "planner", 2)
        self.settings: dict[str, Any] = {
            "kind": "cluster",
            "context": testbed["context"],
            "kubeconfig": str(folder / "runner.kubeconfig"),
            "api_server": testbed["api_server"],
            "kube_system_uid": testbed["kube_system_uid"],
            "opt_in_label": "gameday.local/opt-in=true",
            "namespaces": [self.namespace],
            "gateway_url": gateway,
            "prometheus_url": prometheus,
            "prometheus_token_env": "STAGING_PROMETHEUS_TOKEN",
            "prometheus_ca_file": ca_file,
            "scrape_interval_s": SCRAPE_S,
            "rate_max_rps": 50,
            "loopback_only": True,
            "query_pack": "stand-in",
            "components": ["core"],
        }
        self.announce: dict[str, Any] = {}
        (folder / "experiments").mkdir(exist_ok=True)
        self.experiment = folder / "experiments" / "stand-in.yaml"
        self.experiment.write_text(yaml.safe_dump(experiment_document(self.namespace), sort_keys=False))
        self.write()
        self.grant()
        self.write_kubeconfig(self.token())

    # arranged by the administrator ------------------------------------------------------------------------------------

    def send(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        call = Call(f"{method} {path}", method, path, body=body, content_type=content_type)
        return self.world._admin.send(call)

    def target(self) -> Target:
        """Return the target as `gameday rbac` needs it."""
        s = self.settings
        return Target(
            "staging", "cluster", s["context"], s["kubeconfig"], s["api_server"], s["kube_system_uid"],
            s["opt_in_label"], (self.namespace,), s["gateway_url"], s["prometheus_url"], 50.0, components=("core",),
        )  # fmt: skip

    def grant(self, without: Permission | None = None) -> None:
        """Give the runner its least rights, or all but one; what it had is replaced."""
        needed = runner.needed(self.target(), [load_experiment(self.experiment)])
        for manifest in runner.manifests(self.target(), [p for p in needed if p != without]):
            self._put(manifest)

    def _put(self, manifest: dict[str, Any]) -> None:
        namespace = manifest["metadata"].get("namespace", "")
        scope = f"/namespaces/{namespace}" if namespace else ""
        root = "/api/v1" if manifest["apiVersion"] == "v1" else _RBAC
        path = f"{root}{scope}/{manifest['kind'].lower()}s"
        try:
            self.send("POST", path, manifest)
        except PortError:  # it is there already: take its place
            self.send("PATCH", f"{path}/{manifest['metadata']['name']}", manifest, MERGE_PATCH)

    def token(self, bound_to: Mapping[str, str] | None = None) -> str:
        """Return a new token of the runner's ServiceAccount."""
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{runner.NAME}/token"
        spec: dict[str, Any] = {"expirationSeconds": TOKEN_S}
        if bound_to:
            spec["boundObjectRef"] = dict(bound_to)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.send("POST", path, body)["status"]["token"])

    def dead_token(self) -> str:
        """Return a token that the API server does not take any more: what it was bound to is gone."""
        secrets = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets"
        made = self.send("POST", secrets, {"metadata": {"name": "bound"}})["metadata"]
        ref = {"apiVersion": "v1", "kind": "Secret", "name": "bound", "uid": made["uid"]}
        token = self.token(ref)
        self.send("DELETE", f"{secrets}/bound")
        return token

    def pod_uids(self) -> set[str]:
        """Return the planners that are there."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return {item["metadata"]["uid"] for item in self.send("GET", path)["items"]}

    def traces(self) -> list[str]:
        """Return what a run would leave or hold in the cluster."""
        maps = self.send("GET", f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps")["items"]
        path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases"
        leases = [one for one in self.send("GET", path)["items"] if one["metadata"]["name"] == "gameday-run"]
        held = [one["spec"]["holderIdentity"] for one in leases if one["spec"].get("holderIdentity")]
        return [one["metadata"]["name"] for one in maps if one["metadata"]["name"].startswith("gameday-")] + held

    # used by the operator ---------------------------------------------------------------------------------------------

    def write_kubeconfig(self, token: str) -> None:
        """Write the operator's kubeconfig: the cluster as the testbed names it, the runner's token, nothing else."""
        config = yaml.safe_load(Path(self._testbed["kubeconfig"]).read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        Path(self.folder / "runner.kubeconfig").write_text(yaml.safe_dump(config))

    def write(self, **changes: Any) -> Path:
        """Write the operator's settings file, with some values changed; the stand-in's own stay as they are."""
        values = self.settings | changes
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        told = [f"{key} = {json.dumps(value)}" for key, value in self.announce.items()]
        queries = [
            f"{name} = {{ query = '{name}', counter = {json.dumps(name.endswith('total'))} }}" for name in SIGNALS
        ]
        text = [
            "[objectives]",
            "success_ratio = 0.9",
            "[targets.staging]",
            *lines,
            *(["[targets.staging.announce]", *told] if told else []),
        ]
        path = self.folder / "gameday.toml"
        path.write_text("\n".join([*text, "[query_packs.stand-in]", *queries, ""]))
        return path

    def environ(self, **changes: str) -> dict[str, str]:
        """Return the operator's environment."""
        return {**os.environ, **SECRETS, "GAMEDAY_STATE_DIR": str(self.folder / "state"), **changes}

    def gameday(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the command as the operator would."""
        command = [sys.executable, "-m", "harness.cli", *arguments]
        return self._run(command, environ)

    def doctor(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the doctor on the stand-in's experiment."""
        settings = str(self.folder / "gameday.toml")
        return self.gameday(
            "doctor", str(self.experiment), "--target", "staging", "--settings", settings, *arguments, **environ
        )

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the stand-in's experiment."""
        where = ("--settings", str(self.folder / "gameday.toml"), "--runs-dir", str(self.folder / "runs"))
        return self.gameday("run", str(self.experiment), "--target", "staging", *where, *arguments, **environ)

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``pytest -m gameday --target staging`` on the stand-in's experiment."""
        command = [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "gameday", "--target", "staging",
            "--gameday-settings", str(self.folder / "gameday.toml"), "--gameday-runs", str(self.folder / "runs"),
            "--gameday-experiments", str(self.experiment.parent), str(PROJECT_DIR / "experiments"), *arguments,
        ]  # fmt: skip
        return self._run(command, {})

    def _run(self, command: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=PROJECT_DIR, env=self.environ(**environ), capture_output=True, text=True,
            timeout=RUN_LIMIT_S, check=False,
        )  # fmt: skip

    def wait_granted(self, limit_s: float = 20.0) -> None:
        """Wait until the API server's authorizer has taken in the rights."""
        deadline_s = time.monotonic() + limit_s
        while "rights are missing" in (told := self.doctor().stdout):
            assert time.monotonic() < deadline_s, told

    def close(self) -> None:
        """Take down what was arranged."""
        self.world.close()
