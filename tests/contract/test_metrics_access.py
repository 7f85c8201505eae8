"""Ways in to Prometheus: token, user and password, client certificate, its own CA; and no secret in what is told."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.drivers.prometheus import PrometheusSource
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError
from harness.model.target import Target
from tests.contract.plain_front import PlainServer
from tests.contract.tls_front import Gate, Papers, TlsFront, basic, bearer

SECRET, TOKEN_TEXT = "pl4nted-pässword", "pl4nted-token"
ENVIRON = {"PROM_TOKEN": TOKEN_TEXT, "PROM_TORN": "pl4nted\nkey", "PROM_USER": "rünner", "PROM_PASSWORD": SECRET}
TOKEN = {"prometheus_token_env": "PROM_TOKEN"}
USER = {"prometheus_user_env": "PROM_USER", "prometheus_password_env": "PROM_PASSWORD"}


async def _answers(request: web.Request) -> web.Response:
    if request.path.endswith("buildinfo"):
        return web.json_response({"status": "success", "data": {"version": "2.53.0"}})
    data = {"resultType": "scalar", "result": [1.0, "1"]}
    return web.json_response({"status": "success", "data": data})


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with PlainServer(_answers) as server:
        yield server.url


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


def source(url: str, papers: Papers, **access: Any) -> PrometheusSource:
    fields: dict[str, Any] = {"prometheus_ca_file": str(papers.ca_file), **access}
    target = Target("s", "cluster", "", "", "", "", "", ("agents",), "", url, 1.0, loopback_only=True, **fields)
    return PrometheusSource(target, RealClock.starting_now(), ENVIRON)


def names_nobody(headers: Any) -> bool:
    return "Authorization" not in headers


def password_file(papers: Papers, text: str) -> dict[str, str]:
    path = papers.folder / "password"
    path.write_text(text)
    return {"prometheus_user_env": "PROM_USER", "prometheus_password_file": str(path)}


@pytest.mark.parametrize("way", ["token", "user", "password-file", "certificate"])
def test_each_way_in_is_taken(way: str, store: str, papers: Papers) -> None:
    gate: Gate = bearer(TOKEN_TEXT) if way == "token" else basic("rünner", SECRET)
    access = {
        "token": TOKEN,
        "user": USER,
        "password-file": password_file(papers, f"{SECRET}\n"),
        "certificate": {
            "prometheus_cert_file": str(papers.cert_file),
            "prometheus_key_file": str(papers.key_file),
        },
    }[way]
    if way == "certificate":
        gate = names_nobody
    front = TlsFront(store, papers, gate, ask_client=way == "certificate")
    with front, closing(source(front.url, papers, **access)) as found:
        assert found.identify() == "2.53.0"


@pytest.mark.parametrize(
    ("access", "remedy"),
    [
        ({}, "set prometheus_token_env to the variable that holds a valid token"),
        (TOKEN, "renew the token in PROM_TOKEN"),
        (USER, "check the user in PROM_USER and its password"),
    ],
)
def test_credentials_that_are_not_taken_are_named_and_not_told(
    access: dict[str, str], remedy: str, store: str, papers: Papers
) -> None:
    with TlsFront(store, papers, bearer("another")) as front, closing(source(front.url, papers, **access)) as found:
        with pytest.raises(PortError, match=r"HTTP 401: not allowed") as caught:
            found.identify()
        assert remedy in str(caught.value)
        told = f"{caught.value!r} {caught.value}"
        assert "pl4nted" not in told
        assert base64.b64encode(f"rünner:{SECRET}".encode()).decode() not in told


def test_a_server_that_wants_a_certificate_and_gets_none_is_no_answer(store: str, papers: Papers) -> None:
    with TlsFront(store, papers, ask_client=True) as front, closing(source(front.url, papers)) as found:
        with pytest.raises(PortError, match="no answer"):
            found.identify()


def test_a_ca_that_we_do_not_know_is_refused_and_verification_stays_on(
    store: str, papers: Papers, tmp_path: Path
) -> None:
    others = Papers(tmp_path)
    with TlsFront(store, papers) as front, closing(source(front.url, others)) as found:
        with pytest.raises(PortError, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
            found.identify()
        assert front.asked == []


@pytest.mark.parametrize(
    ("access", "words"),
    [
        ({"prometheus_ca_file": "/nosuch/ca.pem"}, "prometheus_ca_file: /nosuch/ca.pem is not a file"),
        ({"prometheus_cert_file": "/nosuch/c.pem"}, "prometheus_cert_file: /nosuch/c.pem is not a file"),
        ({"prometheus_token_env": "PROM_OTHER"}, "PROM_OTHER is not set"),
        ({"prometheus_token_env": "PROM_TORN"}, "PROM_TORN holds characters that no token has"),
        (USER | {"prometheus_password_env": "PROM_OTHER"}, "PROM_OTHER is not set"),
    ],
)
def test_what_is_not_there_is_told_before_anything_is_sent(access: dict[str, str], words: str, papers: Papers) -> None:
    with pytest.raises(PortError, match=words):
        source("https://127.0.0.1:9", papers, **access)


def test_an_empty_password_file_is_told(papers: Papers) -> None:
    with pytest.raises(PortError, match="is empty — write the password into it"):
        source("https://127.0.0.1:9", papers, **password_file(papers, "\n"))
