"""A real Prometheus on loopback that scrapes a small exporter of ours, for contract tests. Nothing is left running."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCRAPE_S = 0.5
UP_LIMIT_S = 30.0


class Exporter:
    """A page of metrics that tests can change; status 500 makes a hole in the scrapes."""

    def __init__(self) -> None:
        self.samples: dict[str, str] = {}
        self.status = 200
        exporter = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = "".join(f"{name} {value}\n" for name, value in exporter.samples.items()).encode()
                self.send_response(exporter.status)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def prometheus(folder: Path, exporter: Exporter) -> Iterator[str]:
    """Run Prometheus until the block ends, with the rules that are in the folder; yields its base URL."""
    program = shutil.which("prometheus")
    assert program, "prometheus is not installed: `apt-get install prometheus` (make test does it)"
    config = {
        "global": {"scrape_interval": f"{int(SCRAPE_S * 1000)}ms", "scrape_timeout": "400ms"},
        "rule_files": [str(folder / "rules*.json")],
        "scrape_configs": [{"job_name": "demo", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}],
    }
    (folder / "prometheus.json").write_text(json.dumps(config))  # JSON is YAML
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program, f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_scraped(url, process, folder / "prometheus.log")
            yield url
        finally:
            process.kill()
            process.wait(timeout=10)


def _wait_scraped(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the first scrape: Prometheus looks at its targets only some 5 s after it is ready."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + UP_LIMIT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"prometheus ended: {log.read_text()[-500:]}"
        with contextlib.suppress(OSError), opener.open(f"{url}/api/v1/query?query=up", timeout=1) as answer:
            if json.load(answer)["data"]["result"]:
                return
        time.sleep(0.1)
    raise AssertionError(f"prometheus scraped nothing in {UP_LIMIT_S:g} s: {log.read_text()[-500:]}")
