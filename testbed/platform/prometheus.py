"""The Prometheus launcher: renders its configuration from a template and becomes ``prometheus``.

Locally it must never scrape a pod address as the API shows it: the template maps each to loopback and drops whatever is
still elsewhere. Targets come from the file that ``testbed.platform.discovery`` writes beside it. Without
ALERTMANAGER_ADDRESS nobody is told of alerts. Run: ``python -m testbed.platform.prometheus``.
"""

from pathlib import Path

from testbed.platform import alert_rules, launching, serving
from testbed.platform.settings import Environment, SettingsError, is_loopback

TEMPLATE = "/etc/prometheus/prometheus.yaml.j2"
RULES = "/etc/prometheus/alerts.yaml"
DATA_DIR = "/data"
TARGET_FILE = "/targets/pods.json"


def config_values(env: Environment) -> dict[str, object]:
    """Return the values of the configuration template."""
    return {
        "target_file": str(env.pod_path(env.text("TARGET_FILE", TARGET_FILE))),
        "rule_file": str(rule_file(env)),
        "alertmanager": _alertmanager(env),
        "loopback": launching.pod_addresses(env) == launching.LOOPBACK,
        "scrape_interval_s": _interval_s(env),
    }


def rule_file(env: Environment) -> Path:
    """Return the rules to load: the platform's own alerts, or those of ALERT_RULES with their times divided instead."""
    given = env.text("ALERT_RULES", "")
    if not given:
        return env.pod_path(env.text("PROMETHEUS_RULES", RULES))
    source = env.pod_path(given)
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read {source}: {error.strerror}") from error
    divisor = env.integer("ALERT_TIME_DIVISOR", 1, 1, 1000)
    return launching.write_config(env, "rules.yaml", alert_rules.divided(text, divisor, _interval_s(env)))


def _alertmanager(env: Environment) -> str:
    """Return host:port of who gets the alerts, or an empty text: nobody does."""
    if not env.text("ALERTMANAGER_ADDRESS", ""):
        return ""
    address = env.host_port("ALERTMANAGER_ADDRESS")
    if launching.pod_addresses(env) == launching.LOOPBACK and not is_loopback(address.host):
        raise SettingsError(f"ALERTMANAGER_ADDRESS={address} is not on loopback, but POD_ADDRESSES says loopback")
    return str(address)


def _interval_s(env: Environment) -> int:
    return env.integer("SCRAPE_INTERVAL_S", 2, 1, 300)


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
