"""The Prometheus launcher: renders its configuration from a template and becomes ``prometheus``.

Locally it must never scrape a pod address as the API shows it: the template maps each to loopback and drops whatever is
still elsewhere, and this launcher refuses an API server that is not on loopback. Run:
``python -m testbed.platform.prometheus``.
"""

import ipaddress
from pathlib import Path

from testbed.platform import launching, serving
from testbed.platform.settings import Environment, HostPort, SettingsError

TEMPLATE = "/etc/prometheus/prometheus.yaml.j2"
TOKEN_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
DATA_DIR = "/data"


def api_server(env: Environment) -> HostPort:
    """Return the API server's address; raises SettingsError when it would leave the machine of a local testbed."""
    address = HostPort(env.text("KUBERNETES_SERVICE_HOST"), env.port("KUBERNETES_SERVICE_PORT"))
    if launching.pod_addresses(env) == launching.LOOPBACK and not _is_loopback(address.host):
        raise SettingsError(
            f"KUBERNETES_SERVICE_HOST={address.host!r} is not on loopback, but POD_ADDRESSES says loopback: "
            "set it to the API server's own address"
        )
    return address


def config_values(env: Environment) -> dict[str, object]:
    """Return the values of the configuration template."""
    token_dir = env.pod_path(env.text("SERVICE_ACCOUNT_DIR", TOKEN_DIR))
    return {
        "api_server": f"https://{api_server(env)}",
        "token_path": _existing(token_dir / "token"),
        "ca_path": _existing(token_dir / "ca.crt"),
        "loopback": launching.pod_addresses(env) == launching.LOOPBACK,
        "scrape_interval_s": env.integer("SCRAPE_INTERVAL_S", 2, 1, 300),
        "namespaces": env.text("SCRAPE_NAMESPACES", "agents,platform-infra").split(","),
    }


def prepare(env: Environment) -> tuple[str, list[str]]:
    """Render the configuration and return the command that serves it."""
    text = launching.render(env.pod_path(env.text("PROMETHEUS_TEMPLATE", TEMPLATE)), config_values(env))
    path = launching.write_config(env, "prometheus.yaml", text)
    return "prometheus", [
        f"--config.file={path}",
        f"--web.listen-address={env.bind_ip()}:{env.port('PORT', 9090)}",
        f"--storage.tsdb.path={env.pod_path(env.text('PROMETHEUS_DATA_DIR', DATA_DIR))}",
        f"--storage.tsdb.retention.time={env.text('PROMETHEUS_RETENTION', '6h')}",
        "--log.level=warn",
    ]


def _existing(path: Path) -> str:
    if not path.exists():
        raise SettingsError(f"{path} does not exist: the pod needs its ServiceAccount's token volume")
    return str(path)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    serving.run_launcher("prometheus", launching.launcher(prepare))
