"""Requests as bytes: what is sent, and what is refused because it would change what is sent."""

from __future__ import annotations

import pytest

from loadprofiles.fast_request import RequestHeads

HEADS = RequestHeads("", "127.0.0.1:8080", {"Authorization": "Bearer swordfish"})


def test_a_get_is_one_head() -> None:
    assert HEADS.request("GET", "/v1/plan?a=1", b"", {}) == (
        b"GET /v1/plan?a=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: identity\r\n"
        b"Authorization: Bearer swordfish\r\n\r\n"
    )


def test_a_body_has_a_length_and_so_has_a_post_without_one() -> None:
    assert HEADS.request("POST", "/", b"ab", {}).endswith(b"\r\nContent-Length: 2\r\n\r\nab")
    assert HEADS.request("POST", "/", b"", {}).endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert HEADS.request("DELETE", "/", b"ab", {}).endswith(b"\r\nContent-Length: 2\r\n\r\nab")


def test_headers_of_the_request_win_and_are_not_remembered() -> None:
    made = RequestHeads("/base", "a", {"Host": "gateway", "X-A": "1"})
    assert b"/base/x HTTP/1.1\r\nHost: gateway\r\n" in made.request("GET", "/x", b"", {})
    changing = {"x-a": "2"}
    assert b"\r\nx-a: 2\r\n" in made.request("GET", "/x", b"", changing)
    changing["x-a"] = "3"
    assert b"\r\nx-a: 3\r\n" in made.request("GET", "/x", b"", changing)
    assert b"\r\nX-A: 1\r\n" in made.request("GET", "/x", b"", {})


def test_endless_paths_take_no_endless_memory() -> None:
    made = RequestHeads("", "a", {})
    for number in range(1000):
        made.request("GET", f"/{number}", b"", {})
    assert len(made._ready) <= 64


@pytest.mark.parametrize(
    "path", ["", "a", "http://a/", "*", "/a b", "/a\r\nX: y", "/a\n", "/\x00", "/ä", "/a#b", "/\x7f"]
)
def test_a_path_that_cannot_be_sent_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        HEADS.request("GET", path, b"", {})


@pytest.mark.parametrize("method", ["", "get", "GET ", "GE\rT", "CONNECT"])
def test_a_method_that_cannot_be_sent_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        HEADS.request(method, "/", b"", {})


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-B: b"}, {"X-A": "a\n"}, {"X-A": "\x00"}, {"X-A": "€"}, {"X A": "a"}, {"": "a"}, {"X-A:": "a"},
        {"Content-Length": "3"}, {"transfer-encoding": "chunked"}, {"Connection": "close"}, {"Upgrade": "x"},
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_sent_is_refused_and_its_value_not_shown(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header") as refused:
        HEADS.request("GET", "/", b"", headers)
    assert "X-B" not in str(refused.value)
    with pytest.raises(ValueError, match="header"):
        RequestHeads("", "a", headers)
