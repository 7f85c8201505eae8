"""What NetworkPolicies (networking.k8s.io/v1) allow between two pods. Pure: objects in, yes or no out; nothing is sent.

Policies add up: a pod that none selects for a direction is open in it, one that some select may do what any of them
allows. An ``ipBlock`` is compared with the pod's address in the API, as networks do that filter by address.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from testbed.nodeagent.objects import Obj

EGRESS, INGRESS = "Egress", "Ingress"


@dataclass(frozen=True)
class Peer:
    """A pod as policies see it.

    Attributes:
        namespace: its namespace.
        labels: its labels.
        namespace_labels: labels of its namespace.
        address: its address in the API, empty while it has none.
        ports: numbers of its named container ports.
    """

    namespace: str
    labels: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    address: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)


def peer_of(pod: Obj, namespace_labels: Mapping[str, str]) -> Peer:
    """Return a pod of the API as policies see it."""
    meta = pod["metadata"]
    ports = {
        port["name"]: int(port["containerPort"])
        for container in pod["spec"].get("containers", [])
        for port in container.get("ports", [])
        if port.get("name")
    }
    address = pod.get("status", {}).get("podIP", "")
    return Peer(meta["namespace"], meta.get("labels") or {}, namespace_labels, address, ports)


def allows(policies: Iterable[Obj], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Tell whether `source` may open a connection to `port` of `target`: its egress and the target's ingress both."""
    every = list(policies)
    return _may(every, EGRESS, source, target, (target, port, protocol)) and _may(
        every, INGRESS, target, source, (target, port, protocol)
    )


Aim = tuple[Peer, int, str]
"""The pod that is dialled, the port there, and the protocol."""


def _may(policies: Sequence[Obj], direction: str, own: Peer, other: Peer, aim: Aim) -> bool:
    mine = [p for p in policies if direction in policy_types(p) and _selects_pod(p, own)]
    return not mine or any(_rule_allows(rule, direction, p, other, aim) for p in mine for rule in _rules(p, direction))


def policy_types(policy: Obj) -> list[str]:
    """Return the directions that a policy isolates; unless it says so itself, egress only where it has such rules."""
    spec = policy["spec"]
    named: list[str] = spec.get("policyTypes") or [INGRESS, *([EGRESS] if spec.get("egress") else [])]
    return named


def _rules(policy: Obj, direction: str) -> list[Obj]:
    found: list[Obj] = policy["spec"].get(direction.lower()) or []
    return found


def _selects_pod(policy: Obj, pod: Peer) -> bool:
    same = policy["metadata"]["namespace"] == pod.namespace
    return same and selects(policy["spec"].get("podSelector") or {}, pod.labels)


def _rule_allows(rule: Obj, direction: str, policy: Obj, other: Peer, aim: Aim) -> bool:
    peers, ports = rule.get("to" if direction == EGRESS else "from") or [], rule.get("ports") or []
    meant = not peers or any(_is_peer(peer, policy["metadata"]["namespace"], other) for peer in peers)
    return meant and (not ports or any(_is_port(port, aim) for port in ports))


def _is_peer(peer: Obj, own_namespace: str, pod: Peer) -> bool:
    if "ipBlock" in peer:
        return _in_block(peer["ipBlock"], pod.address)
    if "namespaceSelector" in peer:
        there = selects(peer["namespaceSelector"] or {}, pod.namespace_labels)
    else:
        there = pod.namespace == own_namespace
    return there and ("podSelector" not in peer or selects(peer["podSelector"] or {}, pod.labels))


def _in_block(block: Obj, address: str) -> bool:
    if not address:
        return False
    found = ip_address(address)
    return found in ip_network(block["cidr"]) and not any(found in ip_network(c) for c in block.get("except") or [])


def _is_port(port: Obj, aim: Aim) -> bool:
    target, number, protocol = aim
    if port.get("protocol", "TCP") != protocol:
        return False
    first = port.get("port")
    if first is None:
        return True
    if isinstance(first, str):
        return target.ports.get(first) == number
    last: int = port.get("endPort") or first
    return bool(first <= number <= last)


def selects(selector: Obj, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector matches; an empty one matches everything."""
    plain = (selector.get("matchLabels") or {}).items() <= labels.items()
    return plain and all(_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _holds(expression: Obj, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    return _OPERATORS[expression["operator"]](value, expression.get("values") or [])


_OPERATORS: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
}
