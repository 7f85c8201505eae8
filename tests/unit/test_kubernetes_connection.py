"""One connection: remedies, renewal after 401 (CASES B08), paging (B13), bad answers (B06), no retries (B14)."""

import socket
import ssl
import threading

import pytest
import trustme
from kubernetes.client import ApiClient, Configuration

from harness.drivers.kubernetes.connection import Call, Connection
from harness.drivers.kubernetes.failures import ApiError, SilenceError
from harness.drivers.kubernetes.resources import (
    DEPLOYMENTS,
    PODS,
    SCALED_OBJECTS,
    find_resource,
    list_all,
    read,
    served,
)
from harness.model.errors import PortError
from tests.unit.kubernetes_stub import client_of, pod, pod_list, status, stub_api

PATH = "/api/v1/namespaces/agents/pods"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_unreachable_server_is_one_sentence_with_a_remedy():
    connection = Connection(lambda: client_of(free_port()), "stub")
    with pytest.raises(
        PortError, match=r"kubernetes: read: http://127\.0\.0\.1:\d+ cannot be reached: .* — is the API"
    ):
        connection.get("read", "/version")


def test_a_server_that_accepts_and_says_nothing_is_given_up_b01():
    with stub_api() as (stub, connection):
        stub.on("GET", "/version", lambda e: stub.ended.wait(30))
        with pytest.raises(SilenceError, match=r"did not send anything within 0\.2 s"):
            connection.send(Call("read", "GET", "/version", timeout_s=0.2))
        stub.ended.set()


def test_a_certificate_of_another_authority_is_refused_b15():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=handshake, args=(listener, context), daemon=True)
        thread.start()
        configuration = Configuration(host=f"https://127.0.0.1:{listener.getsockname()[1]}")
        configuration.retries, configuration.proxy = False, None
        connection = Connection(lambda: ApiClient(configuration), "stub")
        with pytest.raises(PortError, match=r"TLS with .* failed: .*never switched off"):
            connection.get("read", "/version")
        thread.join(5)


def handshake(listener, context):
    try:
        with context.wrap_socket(listener.accept()[0], server_side=True):
            pass
    except (ssl.SSLError, ConnectionError):
        return


def test_a_401_builds_one_new_client_and_asks_again_b08():
    tokens = iter(["old", "new"])
    with stub_api() as (stub, first):
        port = int(first.server.rpartition(":")[2])
        connection = Connection(lambda: client_of(port, next(tokens)), "stub")

        def check(exchange):
            fresh = exchange.headers["Authorization"] == "Bearer new"
            exchange.json(200, {"ok": True}) if fresh else exchange.json(401, status(401, "Unauthorized", "expired"))

        stub.on("GET", "/version", check)
        assert connection.get("read", "/version") == {"ok": True}
        assert connection.get("read", "/version") == {"ok": True}
        assert len(stub.requests) == 3


def test_a_second_401_is_an_error_and_not_a_loop_b08():
    with stub_api() as (stub, connection):
        stub.on("GET", "/version", lambda e: e.json(401, status(401, "Unauthorized", "Unauthorized")))
        with pytest.raises(ApiError, match="renew them") as raised:
            connection.get("read", "/version")
        assert raised.value.status == 401
        assert len(stub.requests) == 2


@pytest.mark.parametrize(("code", "remedy"), [(403, "grant this verb"), (429, "slow down"), (503, "apiservices")])
def test_a_refusal_is_asked_once_and_carries_its_remedy_b14(code, remedy):
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(code, status(code, "Reason", "said so", ("Cause", "because"))))
        with pytest.raises(ApiError, match=remedy) as raised:
            connection.get("list pods", PATH)
        assert raised.value.causes == (("Cause", "because"),)
        assert "said so; because" in str(raised.value)
        assert len(stub.requests) == 1


BUSY = status(429, "TooManyRequests", "too many requests, please try again later")


def test_b14_a_read_that_is_throttled_is_asked_again_when_the_server_says():
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, *[lambda e: e.json(429, BUSY, Retry_After="1")] * 2, lambda e: e.json(200, pod_list("7")))
        assert list_all(connection, PODS, "agents") == ([], "7")
        assert len(stub.requests) == 3


@pytest.mark.parametrize("retry_after", ["600", "0", "Sun, 06 Nov 1994 08:49:37 GMT", "-1", "soon", ""])
def test_b14_a_read_is_asked_once_where_its_own_limit_ends_sooner_or_no_time_is_said(retry_after):
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(429, BUSY, Retry_After=retry_after))
        with pytest.raises(ApiError, match="slow down") as raised:
            connection.get("list pods", PATH)
        assert raised.value.retry_after_s == (600.0 if retry_after == "600" else 0.0)
        assert len(stub.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_b14_a_write_that_is_throttled_is_asked_once_and_its_caller_told_for_how_long(method):
    with stub_api() as (stub, connection):
        stub.on(method, PATH, lambda e: e.json(429, BUSY, Retry_After="2"))
        with pytest.raises(ApiError) as raised:
            connection.send(Call("write", method, PATH, body={}))
        assert (raised.value.retry_after_s, len(stub.requests)) == (2.0, 1)


def test_b14_a_watch_that_is_throttled_is_not_waited_for_here_since_it_would_be_blind_unsaid():
    with stub_api() as (stub, connection):
        stub.on("GET?watch", PATH, lambda e: e.json(429, BUSY, Retry_After="1"))
        with pytest.raises(ApiError):
            connection.stream(Call("watch pods", "GET", PATH, {"watch": "true"}))
        assert len(stub.requests) == 1


@pytest.mark.parametrize("data", [b"<html>", b"[1]", b""])
def test_an_answer_that_is_no_json_object_is_a_bad_answer(data):
    with stub_api() as (stub, connection):
        stub.on("GET", "/version", lambda e: e.raw(200, data))
        with pytest.raises(PortError, match="bad answer"):
            connection.get("read", "/version")


def test_a_refusal_that_is_no_status_object_shows_what_came():
    with stub_api() as (stub, connection):
        stub.on("GET", "/version", lambda e: e.raw(502, b"bad gateway of some proxy"))
        with pytest.raises(ApiError, match="502: bad gateway of some proxy"):
            connection.get("read", "/version")


def test_items_null_is_a_bad_answer_and_never_an_empty_list_b06():
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, lambda e: e.json(200, {"metadata": {"resourceVersion": "1"}, "items": None}))
        with pytest.raises(PortError, match="a list without items"):
            list_all(connection, PODS, "agents")


def test_a_list_is_read_page_by_page_and_restarts_where_its_token_expired_b13():
    first = {**pod_list("7", pod("a", "u1", "1")), "metadata": {"resourceVersion": "7", "continue": "t"}}
    answers = [
        (200, first),
        (410, status(410, "Expired", "token")),
        (200, first),
        (200, pod_list("7", pod("b", "u2", "2"))),
    ]
    with stub_api() as (stub, connection):
        stub.on("GET", PATH, *[lambda e, c=code, o=obj: e.json(c, o) for code, obj in answers])
        items, version = list_all(connection, PODS, "agents")
    assert [item["metadata"]["name"] for item in items] == ["a", "b"]
    assert version == "7"


def test_an_absent_object_is_none_and_other_refusals_are_errors():
    with stub_api() as (stub, connection):
        stub.on("GET", f"{PATH}/b", lambda e: e.json(403, status(403, "Forbidden", "no")))
        assert read(connection, PODS, "agents", "a") is None
        with pytest.raises(ApiError):
            read(connection, PODS, "agents", "b")


def test_kinds_are_found_by_discovery_and_subresources_are_not_taken_for_them():
    entries = [
        {"name": "deployments/status", "kind": "Deployment", "namespaced": True},
        {"name": "deployments", "kind": "Deployment", "namespaced": True},
    ]
    with stub_api() as (stub, connection):
        stub.on("GET", "/apis/apps/v1", lambda e: e.json(200, {"resources": entries}))
        assert find_resource(connection, "apps/v1", "Deployment") == DEPLOYMENTS
        assert not served(connection, SCALED_OBJECTS)


def test_the_clock_skew_is_read_from_the_date_header():
    with stub_api() as (stub, connection):
        stub.on("GET", "/version", lambda e: e.json(200, {}))
        assert abs(connection.skew_s()) <= 1.5
