"""The least rights that an experiment needs, as RBAC objects. Pure: permissions in, manifests out; nothing is applied.

A permission of one namespace becomes a Role there, every other a ClusterRole. What a run asks is what is printed: the
same list that preflight has reviewed verb by verb.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from harness.model.fault import Permission

Manifest = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"
_UNGRANTED = frozenset({"selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"})
"""Every authenticated user has them (ClusterRole system:basic-user)."""


def subject_of(user: str, service_account: str) -> Manifest:
    """Return the subject of the bindings.

    Args:
        user: Name of a user, or empty.
        service_account: ``namespace/name``, or empty.

    Raises:
        ValueError: Neither or both are given, or the ServiceAccount is not ``namespace/name``.
    """
    if bool(user) == bool(service_account):
        raise ValueError("name either a user or a ServiceAccount")
    if user:
        return {"kind": "User", "name": user, "apiGroup": _RBAC}
    namespace, _, name = service_account.partition("/")
    if not namespace or not name:
        raise ValueError(f"{service_account!r} is not namespace/name")
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def manifests(name: str, permissions: Iterable[Permission], subject: Mapping[str, Any]) -> list[Manifest]:
    """Return roles and bindings that grant exactly some permissions.

    Args:
        name: Of the objects, such as ``gameday:node-loss``.
        permissions: What is needed.
        subject: See `subject_of`.
    """
    wanted = sorted({p for p in permissions if p.resource not in _UNGRANTED}, key=str)
    found: list[Manifest] = []
    for namespace in sorted({permission.namespace for permission in wanted}):
        mine = [permission for permission in wanted if permission.namespace == namespace]
        found += _role(name, namespace, mine, subject)
    return found


def _role(name: str, namespace: str, wanted: list[Permission], subject: Mapping[str, Any]) -> list[Manifest]:
    kind = "Role" if namespace else "ClusterRole"
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    role = {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": meta, "rules": _rules(wanted)}
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": dict(meta),
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [dict(subject)],
    }
    return [role, binding]


def _rules(wanted: list[Permission]) -> list[Manifest]:
    """Return one rule a resource, or a named object of it, with its verbs."""
    verbs: dict[tuple[str, str, str], set[str]] = {}
    for permission in wanted:
        resource = permission.resource + (f"/{permission.subresource}" if permission.subresource else "")
        verbs.setdefault((permission.group, resource, permission.name), set()).add(permission.verb)
    return [
        {
            "apiGroups": [group],
            "resources": [resource],
            **({"resourceNames": [name]} if name else {}),
            "verbs": sorted(found),
        }
        for (group, resource, name), found in sorted(verbs.items())
    ]


def as_yaml(found: Iterable[Manifest]) -> str:
    """Return manifests as ``kubectl apply -f -`` takes them."""
    return yaml.safe_dump_all(found, sort_keys=False, explicit_start=True)
