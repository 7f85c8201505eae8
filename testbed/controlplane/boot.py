"""Bringing up an instance's components, in order, and waiting until each is there.

Every step may be taken twice: a second `up` takes those of the components that are still missing. Nothing in here
decides whether an instance is to be started, reused or cleared.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from testbed.controlplane import objects
from testbed.controlplane.cluster import Cluster
from testbed.controlplane.commands import PROGRAMS, Program, keda_cert_dir
from testbed.controlplane.console import Progress
from testbed.controlplane.credentials import drill_webhook_token
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.places import REPOSITORY
from testbed.controlplane.readiness import nodes_not_ready, workloads_not_ready
from testbed.controlplane.supervision import Supervisor
from testbed.controlplane.waiting import first_fault, wait_until
from testbed.layout import Layout

_HEALTH_TIMEOUT_S = 2.0
_OVERLAYS = REPOSITORY / "testbed" / "manifests" / "overlays"


@dataclass
class Boot:
    """What the steps need.

    Attributes:
        layout: the instance.
        supervisor: its supervisor, running.
        families: family -> folder of its programs.
        components: all components that the instance will have.
        missing: those of them that are not there yet.
        progress: where steps are told.
    """

    layout: Layout
    supervisor: Supervisor
    families: Mapping[str, Path]
    components: tuple[str, ...]
    missing: tuple[str, ...]
    progress: Progress

    @property
    def cluster(self) -> Cluster:
        """The API server, as administrator."""
        return Cluster(self.layout)

    def start(self, *programs: str) -> None:
        """Start `programs`; does not wait."""
        for program in programs:
            self.supervisor.start_program(program)

    def wait(
        self,
        what: str,
        true: Callable[[], bool],
        programs: tuple[str, ...],
        timeout_s: float = 90.0,
        explain: Callable[[], str] | None = None,
    ) -> None:
        """Wait until `true()`, as long as `programs` live, and say how long it took.

        Raises:
            OperatorError: a program died (with its last lines), or time is up.
        """
        took_s = wait_until(
            what,
            true,
            timeout_s=timeout_s,
            fault=lambda: first_fault(self.supervisor.fault_of(program) for program in programs),
            explain=explain or (lambda: self.supervisor.last_words(programs[-1])),
        )
        self.progress.say(f"{what} ({took_s:.1f} s)")


@dataclass(frozen=True)
class Component:
    """A part of the testbed that can be asked for.

    Attributes:
        families: families of Go programs that it needs.
        programs: supervised programs.
        needs: components that must be there too.
        start: starts it; waits only for what the next component's start needs.
        settle: waits until it is ready.
    """

    families: tuple[str, ...]
    programs: tuple[str, ...]
    needs: tuple[str, ...]
    start: Callable[[Boot], None]
    settle: Callable[[Boot], None]


def _start_core(boot: Boot) -> None:
    boot.start("etcd")
    boot.wait("etcd healthy", lambda: _etcd_healthy(boot.layout), ("etcd",))
    boot.start("kube-apiserver")
    cluster = boot.cluster
    boot.wait("kube-apiserver ready", lambda: cluster.answers("/readyz"), ("etcd", "kube-apiserver"))
    boot.start("kube-controller-manager", "kube-scheduler")
    cluster.apply(objects.rights())
    boot.start("nodeagent")


def _settle_core(boot: Boot) -> None:
    ports, cluster = boot.layout.ports, boot.cluster
    for program, port in (("kube-controller-manager", ports.controller_manager), ("kube-scheduler", ports.scheduler)):
        url = f"https://127.0.0.1:{port}/healthz"
        boot.wait(f"{program} healthy", lambda url=url: _healthy(url, boot.layout), (program,))  # type: ignore[misc]
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    boot.wait("default ServiceAccount there", lambda: cluster.answers(account), ("kube-controller-manager",))
    wanted = [node.name for node in boot.layout.nodes]
    boot.wait(
        f"{len(wanted)} nodes Ready",
        lambda: not nodes_not_ready(wanted, cluster.read("/api/v1/nodes")),
        ("kube-controller-manager", "nodeagent"),
        explain=lambda: (
            f"Not Ready: {', '.join(nodes_not_ready(wanted, cluster.read('/api/v1/nodes')))}. "
            + boot.supervisor.last_words("nodeagent")
        ),
    )


def _start_reaper(boot: Boot) -> None:
    boot.start("reaper")


def _settle_reaper(boot: Boot) -> None:
    """Wait for nothing: a game day that finds no living reaper is refused by itself."""
    del boot


def _start_metrics(boot: Boot) -> None:
    boot.start("metrics-server")
    boot.cluster.apply(objects.metrics_api(boot.layout))


def _settle_metrics(boot: Boot) -> None:
    cluster, nodes = boot.cluster, len(boot.layout.nodes)
    path = "/apis/metrics.k8s.io/v1beta1/nodes"
    boot.wait(
        "metrics.k8s.io serves every node",
        lambda: len((cluster.read(path) or {}).get("items", [])) >= nodes,
        ("metrics-server", "nodeagent"),
    )


def _start_keda(boot: Boot) -> None:
    cluster = boot.cluster
    cluster.apply_files(boot.families["keda"] / "keda-crds")
    boot.wait(
        "KEDA's kinds served", lambda: cluster.answers("/apis/keda.sh/v1alpha1/scaledobjects"), ("kube-apiserver",)
    )
    _lay_out_keda_certificates(boot.layout)
    boot.start("keda-operator")
    cluster.apply(objects.external_metrics_api(boot.layout))


def _lay_out_keda_certificates(layout: Layout) -> None:
    folder = keda_cert_dir(layout)
    folder.mkdir(mode=0o700, exist_ok=True)
    for source, name in (("ca.crt", "ca.crt"), ("keda.crt", "tls.crt"), ("keda.key", "tls.key")):
        shutil.copy(layout.pki_dir / source, folder / name)


def _settle_keda(boot: Boot) -> None:
    health = f"http://127.0.0.1:{boot.layout.ports.keda_operator_health}/readyz"
    boot.wait("keda-operator ready", lambda: _healthy(health, boot.layout), ("keda-operator",))
    # Started earlier it would back off for up to 12 s, because the operator does not answer yet.
    boot.start("keda-adapter")
    cluster = boot.cluster
    path = "/apis/external.metrics.k8s.io/v1beta1"
    boot.wait("external.metrics.k8s.io served", lambda: cluster.answers(path), ("keda-operator", "keda-adapter"))
    if "platform" in boot.components and "platform" not in boot.missing:
        _apply_platform(boot)


def _start_alerting(boot: Boot) -> None:
    boot.cluster.apply(objects.alerting(boot.layout, boot.families["drill"], drill_webhook_token(boot.layout)))


def _settle_alerting(boot: Boot) -> None:
    if "platform" not in boot.missing:
        _apply_platform(boot)
        _settle_platform(boot)
    url = f"http://127.0.0.1:{boot.layout.ports.alertmanager}/-/ready"
    boot.wait("Alertmanager ready", lambda: _healthy(url, boot.layout), ("nodeagent",), timeout_s=120.0)


def _start_platform(boot: Boot) -> None:
    boot.cluster.apply(objects.platform_addresses(boot.layout))
    _apply_platform(boot)


def _apply_platform(boot: Boot) -> None:
    overlay = "-".join(["local", *(name for name in ("keda", "alerting") if name in boot.components)])
    boot.cluster.apply_kustomization(_OVERLAYS / overlay)
    boot.progress.say(f"platform applied (overlay {overlay})")


def _settle_platform(boot: Boot) -> None:
    cluster = boot.cluster

    def missing() -> list[str]:
        paths = (f"/apis/apps/v1/namespaces/{namespace}/deployments" for namespace in objects.PLATFORM_NAMESPACES)
        return workloads_not_ready([cluster.read(path) for path in paths])

    boot.wait(
        "platform Ready",
        lambda: not missing(),
        ("kube-controller-manager", "kube-scheduler", "nodeagent"),
        timeout_s=120.0,
        explain=lambda: f"Not Ready: {'; '.join(missing())}. Look with `kubectl -n agents describe pods`",
    )


COMPONENTS = {
    "core": Component(
        ("core",),
        ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "nodeagent"),
        (),
        _start_core,
        _settle_core,
    ),
    "reaper": Component(("core",), ("reaper",), ("core",), _start_reaper, _settle_reaper),
    "metrics": Component(("core",), ("metrics-server",), ("core",), _start_metrics, _settle_metrics),
    "keda": Component(("keda",), ("keda-operator", "keda-adapter"), ("core", "metrics"), _start_keda, _settle_keda),
    "alerting": Component(("drill",), (), ("core", "metrics", "platform"), _start_alerting, _settle_alerting),
    "platform": Component((), (), ("core", "metrics"), _start_platform, _settle_platform),
}
"""Everything that can be asked for, in the order in which it is started and settled."""


def with_needs(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return `wanted` and what they need, in boot order.

    Raises:
        OperatorError: a component is unknown.
    """
    for name in wanted:
        if name not in COMPONENTS:
            raise OperatorError(f"component {name!r} is unknown; there are {', '.join(COMPONENTS)}")
    needed = {*wanted, *(need for name in wanted for need in COMPONENTS[name].needs)}
    return tuple(name for name in COMPONENTS if name in needed)


def families_of(components: tuple[str, ...]) -> tuple[str, ...]:
    """Return the families of programs that `components` need."""
    return tuple(dict.fromkeys(family for name in components for family in COMPONENTS[name].families))


def programs_of(components: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the supervised programs of `components`."""
    return tuple(program for name in components for program in COMPONENTS[name].programs)


def bring_up(boot: Boot) -> None:
    """Start and settle the components that are missing.

    Raises:
        OperatorError: one did not come up.
    """
    if "core" in boot.missing:
        COMPONENTS["core"].start(boot)
        # metrics-server scrapes every 10 s what is there when it starts: without nodes it loses one round.
        COMPONENTS["core"].settle(boot)
    others = [COMPONENTS[name] for name in boot.missing if name != "core"]
    for component in others:
        component.start(boot)
    for component in others:
        component.settle(boot)


def command_lines(boot: Boot) -> list[Program]:
    """Return the programs of all of the boot's components with their command lines."""
    lines = []
    for name in programs_of(boot.components):
        family, command = PROGRAMS[name]
        lines.append(command(boot.layout, boot.families[family]))
    return lines


def _etcd_healthy(layout: Layout) -> bool:
    client = (str(layout.pki_dir / "etcd-client.crt"), str(layout.pki_dir / "etcd-client.key"))
    return _healthy(f"https://127.0.0.1:{layout.ports.etcd_client}/health", layout, client)


def _healthy(url: str, layout: Layout, client: tuple[str, str] | None = None) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(url, verify=str(layout.ca_cert), cert=client, timeout=_HEALTH_TIMEOUT_S)
        except requests.RequestException:
            return False
    return answer.status_code == HTTPStatus.OK


def target_document(boot: Boot, generation: str) -> dict[str, Any]:
    """Return the content of `target.json` (docs/testbed.md).

    Raises:
        OperatorError: the cluster's identity cannot be read.
    """
    layout, ports = boot.layout, boot.layout.ports
    alerting = {"alerting": _alerting_document(boot)} if "alerting" in boot.components else {}
    system = boot.cluster.read("/api/v1/namespaces/kube-system")
    if system is None:
        raise OperatorError(f"{layout.api_server} does not tell the uid of kube-system, by which the target is known")
    return {
        "schema": "gameday.target/1",
        "name": "local",
        "instance": layout.name,
        "context": layout.context,
        "kubeconfig": str(layout.kubeconfig),
        "reaper_kubeconfig": str(layout.reaper_kubeconfig),
        "api_server": layout.api_server,
        "kube_system_uid": system["metadata"]["uid"],
        "gateway_url": f"http://127.0.0.1:{ports.gateway}",
        "prometheus_url": f"http://127.0.0.1:{ports.prometheus}",
        "redis_url": f"redis://127.0.0.1:{ports.redis}/0",
        "components": list(boot.components),
        "cpu_limits_enforced": cpu_limits_enforced(layout),
        "scrape_interval_s": 2.0,
        "generation": generation,
        **alerting,
    }


def _alerting_document(boot: Boot) -> dict[str, str]:
    ports = boot.layout.ports
    return {
        "alertmanager_url": f"http://127.0.0.1:{ports.alertmanager}",
        "receiver": "drill",
        "webhook_listen": f"127.0.0.1:{ports.drill_webhook}",
        "webhook_token_file": str(boot.layout.drill_webhook_token),
        "programs": str(boot.families["drill"]),
    }


def alerting_programs(layout: Layout) -> str:
    """Return the folder with kubectl and amtool that the target file names; empty where there is no alerting."""
    try:
        told = json.loads(layout.target_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    return str((told.get("alerting") or {}).get("programs", ""))


def cpu_limits_enforced(layout: Layout) -> bool:
    """Tell what the node agent found out; False while it has not said."""
    try:
        said = json.loads(layout.nodeagent_state.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return bool(said.get("cpu_limits_enforced", False))
