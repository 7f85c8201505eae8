"""One lane of the kill matrix: a testbed of its own, runs by the product's own command, and what a cluster looks like.

Everything is real: API server, node agent, reaper, Prometheus, load child, chaos child. Only the gateway is a small
server that answers, since a light testbed has no platform. Looks at the cluster by itself, not by the harness's code.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORLD = Path(__file__).resolve().parent / "kill_world"
GAMEDAY = (sys.executable, "-m", "harness.cli")
SYSTEM, AGENTS = "gameday-system", "agents"
LOOK_EVERY_S = 0.1
UP_LIMIT_S, RUN_LIMIT_S, WHOLE_LIMIT_S = 180.0, 150.0, 60.0

GATEWAY = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b'{"plan": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""

PROMETHEUS = """
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: self
    static_configs: [{targets: ["127.0.0.1:PORT"]}]
"""


@dataclass
class Lane:
    """A testbed for runs, one after the other.

    Attributes:
        number: Which lane.
        full: Whether it is the full testbed with the platform on it.
        work: Folder for settings, experiment, runs and logs.
        target: The testbed's target document.
        whole: What the cluster looks like untouched.
    """

    number: int
    full: bool
    work: Path
    target: dict[str, Any] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)
    _helpers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _session: requests.Session = field(default_factory=requests.Session)

    @property
    def name(self) -> str:
        """Name of the testbed instance."""
        return f"kill-{'full-' if self.full else ''}{self.number}"

    # up and down ----------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Bring the testbed up and put on it what the experiment needs."""
        self.work.mkdir(parents=True, exist_ok=True)
        light = () if self.full else ("--light",)
        told = self._testbed("up", *light, "--name", self.name, "--owner-pid", str(os.getpid()), "--json")
        self.target = json.loads(Path(json.loads(told)["target"]).read_text())
        folder = Path(self.target["kubeconfig"]).parent
        admin = yaml.safe_load((folder / "admin.kubeconfig").read_text())
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {admin['users'][0]['user']['token']}"
        self._session.verify = str(folder / "pki" / "ca.crt")
        if not self.full:
            self._furnish()
        self._write_settings()
        self.whole = self.settled()

    def down(self) -> None:
        """End everything that the lane started."""
        for helper in self._helpers:
            helper.kill()
            helper.wait(10)
        self._testbed("down", "--name", self.name)

    def _testbed(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "testbed", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=UP_LIMIT_S, check=False, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f"testbed {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def _furnish(self) -> None:
        self.post("/api/v1/namespaces", {"metadata": {"name": AGENTS, "labels": {"gameday.local/opt-in": "true"}}})
        for name, replicas in (("victim", 4), ("dependency", 1)):
            self.post(f"/apis/apps/v1/namespaces/{AGENTS}/deployments", deployment(name, replicas))
        selector = {"matchLabels": {"app": "victim"}}
        pdb = {"metadata": {"name": "victim"}, "spec": {"minAvailable": 2, "selector": selector}}
        self.post(f"/apis/policy/v1/namespaces/{AGENTS}/poddisruptionbudgets", pdb)
        port = int(self.target["gateway_url"].rpartition(":")[2])
        self._helpers.append(subprocess.Popen([sys.executable, "-c", GATEWAY, str(port)]))
        self._helpers.append(self._prometheus(int(self.target["prometheus_url"].rpartition(":")[2])))

    def _prometheus(self, port: int) -> subprocess.Popen[bytes]:
        config = self.work / "prometheus.yml"
        config.write_text(PROMETHEUS.replace("PORT", str(port)))
        flags = [f"--config.file={config}", f"--storage.tsdb.path={self.work / 'tsdb'}", "--log.level=error"]
        return subprocess.Popen(["prometheus", *flags, f"--web.listen-address=127.0.0.1:{port}"])

    def _write_settings(self) -> None:
        shutil.copy(ROOT / "gameday.toml", self.work / "gameday.toml")
        text = (self.work / "gameday.toml").read_text().replace('instance = "default"', f'instance = "{self.name}"')
        if not self.full:
            told, start = self.target, text.index("[targets.local]")
            light = f"""
                [targets.local]
                kind = "cluster"
                context = "{told["context"]}"
                kubeconfig = "{told["kubeconfig"]}"
                api_server = "{told["api_server"]}"
                kube_system_uid = "{told["kube_system_uid"]}"
                opt_in_label = "gameday.local/opt-in=true"
                namespaces = ["agents"]
                gateway_url = "{told["gateway_url"]}"
                prometheus_url = "{told["prometheus_url"]}"
                rate_max_rps = 20
                loopback_only = true
                scrape_interval_s = 1
                components = ["core"]
                helper_command = ["sleep", "86400"]
                query_pack = "light"

                [query_packs.light]
                targets_up = {{ query = "up", unit = "1" }}
            """
            text = text[:start] + textwrap.dedent(light)
        (self.work / "gameday.toml").write_text(text)
        self._write_experiment()

    def _write_experiment(self) -> None:
        """Write the experiment: our short one, or `cascade` with less load, since what it breaks is what counts."""
        name, source = ("cascade", ROOT / "experiments") if self.full else ("kill-light", WORLD)
        text = (source / f"{name}.yaml").read_text()
        if self.full:
            text = text.replace("scale: 1.0\n", "scale: 0.4\n      stages: {baseline: 12s}\n")
        for folder, content in ((f"experiments/{name}.yaml", text), (f"runbooks/{name}.md", "# Drill: killed\n")):
            path = self.work / folder
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)

    # the API server, by itself ---------------------------------------------------------------------------------------

    def get(self, path: str) -> dict[str, Any]:
        """Read from the API server."""
        answer = self._session.get(self.target["api_server"] + path, timeout=5)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Create an object, unless it is there."""
        answer = self._session.post(self.target["api_server"] + path, json=body, timeout=5)
        if answer.status_code != requests.codes.conflict:
            answer.raise_for_status()

    def state(self) -> dict[str, Any]:
        """Return everything that the faults of the experiment touch."""
        nodes = {n["metadata"]["name"]: node_state(n) for n in self.get("/api/v1/nodes")["items"]}
        deployments = self.get("/apis/apps/v1/deployments")["items"]
        pods = self.get("/api/v1/pods?labelSelector=gameday.local/run")["items"]
        records = self.get(f"/api/v1/namespaces/{SYSTEM}/configmaps?labelSelector=gameday.local/undo=open")["items"]
        jobs = self.get("/apis/batch/v1/jobs?labelSelector=gameday.local/run")["items"]
        return {
            "nodes": nodes,
            "deployments": {d["metadata"]["name"]: deployment_state(d) for d in deployments},
            "helpers": sorted(o["metadata"]["name"] for o in [*pods, *jobs]),
            "records": sorted(r["metadata"]["name"] for r in records),
        }

    def settled(self, limit_s: float = WHOLE_LIMIT_S) -> dict[str, Any]:
        """Wait until every Deployment has its pods, and return the state."""
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s:
            items = self.get("/apis/apps/v1/deployments")["items"]
            if all(d["status"].get("readyReplicas", 0) == d["spec"]["replicas"] for d in items):
                return self.state()
            time.sleep(0.5)
        raise RuntimeError(f"lane {self.number}: the Deployments never got their pods")

    def differences(self) -> list[str]:
        """Return what differs from the untouched state; an API server that does not answer is a difference."""
        try:
            now = self.state()
        except requests.RequestException as error:
            return [f"the API server does not answer: {type(error).__name__}"]
        found = [f"{kind}: {now[kind]}" for kind in ("helpers", "records") if now[kind]]
        for kind in ("nodes", "deployments"):
            for name in sorted({*now[kind], *self.whole[kind]}):
                if now[kind].get(name) != self.whole[kind].get(name):
                    found.append(f"{kind} {name}: {now[kind].get(name)} instead of {self.whole[kind].get(name)}")
        return found

    # a run -----------------------------------------------------------------------------------------------------------

    def command(self, seed: int, runs: Path) -> list[str]:
        """Return the command line of a run."""
        name = str(self.work / "experiments" / f"{'cascade' if self.full else 'kill-light'}.yaml")
        settings = ["--target", "local", "--settings", str(self.work / "gameday.toml")]
        return [*GAMEDAY, "run", name, *settings, "--seed", str(seed), "--runs-dir", str(runs)]

    def check(self) -> tuple[int, str]:
        """Ask the product itself whether anything is left."""
        command = [*GAMEDAY, "recover", "--check", "--target", "local", "--settings", str(self.work / "gameday.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
        return done.returncode, (done.stdout + done.stderr)[-1500:]

    def processes(self, run: psutil.Process) -> dict[str, list[psutil.Process]]:
        """Return the processes of a run and of its testbed by their part."""
        found: dict[str, list[psutil.Process]] = {part: [] for part in ("client", *PARTS)}
        found["client"] = [run]
        for process in [*run.children(recursive=True), *self._testbed_processes()]:
            part = _part(process)
            if part:
                found[part].append(process)
        return found

    def _testbed_processes(self) -> Iterator[psutil.Process]:
        folder = str(Path(self.target["kubeconfig"]).parent)
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if folder in line and ("harness.reaper_main" in line or "/kube-apiserver " in line):
                yield process


PARTS = {
    "conductor": "harness.conductor_main",
    "chaos child": "harness.drivers.chaostoolkit_child",
    "load child": "loadprofiles",
    "reaper": "harness.reaper_main",
    "API server": "/kube-apiserver ",
}
"""Part of a run -> what its command line contains."""


def _part(process: psutil.Process) -> str:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return ""
    return next((part for part, mark in PARTS.items() if mark in line), "")


def deployment(name: str, replicas: int) -> dict[str, Any]:
    """Return a Deployment of pods that only sleep, on the general nodes."""
    labels = {"app": name}
    container = {"name": "main", "image": "none", "command": ["sleep", "86400"]}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def node_state(node: dict[str, Any]) -> dict[str, Any]:
    """Return what faults touch of a node."""
    meta, spec, status = node["metadata"], node["spec"], node["status"]
    ours = {
        key: value
        for key, value in (meta.get("annotations") or {}).items()
        if "gameday.local/" in key and key != "gameday.local/last-undo"
    }
    taints = [t for t in spec.get("taints", ()) if not t["key"].startswith("node.kubernetes.io/")]
    ready = [c["status"] for c in status["conditions"] if c["type"] == "Ready"]
    devices = {k: v for k, v in {**status["capacity"]}.items() if "/" in k}
    return {
        "unschedulable": bool(spec.get("unschedulable")), "taints": sorted(t["key"] for t in taints), "ours": ours,
        "capacity": devices, "ready": ready,
        "allocatable": {k: v for k, v in status["allocatable"].items() if "/" in k},
    }  # fmt: skip


def deployment_state(found: dict[str, Any]) -> dict[str, Any]:
    """Return what faults touch of a Deployment; replicas that an autoscaler owns are its own matter."""
    annotations = found["metadata"].get("annotations") or {}
    ours = {k: v for k, v in annotations.items() if "gameday.local/changed-by" in k}
    scaled = found["metadata"]["name"] in {"planner", "tool-adapter"}
    return {"replicas": None if scaled else found["spec"]["replicas"], "ours": ours}


def end(processes: list[psutil.Process], number: signal.Signals) -> int:
    """Signal processes; returns how many were there."""
    count = 0
    for process in processes:
        try:
            process.send_signal(number)
            count += 1
        except psutil.NoSuchProcess:
            continue
    return count
