"""What the Prometheus driver makes of servers that answer badly: one clear `PortError`, in bounded time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.drivers import prometheus_session
from harness.drivers.prometheus import PrometheusSource
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError
from harness.model.signal import Signal
from harness.model.time import Window
from tests.contract.test_metrics_source import target

UP = Signal("up", "up")
Answer = tuple[int, str, str]


class Stub:
    """A server that gives one answer, or one by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer | Callable[[str], Answer] = (200, "application/json", "{}")
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.posted: list[str] = []
        stub = self

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.asked.append((self.path, dict(self.headers.items())))
                time.sleep(stub.delay_s)
                status, kind, body = stub.answer if isinstance(stub.answer, tuple) else stub.answer(self.path)
                self.send_response(status)
                for name, value in {"Content-Type": kind, **stub.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def do_POST(self) -> None:
                stub.posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.do_GET()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def says(self, **body: Any) -> None:
        """Answer this JSON."""
        self.answer = (200, "application/json", json.dumps(body))

    def result(self, result: Any, kind: str = "matrix", **more: Any) -> None:
        """Answer a result, and 1 to scalar queries."""
        wanted = json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})
        scalar = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}})
        self.answer = lambda path: (
            200,
            "application/json",
            scalar if "query=1" in path or "time%28" in path else wanted,
        )

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


Make = Callable[..., PrometheusSource]


@pytest.fixture
def source() -> Iterator[Make]:
    """Return a maker of sources that are closed afterwards."""
    with ExitStack() as cleanup:

        def make(stub: Stub, environ: dict[str, str] | None = None, **changes: Any) -> PrometheusSource:
            made = PrometheusSource(target(stub.url, **changes), RealClock.starting_now(), environ or {})
            cleanup.callback(made.close)
            return made

        yield make


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, "text/html", "<html>Log in</html>"), "HTTP 200 with text/html, which is not JSON"),
        ((503, "text/plain", "upstream"), "HTTP 503 with text/plain"),
        ((200, "application/json", "[]"), "JSON of another kind"),
        ((200, "application/json", ""), "not JSON"),
        ((200, "application/json", '{"status": "success"}'), "not an answer of Prometheus"),
        ((401, "application/json", "{}"), "not allowed"),
        ((403, "text/html", "no"), "not allowed"),
        (
            (422, "application/json", '{"status": "error", "errorType": "execution", "error": "many-to-many"}'),
            "execution: many-to-many",
        ),
        (
            (200, "application/json", '{"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}'),
            "answers 2.0",
        ),
        (
            (200, "application/json", '{"status": "success", "data": {"resultType": "vector", "result": []}}'),
            "which is no number",
        ),
    ],
)
def test_what_is_no_answer_of_prometheus_is_one_clear_error_c10_c16(
    stub: Stub, source: Make, answer: Answer, reason: str
) -> None:
    stub.answer = answer
    with pytest.raises(PortError) as caught:
        source(stub).identify()
    assert reason in str(caught.value)
    harvest = source(stub).harvest([UP], Window(0, 10))
    assert reason in harvest.problem("up")


def test_a_busy_store_is_asked_a_bounded_number_of_times_c16(stub: Stub, source: Make) -> None:
    stub.answer = (503, "text/plain", "upstream")
    with pytest.raises(PortError):
        source(stub).identify()
    assert len(stub.asked) == 3


def test_a_redirect_is_not_followed_since_it_could_leave_the_machine(stub: Stub, source: Make) -> None:
    stub.answer = (302, "text/html", "")
    stub.headers = {"Location": "http://login.example.invalid/start"}
    with pytest.raises(PortError, match=r"redirects to login\.example\.invalid"):
        source(stub).identify()
    assert len(stub.asked) == 1


def test_c15_a_silent_store_is_left_after_the_time_out(
    stub: Stub, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_session, "TIMEOUTS_S", (1.0, 1.2))
    stub.delay_s = 3.0
    with pytest.raises(PortError, match="no answer"):
        source(stub).identify()
    assert len(stub.asked) == 1


def test_a_store_that_falls_silent_is_not_asked_for_every_signal(
    stub: Stub, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_session, "TIMEOUTS_S", (1.0, 0.5))
    stub.result([])
    harvested = source(stub)
    good = stub.answer

    def falls_silent(path: str) -> Answer:
        if "up%5B" in path:
            time.sleep(1.0)
        assert callable(good)
        return good(path)

    stub.answer = falls_silent
    harvest = harvested.harvest([UP, Signal("later", "later")], Window(0, 10))
    assert "no answer" in harvest.problem("up")
    assert "not asked" in harvest.problem("later")
    assert sum("later" in path for path, _ in stub.asked) == 0


def test_warnings_are_kept_and_make_the_answer_partial_c11(stub: Stub, source: Make) -> None:
    stub.result([{"metric": {}, "values": [[1, "0.001"]]}], warnings=["store x unreachable"], infos=["no rate"])
    harvest = source(stub).harvest([UP], Window(0, 10))
    assert "store x unreachable" in harvest.problem("up")
    assert harvest.signals["up"].infos == ("no rate",)


def test_the_same_instants_of_two_label_sets_stay_apart_c14(stub: Stub, source: Make) -> None:
    rows = [{"metric": {"__name__": "up", "pod": pod}, "values": [[1, "1"], [2, "0"]]} for pod in "ab"]
    stub.result(rows)
    series = source(stub).harvest([UP], Window(0, 10)).series("up")
    assert [one.labels for one in series] == [{"pod": "a"}, {"pod": "b"}]


def test_native_histograms_and_odd_results_are_errors_of_their_signal(stub: Stub, source: Make) -> None:
    stub.result([{"metric": {}, "histograms": [[1, {"count": "3"}]]}])
    assert "native histograms" in source(stub).harvest([UP], Window(0, 10)).problem("up")
    stub.result("oops", kind="string")
    assert "not a matrix" in source(stub).harvest([UP], Window(0, 10)).problem("up")
    stub.result([{"metric": {}, "values": [[1, "many"]]}])
    assert "many" in source(stub).harvest([UP], Window(0, 10)).problem("up")
    stub.result([{"metric": {}}], kind="vector")
    with pytest.raises(PortError, match="not an instant vector"):
        source(stub).instant(UP)


def test_the_token_is_sent_and_never_shown(stub: Stub, source: Make) -> None:
    stub.answer = (403, "text/html", "no")
    with pytest.raises(PortError) as caught:
        source(stub, {"TOKEN": "s3cret"}, prometheus_token_env="TOKEN").identify()
    assert stub.asked[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(caught.value)


def test_a_token_that_is_not_set_is_named_by_its_variable(stub: Stub, source: Make) -> None:
    with pytest.raises(PortError, match="TOKEN is not set"):
        source(stub, prometheus_token_env="TOKEN")
    assert not stub.asked


@pytest.mark.parametrize(
    "url", ["http://198.18.1.2:9090", "http://prometheus.example.invalid", "http://[fd00::1]:9090"]
)
def test_an_address_outside_loopback_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(PortError, match="not a loopback address"):
        PrometheusSource(target(url), RealClock.starting_now(), {})


def test_proxies_and_bundles_of_the_environment_are_not_used_b09(
    stub: Stub, source: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    stub.result([])
    assert source(stub).identify() == "unknown version"


def test_a_store_without_a_build_page_has_an_unknown_version(stub: Stub, source: Make) -> None:
    scalar = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}})
    stub.answer = lambda path: (200, "application/json", scalar) if "query=1" in path else (404, "text/plain", "none")
    assert source(stub).identify() == "unknown version"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((404, "text/plain", "404 page not found"), r"HTTP 404.* — prometheus_url must answer /api/v1/rules"),
        ((200, "application/json", '{"status": "success", "data": {}}'), "not a list of rules"),
        ((200, "application/json", '{"status": "success", "data": {"groups": [3]}}'), "not a list of rules"),
        ((200, "text/html", "<html>"), "is not JSON"),
    ],
)
def test_a_store_without_a_page_of_rules_says_so(stub: Stub, source: Make, answer: Answer, problem: str) -> None:
    stub.answer = lambda path: answer
    with pytest.raises(PortError, match=problem):
        source(stub).alert_rules()


@pytest.mark.parametrize("form", ["{}", "sum({})"])
def test_c16_a_long_query_travels_in_the_body_and_not_in_the_url(stub: Stub, source: Make, form: str) -> None:
    stub.result([{"metric": {"job": "x"}, "values": [[1, "1"]]}], warnings=["cut"])
    query = form.format('up{job=~"' + "|".join(f"job-{n}" for n in range(400)) + '"}')
    harvest = source(stub).harvest([Signal("up", query)], Window(0.0, 60.0))
    assert len(harvest.series("up")) == 1
    assert "partial answer (cut)" in harvest.problem("up")
    (body,) = stub.posted
    assert "job-399" in body
    assert max(len(path) for path, _ in stub.asked) < 200
