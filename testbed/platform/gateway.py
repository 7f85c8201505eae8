"""The gateway launcher: renders Envoy's bootstrap from its template and becomes Envoy.

Locally endpoints come from the files that the node agent writes; elsewhere from DNS. It never writes such a file: one
that is missing after a short wait is a clear error. Run: ``python -m testbed.platform.gateway``.
"""

import socket
import time
from collections.abc import Sequence
from pathlib import Path

from testbed.platform import launching, serving
from testbed.platform.settings import Environment, SettingsError

TEMPLATE = "/etc/envoy/bootstrap.yaml.j2"
ENDPOINTS_WAIT_S_MAX = 20.0
PORT_WAIT_S_MAX = 20.0
SERVICES = {  # cluster name in Envoy: Service as namespace.service.port-name, and its port for DNS
    "planner": ("agents.planner.http", 8080),
    "inference": ("agents.inference.http", 8080),
    "tool_api": ("agents.tool-api.http", 8080),
    "redis": ("platform-infra.redis.redis", 6379),
    "prometheus": ("platform-infra.prometheus.http", 9090),
}
HTTP_SERVICES = ("planner", "inference", "tool_api")
FAULTS = "/etc/envoy-faults"
LISTENERS = "listeners.json"
"""In the folder of endpoint files: listeners that NetworkPolicies open and close. Only where pods have no network."""


def endpoint_folder(env: Environment) -> str | None:
    """Return where the node agent's files are, None where pods have a network of their own."""
    return env.text("GAMEDAY_EDS_DIR") if launching.pod_addresses(env) == launching.LOOPBACK else None


def clusters(env: Environment) -> list[dict[str, object]]:
    """Return what the template needs of every cluster: name, Service key, endpoint file or DNS address."""
    eds_dir = endpoint_folder(env)
    found: list[dict[str, object]] = []
    for name, (key, port) in SERVICES.items():
        namespace, service, _port_name = key.split(".")
        cluster: dict[str, object] = {"name": name, "service": key, "http": name in HTTP_SERVICES}
        if eds_dir:
            cluster |= {"eds_dir": eds_dir, "eds_path": f"{eds_dir}/{key}.yaml"}
        else:
            cluster |= {"dns_host": f"{service}.{namespace}.svc", "dns_port": port}
        found.append(cluster)
    return found


def bootstrap_values(env: Environment) -> dict[str, object]:
    """Return the values of the bootstrap template; raises SettingsError for what is missing or wrong."""
    eds_dir = endpoint_folder(env)
    return {
        "clusters": clusters(env),
        "eds_dir": eds_dir,
        "listeners_path": f"{eds_dir}/{LISTENERS}" if eds_dir else None,
        "gateway_bind": env.text("GATEWAY_BIND"),
        "gateway_port": env.port("GATEWAY_PORT"),
        "admin_port": env.port("ENVOY_ADMIN_PORT"),
        "pod_bind": env.bind_ip(),
        "pod_port": env.port("METRICS_PORT", 9902),
        "tcp_ports": {name: env.port(f"{name.upper()}_PORT") for name in ("redis", "prometheus")},
        "inference_port": env.port("INFERENCE_PORT"),
        "tool_api_port": env.port("TOOL_API_PORT"),
        # A volume's files are swapped all at once behind this link; Envoy watches for its replacement.
        "faults_link": str(_existing(env.pod_path(env.text("ENVOY_FAULTS", FAULTS))) / "..data"),
        "request_timeout_s": env.integer("GATEWAY_REQUEST_TIMEOUT_S", 15, 1, 3600),
    }


def watched_files(env: Environment) -> list[Path]:
    """Return the node agent's files that the bootstrap names; none where pods have a network of their own."""
    eds_dir = endpoint_folder(env)
    if eds_dir is None:
        return []
    return [Path(eds_dir) / name for name in (*(f"{key}.yaml" for key, _port in SERVICES.values()), LISTENERS)]


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise SettingsError(f"{folder} does not exist: the pod needs the volume of ConfigMap gateway-faults there")
    return folder


def wait_for_endpoint_files(paths: Sequence[Path], wait_s: float = ENDPOINTS_WAIT_S_MAX) -> None:
    """Wait until every file exists: Envoy refuses a bootstrap that names one which does not."""
    deadline_s = time.monotonic() + wait_s
    while missing := [path.name for path in paths if not path.exists()]:
        if time.monotonic() > deadline_s:
            raise SettingsError(
                f"no endpoint file for {', '.join(missing)} after {wait_s:g} s: is the Service there, and the node "
                "agent running?"
            )
        time.sleep(0.1)


def wait_for_admin_port(port: int, wait_s: float = PORT_WAIT_S_MAX) -> None:
    """Wait until the admin port is free.

    Locally the ports are the machine's: a replaced gateway still drains when its successor starts. Without this wait
    the successor would end at once and come back only after the restart back-off.
    """
    deadline_s = time.monotonic() + wait_s
    while not _is_free(port):
        if time.monotonic() > deadline_s:
            raise SettingsError(f"ENVOY_ADMIN_PORT={port} is still taken after {wait_s:g} s: another gateway runs")
        time.sleep(0.02)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def prepare(env: Environment) -> tuple[str, list[str]]:
    """Render the bootstrap and return the command that serves it."""
    values = bootstrap_values(env)
    wait_for_admin_port(env.port("ENVOY_ADMIN_PORT"))
    wait_for_endpoint_files(watched_files(env))
    text = launching.render(env.pod_path(env.text("ENVOY_TEMPLATE", TEMPLATE)), values)
    path = launching.write_config(env, "envoy.yaml", text)
    level = env.choice("ENVOY_LOG_LEVEL", "warning", ("debug", "info", "warning", "error"))
    return "envoy", [
        "--config-path", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", level,
        "--drain-time-s", "5", "--service-cluster", "gateway", "--service-node", env.text("POD_NAME", "gateway"),
    ]  # fmt: skip


if __name__ == "__main__":
    serving.run_launcher("gateway", launching.launcher(prepare))
