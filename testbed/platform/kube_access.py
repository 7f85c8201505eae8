"""How a pod reaches the API server: its own ServiceAccount's token and CA, over TLS that is verified.

Where pod addresses are loopback the API server must be there too; a ClusterIP would leave the machine.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from aiohttp import TCPConnector

from testbed.platform import launching
from testbed.platform.settings import Environment, HostPort, SettingsError, is_loopback

TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path


@dataclass(frozen=True)
class KubeAccess:
    """The API server and the credentials of this pod."""

    url: str
    token_path: Path
    ca_path: Path

    def token(self) -> str:
        """Return the token as it is now: it is replaced while the pod runs."""
        return self.token_path.read_text().strip()


def from_env(env: Environment) -> KubeAccess:
    """Return the pod's access; raises SettingsError for a missing token volume or an address off this machine."""
    address = HostPort(env.text("KUBERNETES_SERVICE_HOST"), env.port("KUBERNETES_SERVICE_PORT"))
    if launching.pod_addresses(env) == launching.LOOPBACK and not is_loopback(address.host):
        raise SettingsError(
            f"KUBERNETES_SERVICE_HOST={address.host!r} is not on loopback, but POD_ADDRESSES says loopback: "
            "set it to the API server's own address"
        )
    token_dir = env.pod_path(env.text("SERVICE_ACCOUNT_DIR", TOKEN_DIR))
    return KubeAccess(f"https://{address}", _existing(token_dir / "token"), _existing(token_dir / "ca.crt"))


def connector(access: KubeAccess) -> TCPConnector:
    """Return a connector that trusts the cluster's CA alone."""
    return TCPConnector(ssl=ssl.create_default_context(cafile=access.ca_path))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise SettingsError(f"{path} does not exist: the pod needs its ServiceAccount's token volume")
    return path
