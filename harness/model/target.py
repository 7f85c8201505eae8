"""A target: the cluster and the systems round it that a run may touch. No I/O; secrets are named, never held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.model.load import ONE_HERE, LoadWorkers
from harness.model.signal import Signal


@dataclass(frozen=True, slots=True)
class Announce:
    """Who is told of a run, besides who started it. Everything may be empty: nobody is.

    Attributes:
        webhook_url_env: Name of the environment variable with the URL that takes a JSON POST; such URLs are secrets.
        grafana_url: Base URL of the Grafana that gets an annotation.
        grafana_token_env: Name of the environment variable with its service account's token.
        alertmanager_url: Base URL of the Alertmanager in which expected alerts are silenced.
        alertmanager_token_env: Name of the environment variable with its bearer token, or empty.
        silence: Matchers of the silence, such as ``alertname=~"Tool.*"``; without any nothing is silenced.
        ca_file: CA of all three, or empty for the system's.
    """

    webhook_url_env: str = ""
    grafana_url: str = ""
    grafana_token_env: str = ""
    alertmanager_url: str = ""
    alertmanager_token_env: str = ""
    silence: tuple[str, ...] = ()
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class AlertRoute:
    """How the pages of a drill come to it. Everything is empty where no drill can be run.

    Attributes:
        alertmanager_url: Base URL of the Alertmanager.
        alertmanager_token_env: Name of the environment variable with its bearer token, or empty.
        receiver: Name of the receiver in its configuration that sends to the drill.
        webhook_token_env: Name of the environment variable with the token that this receiver sends.
        webhook_token_file: Or the file that holds it; only the local testbed has one.
        listen: ``host:port`` of the drill's server as that receiver knows it, or empty: any.
        ca_file: CA of Alertmanager, or empty for the system's.
        programs: Folder that comes first on the PATH of a runbook's commands, or empty.
    """

    alertmanager_url: str = ""
    alertmanager_token_env: str = ""
    receiver: str = ""
    webhook_token_env: str = ""
    webhook_token_file: str = ""
    listen: str = ""
    ca_file: str = ""
    programs: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A permitted target of `gameday.toml`. All identity fields must match before anything is read (DESIGN 1.4).

    Attributes:
        name: Name in `gameday.toml`.
        kind: ``local``, ``kind`` or ``cluster``.
        context: Name of the kubeconfig context.
        kubeconfig: Path of the one kubeconfig file.
        api_server: Pattern (fnmatch) that the API server's URL must match.
        kube_system_uid: uid of the namespace kube-system.
        opt_in_label: ``key=value`` that kube-system and every namespace of the experiment must carry.
        namespaces: Namespaces that faults may touch.
        gateway_url: The only address that load goes to.
        prometheus_url: Base URL of Prometheus.
        prometheus_token_env: Name of the environment variable with its bearer token, or empty.
        prometheus_ca_file: CA of Prometheus, or empty for the system's.
        prometheus_user_env: Name of the environment variable with its user (basic authentication), or empty.
        prometheus_password_env: Name of the environment variable with the user's password, or empty.
        prometheus_password_file: File that holds the password instead, or empty.
        prometheus_cert_file: Our client certificate (mutual TLS), with or without its key, or empty.
        prometheus_key_file: Its key, where the certificate's file does not hold it.
        rate_max_rps: Load above it is refused.
        loopback_only: Every address must lie in 127/8.
        scrape_interval_s: How often Prometheus scrapes.
        components: What the target says it has (``core``, ``platform``, ``keda``).
        generation: Identity of this boot of a testbed, or empty.
        system_namespace: Where Lease and undo records live.
        signals: The query pack by signal name.
        header_names: Headers of the load whose values come from the environment (``NAME`` → ``GAMEDAY_HEADER_NAME``).
        addresses: Further addresses by name, such as ``redis_url``.
        protected: What no fault may hit unless the experiment names it, as ``namespace/label=value``.
        workload_share_max: Largest share of a workload's Ready pods that one fault may hit.
        pool_share_max: Largest share of a pool's Ready nodes that may be hit at a time.
        pool_label: Node label that names the pool.
        allowed_hours: When runs may start, such as ``Mon-Fri 09:00-16:00 Europe/Berlin``; empty means always.
        helper_image: Image of helper pods that only wait.
        helper_command: What they run, or empty for the image's own.
        commands: Commands of this machine that stand for what no API can do (``node_stop``, ``node_start``), each with
            ``{node}`` in its arguments. Never taken from a cluster.
        load_workers: Who makes the load.
        announce: Who is told of a run.
        drill: How pages come to a drill.
        gpu_resource: What nodes offer GPUs as, such as ``amd.com/gpu``: the default of faults on GPUs. Empty:
            ``nvidia.com/gpu``, and nobody looks that a node does.
    """

    name: str
    kind: str
    context: str
    kubeconfig: str
    api_server: str
    kube_system_uid: str
    opt_in_label: str
    namespaces: tuple[str, ...]
    gateway_url: str
    prometheus_url: str
    rate_max_rps: float
    prometheus_token_env: str = ""
    prometheus_ca_file: str = ""
    prometheus_user_env: str = ""
    prometheus_password_env: str = ""
    prometheus_password_file: str = ""
    prometheus_cert_file: str = ""
    prometheus_key_file: str = ""
    loopback_only: bool = False
    scrape_interval_s: float = 15.0
    components: tuple[str, ...] = ()
    generation: str = ""
    system_namespace: str = "gameday-system"
    signals: Mapping[str, Signal] = field(default_factory=dict)
    header_names: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    workload_share_max: float = 0.5
    pool_share_max: float = 0.5
    pool_label: str = "gameday.local/pool"
    allowed_hours: str = ""
    helper_image: str = "registry.k8s.io/pause:3.10"
    helper_command: tuple[str, ...] = ()
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    load_workers: LoadWorkers = ONE_HERE
    announce: Announce = Announce()
    drill: AlertRoute = AlertRoute()
    gpu_resource: str = ""

    @property
    def secret_envs(self) -> tuple[str, ...]:
        """Names of the environment variables whose values must never be recorded."""
        told = self.announce
        names = (
            self.prometheus_token_env,
            self.prometheus_password_env,
            told.webhook_url_env,
            told.grafana_token_env,
            told.alertmanager_token_env,
            self.drill.alertmanager_token_env,
            self.drill.webhook_token_env,
        )
        return tuple(name for name in names if name)


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """What a cluster says it is. Read before anything else, and nothing more is read where it does not match."""

    context: str
    api_server: str
    kube_system_uid: str
    kube_system_labels: Mapping[str, str]
    user: str = ""
    server_version: str = ""
    proxy: str = ""
