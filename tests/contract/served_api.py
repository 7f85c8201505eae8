"""An API of a made-up group that the API server asks on loopback, as it asks for metrics. Nothing is left running."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trustme

from harness.drivers.kubernetes.connection import Call
from tests.contract.cluster_world import RealWorld

GROUP, VERSION = "gameday-contract.example", "v1"
NAME = f"{VERSION}.{GROUP}"
SERVICE = "made-up-metrics"
_REGISTERED = "/apis/apiregistration.k8s.io/v1/apiservices"


class _Page(BaseHTTPRequestHandler):
    """Answers discovery, whatever is asked for."""

    def do_GET(self) -> None:
        found = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": []}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served_api(world: RealWorld) -> Iterator[str]:
    """Register an API that answers, until the block ends; yields the name of its APIService."""
    authority = trustme.CA()
    certificate = authority.issue_cert(f"{SERVICE}.{world.namespace}.svc")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        _register(world, server.server_address[1], authority)
        try:
            yield NAME
        finally:  # an API that does not answer would keep the test's namespace from going
            world._admin.send(Call("remove the API", "DELETE", f"{_REGISTERED}/{NAME}"))
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _register(world: RealWorld, port: int, authority: trustme.CA) -> None:
    """Register it by a Service that names loopback, which the API server dials as it stands."""
    ports = [{"port": port}]
    spec: dict[str, Any] = {"type": "ExternalName", "externalName": "127.0.0.1", "ports": ports}
    world._post(f"/api/v1/namespaces/{world.namespace}/services", {"metadata": {"name": SERVICE}, "spec": spec})
    spec = {
        "group": GROUP,
        "version": VERSION,
        "service": {"namespace": world.namespace, "name": SERVICE, "port": port},
        "caBundle": b64encode(authority.cert_pem.bytes()).decode(),
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    world._post(_REGISTERED, {"metadata": {"name": NAME}, "spec": spec})
