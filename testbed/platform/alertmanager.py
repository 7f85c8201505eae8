"""The Alertmanager launcher: renders its configuration from a template and becomes ``alertmanager``.

Every alert goes to one webhook, that of a drill; while none is on nobody answers there, and nobody waits for it.
Locally the webhook must lie on loopback. The token stays in its file and is in no argument.
Run: ``python -m testbed.platform.alertmanager``.
"""

from urllib.parse import urlsplit

from testbed.platform import launching, serving
from testbed.platform.settings import Environment, SettingsError, is_loopback

TEMPLATE = "/etc/alertmanager/alertmanager.yaml.j2"
TOKEN_FILE = "/etc/alertmanager-token/token"  # noqa: S105 - a path
DATA_DIR = "/alertmanager"


def config_values(env: Environment) -> dict[str, object]:
    """Return the values of the configuration template."""
    token = env.pod_path(env.text("WEBHOOK_TOKEN_FILE", TOKEN_FILE))
    if not token.is_file():
        raise SettingsError(f"{token} does not exist: the pod needs the Secret drill-webhook there")
    return {"webhook_url": _webhook_url(env), "token_file": str(token)}


def _webhook_url(env: Environment) -> str:
    url = env.text("DRILL_WEBHOOK_URL")
    host = urlsplit(url).hostname or ""
    if launching.pod_addresses(env) == launching.LOOPBACK and not is_loopback(host):
        raise SettingsError(f"DRILL_WEBHOOK_URL={url!r} is not on loopback, but POD_ADDRESSES says loopback")
    return url


def prepare(env: Environment) -> tuple[str, list[str]]:
    """Render the configuration and return the command that serves it.

    ALERTMANAGER_LISTEN is where it listens beside the pod's own address: locally pods have no fixed one.
    """
    text = launching.render(env.pod_path(env.text("ALERTMANAGER_TEMPLATE", TEMPLATE)), config_values(env))
    path = launching.write_config(env, "alertmanager.yaml", text)
    listen = [f"{env.bind_ip()}:{env.port('PORT', 9093)}"]
    if env.text("ALERTMANAGER_LISTEN", ""):
        listen.append(str(env.host_port("ALERTMANAGER_LISTEN")))
    return env.text("ALERTMANAGER_PROGRAM", "alertmanager"), [
        f"--config.file={path}",
        *(f"--web.listen-address={address}" for address in listen),
        f"--storage.path={env.pod_path(env.text('ALERTMANAGER_DATA_DIR', DATA_DIR))}",
        "--cluster.listen-address=",  # one of them: nobody to gossip with
        "--log.level=warn",
    ]


if __name__ == "__main__":
    serving.run_launcher("alertmanager", launching.launcher(prepare))
