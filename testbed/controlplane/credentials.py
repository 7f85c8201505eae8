"""Users of one instance: a random token each, and a kubeconfig each. Tokens never leave the instance's folder."""

import base64
import csv
import io
import secrets
from dataclasses import dataclass
from pathlib import Path

import yaml

from testbed.controlplane.pki import write_secret
from testbed.layout import Layout


@dataclass(frozen=True)
class User:
    """A user of the API server.

    Attributes:
        name: what RBAC sees.
        kubeconfig: file name in the instance's folder.
        groups: groups of the user; `system:masters` may do everything.
    """

    name: str
    kubeconfig: str
    groups: tuple[str, ...] = ()


USERS = {
    "admin": User("admin", "admin.kubeconfig", ("system:masters",)),
    "runner": User("gameday-runner", "kubeconfig"),
    "reaper": User("gameday-reaper", "reaper.kubeconfig"),
    "node-agent": User("node-agent", "node-agent.kubeconfig"),
    # Their rights come with the API server (bootstrap policy).
    "kube-controller-manager": User("system:kube-controller-manager", "kube-controller-manager.kubeconfig"),
    "kube-scheduler": User("system:kube-scheduler", "kube-scheduler.kubeconfig"),
    "metrics-server": User("metrics-server", "metrics-server.kubeconfig"),
    # KEDA scales whatever a ScaledObject names and reads the Secrets that its triggers name.
    "keda": User("keda", "keda.kubeconfig", ("system:masters",)),
}


def make_credentials(layout: Layout) -> None:
    """Write `pki/tokens.csv` (--token-auth-file) and every user's kubeconfig, with the CA embedded."""
    table = io.StringIO()
    rows = csv.writer(table)
    for user in USERS.values():
        token = secrets.token_urlsafe(32)
        rows.writerow([token, user.name, user.name, ",".join(user.groups)])
        write_secret(layout.instance_dir / user.kubeconfig, _kubeconfig(layout, user, token).encode())
    write_secret(layout.pki_dir / "tokens.csv", table.getvalue().encode())


def _kubeconfig(layout: Layout, user: User, token: str) -> str:
    cluster = {
        "server": layout.api_server,
        "certificate-authority-data": base64.b64encode(layout.ca_cert.read_bytes()).decode(),
    }
    context = {"cluster": layout.context, "user": user.name}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": layout.context,
        "clusters": [{"name": layout.context, "cluster": cluster}],
        "contexts": [{"name": layout.context, "context": context}],
        "users": [{"name": user.name, "user": {"token": token}}],
    }
    return yaml.safe_dump(document, sort_keys=False)


def token_of(kubeconfig: Path) -> str:
    """Return the token in a kubeconfig of ours."""
    return str(yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]["token"])


def drill_webhook_token(layout: Layout) -> str:
    """Return the token of a drill's webhook; it is made when it is first asked for and stays until `down`."""
    if not layout.drill_webhook_token.exists():
        write_secret(layout.drill_webhook_token, secrets.token_urlsafe(32).encode())
    return layout.drill_webhook_token.read_text(encoding="utf-8")


def secret_files(layout: Layout) -> list[Path]:
    """Return the files outside `pki/` that hold a token."""
    kubeconfigs = (layout.instance_dir / user.kubeconfig for user in USERS.values())
    return [*kubeconfigs, layout.nodeagent_token, layout.drill_webhook_token]
