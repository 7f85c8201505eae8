"""The server of `make bench-load`: Envoy that answers by itself, pinned to one core, with its own count of requests.

What a generator says it sent is checked against this count. Loopback only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ANSWER = json.dumps(
    {"plan": ["look", "decide", "act", "tell"], "turn": 4, "pod": "planner-0", "took_s": 0.0123, "n": 7}
)
BODY_MAX_BYTES = 4096
START_LIMIT_S = 30.0
_TYPES = "type.googleapis.com/envoy.extensions.filters"


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server has counted since its start."""

    requests: int
    good: int
    connections: int
    cpu_s: float

    def since(self, before: Counts) -> Counts:
        """Return what came after ``before``."""
        return Counts(
            self.requests - before.requests,
            self.good - before.good,
            self.connections - before.connections,
            self.cpu_s - before.cpu_s,
        )


@dataclass(frozen=True, slots=True)
class Server:
    """A running Envoy."""

    url: str
    admin_url: str
    process: psutil.Process

    def counts(self) -> Counts:
        """Return what it has counted, now."""
        told = _got(f"{self.admin_url}/stats?format=json&filter=^http\\.bench\\.downstream")
        stats = {s["name"]: s["value"] for s in json.loads(told)["stats"] if "value" in s}
        times = self.process.cpu_times()
        return Counts(
            stats["http.bench.downstream_rq_total"],
            stats["http.bench.downstream_rq_2xx"],
            stats["http.bench.downstream_cx_total"],
            times.user + times.system,
        )


def _got(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own, on loopback
        return bytes(answer.read())


def _config(port: int, admin_port: int) -> dict[str, Any]:
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": ANSWER}},
        "response_headers_to_add": [{"header": {"key": "x-gameday-pod", "value": "planner-0"}}],
    }
    # Without the buffer Envoy answers at the head of a POST, and closes the connection if its body comes later.
    whole = {"@type": f"{_TYPES}.http.buffer.v3.Buffer", "max_request_bytes": BODY_MAX_BYTES}
    router = {"@type": f"{_TYPES}.http.router.v3.Router"}
    manager = {
        "@type": f"{_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [{"name": "buffer", "typed_config": whole}, {"name": "router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "bench", "address": _address(port), "filter_chains": [chain]}
    return {"admin": {"address": _address(admin_port)}, "static_resources": {"listeners": [listener]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def envoy(folder: Path, core: int) -> Iterator[Server]:
    """Run Envoy on one core."""
    port, admin_port = _free_ports(2)
    config, log = folder / "envoy.json", folder / "envoy.log"
    config.write_text(json.dumps(_config(port, admin_port)), encoding="utf-8")
    program = str(Path(sys.executable).with_name("envoy"))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", str(config)]
    with log.open("wb") as out:
        process = subprocess.Popen([program, *options], stdout=out, stderr=out)
        try:
            pin(process.pid, {core})
            server = Server(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin_port}", psutil.Process(process.pid))
            _await(server, process, log)
            yield server
        finally:
            process.terminate()
            process.wait(10)


def pin(pid: int, cores: set[int]) -> None:
    """Bind all threads of a process to cores."""
    for thread in psutil.Process(pid).threads():
        os.sched_setaffinity(thread.id, cores)


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    until_s = time.monotonic() + START_LIMIT_S
    while True:
        try:
            server.counts()
            _got(server.url)
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > until_s:
                raise SystemExit(f"bench-load: Envoy is not up: {log.read_text()[-1000:]}") from error
            time.sleep(0.05)
