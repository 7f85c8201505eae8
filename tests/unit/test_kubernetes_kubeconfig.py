"""One file, one context, verified TLS: CASES A16, B09, B11."""

import base64
import os

import pytest
import yaml
from kubernetes.client import Configuration

from harness.drivers.kubernetes import kubeconfig
from harness.model.errors import SpecError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(kubeconfig.platformdirs, "user_state_dir", lambda _: str(tmp_path / "state"))
    kubeconfig._private_folder.cache_clear()

    def written(name="config", server="https://127.0.0.1:6443", **cluster):
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "other",
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": {"token": "s3cret"}}],
            "contexts": [{"name": n, "context": {"cluster": "c", "user": "u"}} for n in ("mine", "other")],
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(document))
        return str(path)

    yield written
    kubeconfig._private_folder.cache_clear()


def test_two_paths_are_an_error_and_not_http_localhost_a16(write):
    both = write("a") + os.pathsep + write("b")
    with pytest.raises(SpecError, match="names several files"):
        kubeconfig.load(both, "mine")


def test_the_current_context_is_neither_needed_nor_used(write, tmp_path):
    path = write()
    document = yaml.safe_load((tmp_path / "config").read_text())
    del document["current-context"]
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    assert kubeconfig.load(path, "mine").host == "https://127.0.0.1:6443"


@pytest.mark.parametrize("path", ["", "/nowhere/config"])
def test_a_missing_file_is_an_error_a16(path):
    with pytest.raises(SpecError, match="kubeconfig"):
        kubeconfig.load(path, "mine")


def test_a_missing_context_names_those_that_are_there_a16(write):
    with pytest.raises(SpecError, match="no context 'staging'; it has mine, other"):
        kubeconfig.load(write(), "staging")


def test_a_file_that_is_no_kubeconfig_is_an_error(tmp_path):
    path = tmp_path / "config"
    path.write_text("- just\n- a list\n")
    with pytest.raises(SpecError, match="is not a kubeconfig"):
        kubeconfig.load(str(path), "mine")


def test_switched_off_verification_is_refused_a16(write):
    with pytest.raises(SpecError, match="TLS would not be verified"):
        kubeconfig.load(write(**{"insecure-skip-tls-verify": True}), "mine")


def test_plain_http_is_refused_a16(write):
    with pytest.raises(SpecError, match="is not https"):
        kubeconfig.load(write(server="http://localhost:8080"), "mine")


def test_the_global_default_configuration_is_left_alone_b11(write):
    before = Configuration._default
    loaded = kubeconfig.load(write(), "mine")
    assert Configuration._default is before
    assert loaded.host == "https://127.0.0.1:6443"


def test_a_loopback_server_is_never_asked_through_a_proxy_b09(write, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert kubeconfig.load(write(), "mine").proxy is None
    assert kubeconfig.load(write(server="https://api.example.com"), "mine").proxy == "http://127.0.0.1:9"


def test_inline_certificates_are_kept_in_a_private_folder_of_ours_b10(write, tmp_path):
    data = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()
    loaded = kubeconfig.load(write(**{"certificate-authority-data": data}), "mine")
    folder = tmp_path / "state" / "tls" / str(os.getpid())
    assert os.path.dirname(loaded.ssl_ca_cert) == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_message_shows_the_token(write):
    with pytest.raises(SpecError) as raised:
        kubeconfig.load(write(), "staging")
    assert "s3cret" not in str(raised.value)
