"""The Prometheus launcher: renders its configuration from a template and becomes ``prometheus``.

Locally it must never scrape a pod address as the API shows it: the template maps each to loopback and drops whatever is
still elsewhere. Targets come from the file that ``testbed.platform.discovery`` writes beside it.
Run: ``python -m testbed.platform.prometheus``.
"""

from testbed.platform import launching, serving
from testbed.platform.settings import Environment

TEMPLATE = "/etc/prometheus/prometheus.yaml.j2"
RULES = "/etc/prometheus/alerts.yaml"
DATA_DIR = "/data"
TARGET_FILE = "/targets/pods.json"


def config_values(env: Environment) -> dict[str, object]:
    """Return the values of the configuration template."""
    return {
        "target_file": str(env.pod_path(env.text("TARGET_FILE", TARGET_FILE))),
        "rule_file": str(env.pod_path(env.text("PROMETHEUS_RULES", RULES))),
        "loopback": launching.pod_addresses(env) == launching.LOOPBACK,
        "scrape_interval_s": env.integer("SCRAPE_INTERVAL_S", 2, 1, 300),
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


if __name__ == "__main__":
    serving.run_launcher("prometheus", launching.launcher(prepare))
