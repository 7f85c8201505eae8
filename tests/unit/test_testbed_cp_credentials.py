import contextlib
import csv
import ssl
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from testbed.controlplane.credentials import USERS, make_credentials, secret_files, token_of
from testbed.controlplane.pki import make_pki
from testbed.layout import Layout


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout("default", 3, 21300, tmp_path_factory.mktemp("instance"))
    make_pki(layout)
    make_credentials(layout)
    return layout


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("apiserver", "kubernetes.default.svc"),
        ("metrics-server", "metrics-server.kube-system.svc"),
        ("keda", "keda-metrics-apiserver.kube-system.svc"),
        ("etcd", "localhost"),
    ],
)
def test_a_serving_certificate_is_valid_for_the_name_that_is_verified(layout: Layout, name: str, host: str) -> None:
    shake_hands(layout, name, host)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(layout, name, "planner.example.com")


def shake_hands(layout: Layout, name: str, host: str) -> None:
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=layout.ca_cert)
    serving.load_cert_chain(layout.pki_dir / f"{name}.crt", layout.pki_dir / f"{name}.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=host)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    client.do_handshake()


def test_the_kubelet_certificate_names_every_nodes_address(layout: Layout) -> None:
    names = certificate(layout.kubelet_cert).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {node.internal_ip for node in layout.nodes}


def test_the_front_proxy_has_an_authority_of_its_own(layout: Layout) -> None:
    client = certificate(layout.pki_dir / "front-client.crt")
    client.verify_directly_issued_by(certificate(layout.pki_dir / "front-ca.crt"))
    with pytest.raises(ValueError, match="does not match"):
        client.verify_directly_issued_by(certificate(layout.ca_cert))


def test_everything_secret_is_readable_by_the_user_alone(layout: Layout) -> None:
    files = [*layout.pki_dir.iterdir(), *(path for path in secret_files(layout) if path.exists())]
    assert len(files) > len(USERS)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_every_user_has_a_token_of_its_own_that_is_new_each_time(layout: Layout, tmp_path: Path) -> None:
    rows = list(csv.reader((layout.pki_dir / "tokens.csv").read_text().splitlines()))
    tokens = {name: token for token, name, *_ in rows}
    assert len(set(tokens.values())) == len(USERS)
    assert token_of(layout.kubeconfig) == tokens["gameday-runner"]
    again = Layout("default", 3, 21300, tmp_path)
    make_pki(again)
    make_credentials(again)
    assert token_of(again.kubeconfig) != token_of(layout.kubeconfig)


def test_the_runner_is_no_administrator(layout: Layout) -> None:
    rows = csv.reader((layout.pki_dir / "tokens.csv").read_text().splitlines())
    groups = {name: groups for _, name, _, groups in rows}
    assert groups["admin"] == "system:masters"
    assert groups["gameday-runner"] == groups["node-agent"] == groups["metrics-server"] == ""


def test_a_kubeconfig_embeds_the_authority_and_names_the_context(layout: Layout) -> None:
    document = yaml.safe_load(layout.admin_kubeconfig.read_text())
    assert document["current-context"] == "gameday-default"
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:21300"
    assert "certificate-authority-data" in document["clusters"][0]["cluster"]
