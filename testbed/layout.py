"""Where everything of one testbed instance is: ports, folders, nodes.

The only place that knows port offsets and file names (docs/testbed.md has the table). Pure but for `read_layout`,
which reads the instance's own `testbed.json`; nothing in here creates, binds or deletes.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from testbed.addresses import SLOT_MAX, kubelet_address, network_number, pod_address

PORT_BASE_FIRST = 21000
PORTS_PER_SLOT = 100
KUBELET_PORT = 10250
STATE_FILE = "testbed.json"
SYSTEM_NAMESPACE = "gameday-system"
"""Leases and undo records of game days live here; `up` creates it."""


class LayoutError(ValueError):
    """An instance folder, slot or port base that no testbed can have."""


@dataclass(frozen=True)
class Ports:
    """Every TCP port of an instance on 127.0.0.1, by name."""

    apiserver: int
    etcd_client: int
    etcd_peer: int
    controller_manager: int
    scheduler: int
    metrics_server: int
    keda_operator_metrics: int
    keda_operator_health: int
    keda_operator_grpc: int
    keda_adapter: int
    nodeagent_control: int
    keda_adapter_metrics: int
    gateway: int
    envoy_admin: int
    prometheus: int
    redis: int
    inference: int
    tool_api: int
    planner_redis: int
    alertmanager: int
    drill_webhook: int

    @classmethod
    def at(cls, port_base: int) -> Self:
        """Return the ports that start at `port_base`."""
        return cls(**{name: port_base + offset for name, offset in PORT_OFFSETS.items()})

    def by_name(self) -> dict[str, int]:
        """Return the ports keyed by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


PORT_OFFSETS = {
    "apiserver": 0,
    "etcd_client": 1,
    "etcd_peer": 2,
    "controller_manager": 3,
    "scheduler": 4,
    "metrics_server": 5,
    "keda_operator_metrics": 6,
    "keda_operator_health": 7,
    "keda_operator_grpc": 8,
    "keda_adapter": 9,
    "nodeagent_control": 10,
    "keda_adapter_metrics": 11,
    "gateway": 20,
    "envoy_admin": 21,
    "prometheus": 22,
    "redis": 23,
    "inference": 24,
    "tool_api": 25,
    "planner_redis": 26,
    "alertmanager": 40,
    "drill_webhook": 41,
}
PORT_BASE_MIN = 1024
PORT_BASE_MAX = 65535 - max(PORT_OFFSETS.values())


@dataclass(frozen=True)
class Node:
    """One node of the testbed and its place in the address plan.

    Attributes:
        name: name of the Node object.
        number: 1-15, unique in the instance.
        pool: value of the label `gameday.local/pool`.
        zone: value of the label `topology.kubernetes.io/zone`.
        internal_ip: 127.45.S.N, where the kubelet API listens on port 10250.
        slot: slot of the instance; with `number` it fixes the pod addresses.
    """

    name: str
    number: int
    pool: str
    zone: str
    internal_ip: str
    slot: int

    @property
    def pod_cidr(self) -> str:
        """Network of the node's pod addresses as the API shows them."""
        return f"198.18.{network_number(self.slot, self.number)}.0/24"

    def pod_address(self, pod_number: int) -> str:
        """Return the API address of pod `pod_number` (1-250) on this node."""
        return pod_address(self.slot, self.number, pod_number)


_NODE_TABLE = (
    ("general-1", "general", "zone-a"),
    ("general-2", "general", "zone-b"),
    ("gpu-1", "gpu", "zone-a"),
    ("spot-1", "spot", "zone-b"),
    ("infra-1", "infra", "zone-a"),
    ("spot-2", "spot", "zone-a"),
)


@dataclass(frozen=True)
class Layout:
    """Ports, folders and nodes of one instance.

    Attributes:
        name: instance name, `default` unless `--name` says otherwise.
        slot: 0-15; no two living instances share one.
        port_base: first port; 21000 + 100 * slot unless `--port-base` says otherwise.
        instance_dir: folder of the instance's state, mode 0700.
    """

    name: str
    slot: int
    port_base: int
    instance_dir: Path

    def __post_init__(self) -> None:
        """Refuse a slot or a port base that cannot be served."""
        if not 0 <= self.slot <= SLOT_MAX:
            raise LayoutError(f"slot {self.slot}: slots are 0-{SLOT_MAX}")
        if not PORT_BASE_MIN <= self.port_base <= PORT_BASE_MAX:
            raise LayoutError(f"port base {self.port_base}: give one between {PORT_BASE_MIN} and {PORT_BASE_MAX}")

    @property
    def ports(self) -> Ports:
        """Every port by name."""
        return Ports.at(self.port_base)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in the order of their numbers."""
        return tuple(
            Node(name, number, pool, zone, kubelet_address(self.slot, number), self.slot)
            for number, (name, pool, zone) in enumerate(_NODE_TABLE, start=1)
        )

    @property
    def context(self) -> str:
        """Name of the kubeconfig context."""
        return f"gameday-{self.name}"

    @property
    def api_server(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self.ports.apiserver}"

    @property
    def state_file(self) -> Path:
        """`testbed.json`: name, slot, ports, owner, generation, components."""
        return self.instance_dir / STATE_FILE

    @property
    def target_file(self) -> Path:
        """`target.json`: what the harness reads; written last."""
        return self.instance_dir / "target.json"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the user `gameday-runner`."""
        return self.instance_dir / "kubeconfig"

    @property
    def reaper_kubeconfig(self) -> Path:
        """Kubeconfig of the user `gameday-reaper`."""
        return self.instance_dir / "reaper.kubeconfig"

    @property
    def admin_kubeconfig(self) -> Path:
        """Kubeconfig of the cluster administrator, for people."""
        return self.instance_dir / "admin.kubeconfig"

    @property
    def nodeagent_kubeconfig(self) -> Path:
        """Kubeconfig of the node agent."""
        return self.instance_dir / "node-agent.kubeconfig"

    @property
    def nodeagent_token(self) -> Path:
        """Bearer token of the node agent's control port; the agent writes it, mode 0600."""
        return self.instance_dir / "nodeagent.token"

    @property
    def nodeagent_state(self) -> Path:
        """`nodeagent.json`: what the agent found it can enforce, and its pid."""
        return self.instance_dir / "nodeagent.json"

    @property
    def drill_webhook_token(self) -> Path:
        """Bearer token with which Alertmanager comes to a drill's webhook, mode 0600."""
        return self.instance_dir / "drill-webhook.token"

    @property
    def pki_dir(self) -> Path:
        """Certificates, keys and tokens; `NAME.crt` with `NAME.key` (ca, apiserver, kubelet, ...)."""
        return self.instance_dir / "pki"

    @property
    def ca_cert(self) -> Path:
        """Certificate of the CA that signed every serving certificate of the instance."""
        return self.pki_dir / "ca.crt"

    @property
    def kubelet_cert(self) -> Path:
        """Serving certificate of the kubelet APIs; its subject alternative names are all nodes' InternalIPs."""
        return self.pki_dir / "kubelet.crt"

    @property
    def kubelet_key(self) -> Path:
        """Private key of `kubelet_cert`."""
        return self.pki_dir / "kubelet.key"

    @property
    def logs_dir(self) -> Path:
        """One log file per program."""
        return self.instance_dir / "logs"

    @property
    def pods_dir(self) -> Path:
        """One folder per pod, kept by the node agent."""
        return self.instance_dir / "pods"

    @property
    def eds_dir(self) -> Path:
        """Envoy's endpoint files and its file of policed listeners, written by the node agent."""
        return self.instance_dir / "eds"

    @property
    def etcd_dir(self) -> Path:
        """Data of etcd."""
        return self.instance_dir / "etcd"

    @property
    def supervisor_dir(self) -> Path:
        """Configuration, socket and log of the supervisor."""
        return self.instance_dir / "supervisor"


def default_port_base(slot: int) -> int:
    """Return the port base of `slot` when nobody asks for another one."""
    return PORT_BASE_FIRST + PORTS_PER_SLOT * slot


def read_layout(instance_dir: Path) -> Layout:
    """Read the layout of the instance in `instance_dir` from its `testbed.json`.

    Raises:
        LayoutError: the file is missing, not JSON, or lacks name, slot or port_base.
    """
    path = instance_dir / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return Layout(str(state["name"]), int(state["slot"]), int(state["port_base"]), instance_dir.resolve())
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: no testbed here; start one with `gameday testbed up`") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LayoutError(f"{path}: not a testbed's state ({error}); clear it with `gameday testbed down`") from error
