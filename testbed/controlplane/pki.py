"""Certificates and keys of one instance, made anew for every boot.

Two authorities: `ca` signs every serving certificate and the clients of etcd and of the kubelets; `front-ca` signs the
aggregator's client alone, because whoever holds such a certificate may speak for any user (--requestheader-*).
"""

import os
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from testbed.layout import Layout

FRONT_PROXY = "front-proxy-client"
"""Common name of the aggregator's client certificate."""
_LOOPBACK = ("127.0.0.1", "localhost")
_API_SERVICE_IP = "10.96.0.1"
"""First address of --service-cluster-ip-range: the Service `kubernetes`."""


def make_pki(layout: Layout) -> None:
    """Write authorities, serving certificates, client certificates and the ServiceAccount key to `layout.pki_dir`."""
    layout.pki_dir.mkdir(mode=0o700, exist_ok=True)
    authority, front = trustme.CA(organization_name=layout.context), trustme.CA(organization_name="front proxy")
    write_secret(layout.ca_cert, authority.cert_pem.bytes())
    write_secret(layout.pki_dir / "front-ca.crt", front.cert_pem.bytes())
    for name, identities in _serving_identities(layout).items():
        _write_pair(layout.pki_dir, name, authority.issue_cert(*identities, common_name=name))
    # Without a name of its own a certificate gets an empty critical extension, which Go refuses.
    for name in ("etcd-client", "kubelet-client"):
        _write_pair(layout.pki_dir, name, authority.issue_cert(name, common_name=name))
    _write_pair(layout.pki_dir, "front-client", front.issue_cert(FRONT_PROXY, common_name=FRONT_PROXY))
    _write_service_account_key(layout.pki_dir)


def _serving_identities(layout: Layout) -> dict[str, tuple[str, ...]]:
    return {
        "etcd": _LOOPBACK,
        "apiserver": (*_LOOPBACK, "kubernetes", "kubernetes.default", "kubernetes.default.svc", _API_SERVICE_IP),
        "kube-controller-manager": _LOOPBACK,
        "kube-scheduler": _LOOPBACK,
        "kubelet": tuple(node.internal_ip for node in layout.nodes),
        # The aggregator verifies the name of the Service that an APIService points at.
        "metrics-server": (*_LOOPBACK, "metrics-server.kube-system.svc"),
        "keda": (*_LOOPBACK, "keda-metrics-apiserver.kube-system.svc"),
    }


def _write_pair(folder: Path, name: str, certificate: trustme.LeafCert) -> None:
    write_secret(folder / f"{name}.crt", b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    write_secret(folder / f"{name}.key", certificate.private_key_pem.bytes())


def _write_service_account_key(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    write_secret(folder / "sa.key", private)
    write_secret(folder / "sa.pub", public)


def write_secret(path: Path, content: bytes) -> None:
    """Write `content` to `path`, never readable by anyone else, not even for a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
