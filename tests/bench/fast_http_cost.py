"""What one request costs its client: CPU of the fast HTTP path beside stock clients and a bare socket. Prints a table.

`python -m tests.bench.fast_http_cost`: Envoy answers by itself (direct response) in a process of its own; each client
is a child process that counts its own CPU, alone and with 50 users at once. Bounded in requests; loopback only.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BODY = json.dumps({"conversation_id": "bench-1-0", "turn": 0, "payload": "Plan the next step."}).encode()
JSON = {"Content-Type": "application/json"}
ANSWER = json.dumps({"plan": ["look", "decide", "act"], "pod": "planner-0"})
CLIENTS = ("floor", "fast", "geventhttpclient", "locust")
LIMIT_S = 120.0


EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"


def filter_of(name: str, **settings: Any) -> dict[str, Any]:
    kind = f"{EXTENSIONS}.http.{name}.v3.{name.capitalize()}"
    return {"name": name, "typed_config": {"@type": kind, **settings}}


def envoy_config(port: int) -> dict[str, Any]:
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": ANSWER}},
        "response_headers_to_add": [{"header": {"key": "x-gameday-pod", "value": "planner-0"}}],
    }
    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        # Without a buffer Envoy answers a POST before it has read the body, and closes the connection.
        "http_filters": [filter_of("buffer", max_request_bytes=65536), filter_of("router")],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"static_resources": {"listeners": [{"name": "bench", "address": address, "filter_chains": [chain]}]}}


@contextmanager
def envoy() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "envoy.json")
        config.write_text(json.dumps(envoy_config(port)), encoding="utf-8")
        program = Path(sys.executable).with_name("envoy")
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", str(config)]
        server = subprocess.Popen([str(program), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port, time.monotonic() + 30)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(10)


def wait_for(port: int, until_s: float) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def exchange_of(client: str, url: str, method: str) -> Any:
    """Return a function that does one request and fails loudly if it went wrong. In the child only."""
    body = BODY if method == "POST" else b""
    headers = JSON if body else {}
    if client == "fast":
        return fast(url, method, body, headers)
    if client == "floor":
        return floor(url, method, body)
    if client == "geventhttpclient":
        return plain(url, method, body, headers)
    return stock(url, method, body, headers)


def fast(url: str, method: str, body: bytes, headers: dict[str, str]) -> Any:
    from loadprofiles.fast_http import FastClient, Limits  # noqa: PLC0415

    client = FastClient(url, {"User-Agent": "gameday"}, Limits())

    def one() -> None:
        answer = client.exchange(method, "/v1/plan", body, headers)
        assert answer.status == 200
        assert answer.pod == "planner-0"

    return one


def floor(url: str, method: str, body: bytes) -> Any:
    """The least that gevent allows: send, wait, receive, look at nothing."""
    import gevent  # noqa: PLC0415
    from gevent import socket as gevent_socket  # noqa: PLC0415

    host, _, port = url.removeprefix("http://").partition(":")
    sock = gevent_socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ready = gevent.get_hub().loop.io(sock.fileno(), 1)
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    request = b"%b /v1/plan HTTP/1.1\r\nHost: bench\r\n%b\r\n%b" % (method.encode(), length, body)

    def one() -> None:
        sock.send(request)
        gevent_socket.wait(ready)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")

    return one


def plain(url: str, method: str, body: bytes, headers: dict[str, str]) -> Any:
    from geventhttpclient import HTTPClient  # noqa: PLC0415

    client = HTTPClient.from_url(url, concurrency=1)

    def one() -> None:
        answer = client.request(method, "/v1/plan", body=body, headers=headers)
        assert answer.status_code == 200
        answer.read()

    return one


def stock(url: str, method: str, body: bytes, headers: dict[str, str]) -> Any:
    from locust import FastHttpUser  # noqa: PLC0415
    from locust.env import Environment  # noqa: PLC0415

    class Nobody(FastHttpUser):
        host = url

    user = Nobody(Environment(user_classes=[Nobody]))

    def one() -> None:
        assert user.client.request(method, "/v1/plan", data=body or None, headers=headers).status_code == 200

    return one


def measure(client: str, url: str, method: str, users: int, requests: int) -> dict[str, float]:
    if client == "locust":
        import locust  # noqa: F401, PLC0415 - patches everything, so before all else
    import gevent  # noqa: PLC0415

    ones = [exchange_of(client, url, method) for _ in range(users)]

    def work(one: Any, count: int) -> None:
        for _ in range(count):
            one()

    def round_of(count: int) -> None:
        with gevent.Timeout(LIMIT_S):
            gevent.joinall([gevent.spawn(work, one, count) for one in ones], raise_error=True)

    round_of(max(1, requests // users // 10))
    each = requests // users
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    round_of(each)
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {"cpu_us": cpu_s / (each * users) * 1e6, "rps": each * users / wall_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=4, metavar=("CLIENT", "URL", "METHOD", "USERS"))
    options = parser.parse_args()
    if options.child:
        client, url, method, users = options.child
        print(json.dumps(measure(client, url, method, int(users), options.requests)))  # noqa: T201 - the child's answer
        return
    with envoy() as url:
        print(f"{'client':18}{'method':8}{'users':>6}{'CPU us/request':>16}{'requests/s':>12}")  # noqa: T201
        for method, users, client in [(m, u, c) for m in ("GET", "POST") for u in (1, 50) for c in CLIENTS]:
            best = min((child(client, url, method, users, options) for _ in range(options.rounds)), key=cpu_of)
            print(f"{client:18}{method:8}{users:6}{cpu_of(best):16.1f}{best['rps']:12.0f}")  # noqa: T201


def cpu_of(result: dict[str, float]) -> float:
    return result["cpu_us"]


def child(client: str, url: str, method: str, users: int, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.fast_http_cost", "--requests", str(options.requests)]
    done = subprocess.run(
        [*command, "--child", client, url, method, str(users)],
        check=True, capture_output=True, text=True, timeout=LIMIT_S + 60,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
