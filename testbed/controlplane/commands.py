"""Command lines of the programs. Pure: a layout and the folders of the programs in, argument lists out.

Timings are short so that a game day sees node loss, eviction and autoscaling within seconds, not minutes; each differs
from the Kubernetes default where a comment says so.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testbed.controlplane.credentials import USERS
from testbed.controlplane.pki import FRONT_PROXY
from testbed.layout import SYSTEM_NAMESPACE, Layout

SERVICE_RANGE = "10.96.0.0/16"
_OPEN_PATHS = "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics"


@dataclass(frozen=True)
class Program:
    """One supervised program.

    Attributes:
        name: name of the program, of its log and of its process in `status`.
        argv: command line.
        environment: variables beside those that every program gets.
        stop_order: programs with a higher number are stopped earlier.
        stop_wait_s: seconds between SIGTERM and SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_order: int = 100
    stop_wait_s: int = 10


def etcd(layout: Layout, core: Path) -> Program:
    """The API server's store; its data are thrown away, so it never waits for the disk."""
    client, peer = (f"https://127.0.0.1:{port}" for port in (layout.ports.etcd_client, layout.ports.etcd_peer))
    pki = layout.pki_dir
    return Program(
        "etcd",
        (
            str(core / "etcd"),
            "--name=gameday",
            f"--data-dir={layout.etcd_dir}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=gameday={peer}",
            *(f"--{kind}cert-file={pki}/etcd.crt" for kind in ("", "peer-")),
            *(f"--{kind}key-file={pki}/etcd.key" for kind in ("", "peer-")),
            *(f"--{kind}trusted-ca-file={layout.ca_cert}" for kind in ("", "peer-")),
            *(f"--{kind}client-cert-auth" for kind in ("", "peer-")),
            "--unsafe-no-fsync",
            "--log-level=warn",
            "--auto-compaction-retention=1",
            f"--quota-backend-bytes={2**30}",
        ),
        stop_order=10,
    )


def apiserver(layout: Layout, core: Path) -> Program:
    """The API server: tokens and RBAC, no anonymous access, the kubelets' certificates verified."""
    return Program(
        "kube-apiserver",
        (
            str(core / "kube-apiserver"),
            "--bind-address=127.0.0.1",
            f"--secure-port={layout.ports.apiserver}",
            # A loopback address cannot be an endpoint of the Service `kubernetes`, so nobody may try to write one.
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--allow-privileged=true",
            "--authorization-mode=RBAC",
            "--anonymous-auth=false",
            # Default 300: pods stay on a lost node for five minutes.
            "--default-not-ready-toleration-seconds=5",
            "--default-unreachable-toleration-seconds=5",
            *_apiserver_certificates(layout),
        ),
        stop_order=20,
        stop_wait_s=15,
    )


def _apiserver_certificates(layout: Layout) -> tuple[str, ...]:
    pki = layout.pki_dir
    return (
        f"--etcd-servers=https://127.0.0.1:{layout.ports.etcd_client}",
        f"--etcd-cafile={layout.ca_cert}",
        f"--etcd-certfile={pki}/etcd-client.crt",
        f"--etcd-keyfile={pki}/etcd-client.key",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--token-auth-file={pki}/tokens.csv",
        # Nobody comes with a certificate, but the programs that let this server authenticate insist on a CA.
        f"--client-ca-file={layout.ca_cert}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--requestheader-client-ca-file={pki}/front-ca.crt",
        f"--requestheader-allowed-names={FRONT_PROXY}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-client.crt",
        f"--proxy-client-key-file={pki}/front-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={layout.ca_cert}",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
    )


def controller_manager(layout: Layout, core: Path) -> Program:
    """The controllers. Default QPS (20) would make controllers, not the autoscaler, the thing that is measured."""
    return Program(
        "kube-controller-manager",
        (
            str(core / "kube-controller-manager"),
            *_component_flags(layout, "kube-controller-manager", layout.ports.controller_manager),
            f"--root-ca-file={layout.ca_cert}",
            f"--service-account-private-key-file={layout.pki_dir}/sa.key",
            "--use-service-account-credentials=true",
            # Otherwise it creates /usr/libexec/kubernetes as root.
            f"--flex-volume-plugin-dir={layout.instance_dir}/flex-volume",
            # Defaults 5 s and 50 s; the agent's leases last 8 s.
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=8s",
            # Six nodes: one lost zone is more than the default threshold (55 %) that stops evictions.
            "--node-eviction-rate=10",
            "--secondary-node-eviction-rate=10",
            "--unhealthy-zone-threshold=1",
            # Defaults 15 s, 5 min, 30 s, 5 min.
            "--horizontal-pod-autoscaler-sync-period=5s",
            "--horizontal-pod-autoscaler-downscale-stabilization=15s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
            "--terminated-pod-gc-threshold=200",
        ),
        stop_order=40,
    )


def scheduler(layout: Layout, core: Path) -> Program:
    """The scheduler, with every default plugin."""
    flags = _component_flags(layout, "kube-scheduler", layout.ports.scheduler)
    return Program("kube-scheduler", (str(core / "kube-scheduler"), *flags), stop_order=40)


def _component_flags(layout: Layout, name: str, port: int) -> tuple[str, ...]:
    return (
        *_delegating_flags(layout, name, port),
        "--leader-elect=false",
        "--kube-api-qps=300",
        "--kube-api-burst=500",
        _OPEN_PATHS,
    )


def _delegating_flags(layout: Layout, name: str, port: int) -> tuple[str, ...]:
    """Flags of a server that lets the API server say who may ask it."""
    user = name if name in USERS else "keda"
    kubeconfig = layout.instance_dir / USERS[user].kubeconfig
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={layout.pki_dir}/{user}.crt",
        f"--tls-private-key-file={layout.pki_dir}/{user}.key",
    )


def nodeagent(layout: Layout, _core: Path) -> Program:
    """The agent that plays the kubelets; it stops before the API server, so that pods end in the API too."""
    argv = (sys.executable, "-m", "testbed.nodeagent", "--instance-dir", str(layout.instance_dir))
    return Program("nodeagent", argv, stop_order=60, stop_wait_s=20)


def reaper(layout: Layout, _core: Path) -> Program:
    """The harness's reaper, known here as a command line only: takes back what a dead game day left."""
    argv = (
        sys.executable, "-m", "harness.reaper_main", f"--kubeconfig={layout.reaper_kubeconfig}",
        f"--context={layout.context}", f"--namespace={SYSTEM_NAMESPACE}",
    )  # fmt: skip
    return Program("reaper", argv, stop_order=70)


def metrics_server(layout: Layout, core: Path) -> Program:
    """CPU and memory of pods for the HPA, scraped every 10 s (default 60 s; two scrapes make a rate)."""
    return Program(
        "metrics-server",
        (
            str(core / "metrics-server"),
            *_delegating_flags(layout, "metrics-server", layout.ports.metrics_server),
            f"--kubelet-certificate-authority={layout.ca_cert}",
            "--kubelet-use-node-status-port",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
            _OPEN_PATHS,
        ),
        stop_order=50,
    )


def keda_operator(layout: Layout, keda: Path) -> Program:
    """KEDA's controllers and scalers."""
    return Program(
        "keda-operator",
        (
            str(keda / "keda-operator"),
            f"--kubeconfig={layout.instance_dir / USERS['keda'].kubeconfig}",
            f"--cert-dir={keda_cert_dir(layout)}",
            "--enable-cert-rotation=false",
            f"--metrics-bind-address=127.0.0.1:{layout.ports.keda_operator_metrics}",
            f"--health-probe-bind-address=127.0.0.1:{layout.ports.keda_operator_health}",
            f"--metrics-service-bind-address=127.0.0.1:{layout.ports.keda_operator_grpc}",
        ),
        environment=_keda_environment(layout),
        stop_order=50,
    )


def keda_adapter(layout: Layout, keda: Path) -> Program:
    """KEDA's external metrics API, which asks the operator by gRPC."""
    kubeconfig = layout.instance_dir / USERS["keda"].kubeconfig
    return Program(
        "keda-adapter",
        (
            str(keda / "keda-adapter"),
            *_delegating_flags(layout, "keda-adapter", layout.ports.keda_adapter),
            f"--lister-kubeconfig={kubeconfig}",
            f"--client-ca-file={layout.ca_cert}",
            f"--cert-dir={keda_cert_dir(layout)}",
            f"--metrics-service-address=127.0.0.1:{layout.ports.keda_operator_grpc}",
            f"--port={layout.ports.keda_adapter_metrics}",
        ),
        environment=_keda_environment(layout),
        stop_order=55,
    )


def keda_cert_dir(layout: Layout) -> Path:
    """Folder with `ca.crt`, `tls.crt`, `tls.key` for the mutual TLS between KEDA's programs."""
    return layout.pki_dir / "keda-grpc"


def _keda_environment(layout: Layout) -> dict[str, str]:
    return {
        "KUBECONFIG": str(layout.instance_dir / USERS["keda"].kubeconfig),
        "POD_NAMESPACE": "kube-system",
        "WATCH_NAMESPACE": "",
        # The operator exits without it.
        "KEDA_CLUSTER_OBJECT_NAMESPACE": SYSTEM_NAMESPACE,
    }


PROGRAMS: dict[str, tuple[str, Callable[[Layout, Path], Program]]] = {
    "etcd": ("core", etcd),
    "kube-apiserver": ("core", apiserver),
    "kube-controller-manager": ("core", controller_manager),
    "kube-scheduler": ("core", scheduler),
    "nodeagent": ("core", nodeagent),
    "reaper": ("core", reaper),
    "metrics-server": ("core", metrics_server),
    "keda-operator": ("keda", keda_operator),
    "keda-adapter": ("keda", keda_adapter),
}
"""Program name -> (family whose folder it is given, its command line)."""
