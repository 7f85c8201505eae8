"""Which way requests to the API server take is told before a run, and is our own decision (CASES B09)."""

from dataclasses import replace

import pytest
from kubernetes.client import ApiClient

from harness.drivers.kubernetes import kubeconfig
from harness.drivers.kubernetes.connection import Connection
from tests.unit.conductor_doubles import World
from tests.unit.test_dry_run import dry

CONFIG = """
clusters: [{name: c, cluster: {server: "https://api.example.invalid"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: mine, context: {cluster: c, user: u}}]
"""


def connected(tmp_path, text=CONFIG):
    path = tmp_path / "config"
    path.write_text(text)
    return Connection(lambda: ApiClient(kubeconfig.load(str(path), "mine")), "mine")


@pytest.fixture
def proxied(monkeypatch):
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.invalid:3128")


@pytest.mark.usefixtures("proxied")
def test_b09_a_connection_says_which_proxy_it_takes_and_no_proxy_is_obeyed(tmp_path, monkeypatch):
    assert connected(tmp_path).proxy == "http://proxy.example.invalid:3128"
    assert connected(tmp_path, CONFIG.replace("api.example.invalid", "127.0.0.1:6443")).proxy == ""
    monkeypatch.setenv("NO_PROXY", "api.example.invalid")
    assert connected(tmp_path).proxy == ""


def test_b09_the_way_is_told_before_a_run():
    world = World()
    world.identity = replace(world.identity, proxy="http://proxy.example.invalid:3128")
    found = dry(world)
    found.run()
    assert found.lines[0].endswith("as runner, through the proxy http://proxy.example.invalid:3128")
    direct = dry(World())
    direct.run()
    assert "proxy" not in direct.lines[0]
