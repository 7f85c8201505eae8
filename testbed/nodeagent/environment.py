"""The environment and command line of a container.

Pure: in come the spec, facts of the pod and contents of ConfigMaps and Secrets. Expansion of `$(NAME)` follows
third_party/forked/golang/expansion of Kubernetes: `$$` is a dollar sign, an unknown name stays as it is. Service links
(`NAME_SERVICE_HOST`) are left out on purpose: a ClusterIP must never be dialled here.
"""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from testbed.nodeagent.objects import Obj
from testbed.nodeagent.quantities import in_units, parse_quantity

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
SourceKind = Literal["ConfigMap", "Secret"]


class ContainerConfigError(Exception):
    """A container cannot be started as its spec stands; shown as CreateContainerConfigError and tried again."""


@dataclass(frozen=True)
class SourceRef:
    """A ConfigMap or Secret of the pod's namespace that something in the pod needs."""

    kind: SourceKind
    name: str
    optional: bool = False


Sources = Mapping[tuple[str, str], Mapping[str, bytes] | None]
"""(kind, name) -> contents by key; None when the object does not exist."""


@dataclass(frozen=True)
class PodFacts:
    """What the downward API can tell.

    Attributes:
        obj: the pod as the API has it.
        pod_ip: address in the API.
        host_ip: InternalIP of the node.
        allocatable: what the node offers, by resource; stands for a missing limit.
    """

    obj: Obj
    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str] = field(default_factory=dict)

    def field(self, path: str) -> str:
        """Return the value of a fieldRef.

        Raises:
            ContainerConfigError: the downward API has no such field.
        """
        meta, spec = self.obj["metadata"], self.obj["spec"]
        if found := _KEYED_FIELD.fullmatch(path):
            return str(meta.get(found[1], {}).get(found[2], ""))
        plain = {
            "metadata.name": meta["name"],
            "metadata.namespace": meta.get("namespace", ""),
            "metadata.uid": meta["uid"],
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "status.hostIP": self.host_ip,
            "status.hostIPs": self.host_ip,
            "status.podIP": self.pod_ip,
            "status.podIPs": self.pod_ip,
        }
        if path in plain:
            return str(plain[path])
        raise ContainerConfigError(f"fieldRef {path!r}: the downward API has no such field for an environment variable")

    def labels_or_annotations(self, path: str) -> str:
        """Return a fieldRef as a downwardAPI volume writes it; whole label and annotation maps are allowed."""
        if path in ("metadata.labels", "metadata.annotations"):
            pairs = sorted(self.obj["metadata"].get(path.removeprefix("metadata."), {}).items())
            return "\n".join(f'{key}="{_escaped(value)}"' for key, value in pairs)
        return self.field(path)

    def resource(self, container: Obj, reference: Obj) -> str:
        """Return the value of a resourceFieldRef for `container`."""
        section, _, name = str(reference["resource"]).partition(".")
        listed = container.get("resources", {})
        quantity = listed.get(section, {}).get(name)
        if quantity is None:
            quantity = self.allocatable.get(name, "0") if section == "limits" else "0"
        return in_units(
            parse_quantity(quantity), parse_quantity(reference.get("divisor") or "1") or parse_quantity("1")
        )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def contents(kind: str, obj: Obj) -> dict[str, bytes]:
    """Return what a ConfigMap or Secret holds, by key."""
    if kind == "Secret":
        return {key: b64decode(value) for key, value in (obj.get("data") or {}).items()}
    texts = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    return texts | {key: b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}


def env_references(container: Obj) -> Iterator[SourceRef]:
    """Yield the objects that the container's environment needs."""
    for entry in container.get("envFrom", []):
        for key, kind in _ENV_FROM:
            if key in entry:
                yield SourceRef(kind, entry[key]["name"], bool(entry[key].get("optional")))
    for entry in container.get("env", []):
        origin = entry.get("valueFrom") or {}
        for key, kind in _VALUE_FROM:
            if key in origin:
                yield SourceRef(kind, origin[key]["name"], bool(origin[key].get("optional")))


_ENV_FROM: tuple[tuple[str, SourceKind], ...] = (("configMapRef", "ConfigMap"), ("secretRef", "Secret"))
_VALUE_FROM: tuple[tuple[str, SourceKind], ...] = (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret"))


def container_environment(
    container: Obj, facts: PodFacts, sources: Sources, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the container's environment; what the spec says wins over what the agent gives.

    Raises:
        ContainerConfigError: an object or key is missing and not optional, or a field is unknown.
    """
    env = dict(given)
    for entry in container.get("envFrom", []):
        env.update(_from_whole(entry, sources))
    for entry in container.get("env", []):
        value = _env_value(entry, container, facts, sources, env)
        if value is not None:
            env[entry["name"]] = value
    return env


def _from_whole(entry: Obj, sources: Sources) -> dict[str, str]:
    for key, kind in _ENV_FROM:
        if key in entry:
            found = sources.get((kind, entry[key]["name"]))
            if found is None:
                if entry[key].get("optional"):
                    return {}
                raise ContainerConfigError(f'{kind.lower()} "{entry[key]["name"]}" not found')
            return {entry.get("prefix", "") + name: _text(kind, name, value) for name, value in found.items()}
    return {}


def _env_value(entry: Obj, container: Obj, facts: PodFacts, sources: Sources, env: Mapping[str, str]) -> str | None:
    origin = entry.get("valueFrom")
    if not origin:
        return expand(entry.get("value", ""), env)
    if "fieldRef" in origin:
        return facts.field(origin["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in origin:
        return facts.resource(container, origin["resourceFieldRef"])
    for key, kind in _VALUE_FROM:
        if key in origin:
            return _from_key(kind, origin[key], sources)
    raise ContainerConfigError(f"env {entry['name']}: valueFrom {sorted(origin)} is not known to the node agent")


def _from_key(kind: str, reference: Obj, sources: Sources) -> str | None:
    found = sources.get((kind, reference["name"]))
    if found is not None and reference["key"] in found:
        return _text(kind, reference["key"], found[reference["key"]])
    if reference.get("optional"):
        return None
    if found is None:
        raise ContainerConfigError(f'{kind.lower()} "{reference["name"]}" not found')
    raise ContainerConfigError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")


def _text(kind: str, key: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise ContainerConfigError(
            f"{kind} key {key}: not UTF-8 text, so it cannot be an environment variable"
        ) from error
    if "\0" in text:
        raise ContainerConfigError(f"{kind} key {key}: holds a NUL byte, so it cannot be an environment variable")
    return text


def expand(text: str, env: Mapping[str, str]) -> str:
    """Return `text` with `$(NAME)` replaced from `env`."""

    def replaced(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return env.get(found[2], found[0])

    return _REFERENCE.sub(replaced, text)


def command_line(container: Obj, env: Mapping[str, str]) -> list[str]:
    """Return the command line of a container.

    Raises:
        ContainerConfigError: the spec has no command; there is no image here that could have one.
    """
    if not container.get("command"):
        raise ContainerConfigError(
            f"container {container['name']} has no command; images are not run here, so the spec must name one"
        )
    return [expand(part, env) for part in [*container["command"], *container.get("args", [])]]
