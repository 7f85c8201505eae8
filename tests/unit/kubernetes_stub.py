"""An HTTP server on loopback that answers as an API server would in one bad moment: silent, gone, torn, refused."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, Configuration

from harness.drivers.kubernetes.connection import Connection

Responder = Callable[["Exchange"], None]


class Exchange:
    """One request and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, ended: threading.Event) -> None:
        parts = urlsplit(handler.path)
        self.method, self.path = handler.command, parts.path
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        length = int(handler.headers.get("Content-Length") or 0)
        self.body = json.loads(handler.rfile.read(length)) if length else None
        self.headers = handler.headers
        self._handler, self._ended = handler, ended

    def json(self, status: int, obj: object, **headers: str) -> None:
        data = json.dumps(obj).encode()
        self.raw(status, data, **headers)

    def raw(self, status: int, data: bytes, **headers: str) -> None:
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.send_header("Content-Type", "application/json")
        self._handler.send_header("Content-Length", str(len(data)))
        self._handler.end_headers()
        self._handler.wfile.write(data)

    def stream(self, *lines: object, then: str = "end") -> None:
        """Stream watch lines, then ``end`` the answer, ``break`` the connection or stay ``silent``."""
        self._handler.send_response(200)
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()
        for line in lines:
            data = json.dumps(line).encode() + b"\n"
            self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self._handler.wfile.flush()
        if then == "end":
            self._handler.wfile.write(b"0\r\n\r\n")
        else:
            if then == "silent":
                self._ended.wait(30)
            self._handler.close_connection = True


class StubApi:
    """Routes requests to responders; the last one given for a path answers for ever."""

    def __init__(self) -> None:
        self.requests: list[Exchange] = []
        self._routes: dict[tuple[str, str], list[Responder]] = {}
        self._lock = threading.Lock()
        self.ended = threading.Event()

    def on(self, method: str, path: str, *responders: Responder) -> None:
        self._routes[method, path] = list(responders)

    def answer(self, exchange: Exchange) -> None:
        with self._lock:
            self.requests.append(exchange)
            queue = self._routes.get((exchange.method + ("?watch" if "watch" in exchange.query else ""), exchange.path))
            responder = None if queue is None else queue.pop(0) if len(queue) > 1 else queue[0]
        if responder is None:
            exchange.json(404, status(404, "NotFound", "no such route"))
        else:
            responder(exchange)


def status(code: int, reason: str, message: str, *causes: tuple[str, str]) -> dict[str, object]:
    found = [{"reason": why, "message": text} for why, text in causes]
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": {"causes": found}}


@contextmanager
def stub_api() -> Iterator[tuple[StubApi, Connection]]:
    """Serve a stub; yield it with a connection to it."""
    stub = StubApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            stub.answer(Exchange(self, stub.ended))

        def log_message(self, *_: object) -> None:
            return

    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    connection = Connection(lambda: client_of(server.server_port), "stub")
    try:
        yield stub, connection
    finally:
        stub.ended.set()
        connection.close()
        server.shutdown()
        server.server_close()


def client_of(port: int, token: str = "good") -> ApiClient:  # noqa: S107 - a stub accepts anything
    configuration = Configuration(host=f"http://127.0.0.1:{port}")
    configuration.proxy = None
    configuration.retries = False
    configuration.api_key["BearerToken"] = f"Bearer {token}"
    return ApiClient(configuration)


def pod(name: str, uid: str, version: str, **status: object) -> dict[str, object]:
    meta = {"name": name, "namespace": "agents", "uid": uid, "resourceVersion": version, "labels": {"app": "planner"}}
    return {"metadata": meta, "spec": {}, "status": {"phase": "Running", **status}}


def pod_list(version: str, *pods: dict[str, object]) -> dict[str, object]:
    return {"kind": "PodList", "metadata": {"resourceVersion": version}, "items": list(pods)}
