"""What is read of an autoscaler of nodes (Cluster Autoscaler): its status, its flags, its Events, what keeps a node.

Parsing is pure. The status is read in both forms: text (before 1.30) and YAML (since). One that cannot be read becomes
a fact without a state. Of its flags only those of `FLAGS` are kept: arguments may hold what nobody should record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from harness.drivers.kubernetes.facts import PARSERS
from harness.drivers.kubernetes.inventory import EventLog, FactInventory, SomeOnly
from harness.drivers.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, EVENTS, PDBS, PODS, Resource
from harness.model.facts import NodeAutoscalerFact, NodeAutoscalerFlagsFact
from harness.model.fault import Permission

Json = Mapping[str, Any]

NODE_EVENTS_NAMESPACE = "default"
"""Events about objects of the cluster, such as nodes, are kept there."""

PROGRAM = "cluster-autoscaler"
FLAGS = (
    "max-node-provision-time",
    "new-pod-scale-up-delay",
    "scale-down-delay-after-add",
    "scale-down-delay-after-delete",
    "scale-down-delay-after-failure",
    "scale-down-enabled",
    "scale-down-unneeded-time",
    "scale-down-unready-enabled",
    "scale-down-unready-time",
    "scale-down-utilization-threshold",
    "scan-interval",
    "skip-nodes-with-custom-controller-pods",
    "skip-nodes-with-local-storage",
    "skip-nodes-with-system-pods",
)
"""Flags that are recorded (Cluster Autoscaler, FAQ, "What are the parameters to CA?")."""


# What is watched ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watched:
    """One more watch.

    Attributes:
        resource: Of what.
        namespace: Where.
        sink: Knows what is new.
        query: What narrows it.
        name: The one object that is asked for; empty for all of them.
    """

    resource: Resource
    namespace: str
    sink: FactInventory | EventLog | SomeOnly
    query: Mapping[str, str]
    name: str = ""


def more_watches(status: str, namespaces: Iterable[str]) -> list[Watched]:
    """Return what is watched for one autoscaler of nodes, beside what a scope watches anyhow.

    Args:
        status: ``namespace/name`` of its status ConfigMap.
        namespaces: Those that are watched as a whole.
    """
    namespace, _, name = status.partition("/")
    named = {"fieldSelector": f"metadata.name={name}"}
    flags = SomeOnly(FactInventory(flags_fact), is_autoscaler)
    found = [
        Watched(CONFIG_MAPS, namespace, FactInventory(status_fact), named, name),
        Watched(DEPLOYMENTS, namespace, flags, {}),
    ]
    known = set(namespaces)
    if namespace not in known:
        found += [Watched(kind, namespace, FactInventory(PARSERS[kind.kind]), {}) for kind in (PODS, PDBS)]
        found.append(Watched(EVENTS, namespace, EventLog(), {"fieldSelector": f"involvedObject.name={name}"}))
    if NODE_EVENTS_NAMESPACE not in known:
        found.append(Watched(EVENTS, NODE_EVENTS_NAMESPACE, EventLog(), {"fieldSelector": "involvedObject.kind=Node"}))
    return found


def permissions(status: str, namespaces: Iterable[str]) -> list[Permission]:
    """Return what those watches need to be allowed."""
    return [
        Permission(verb, each.resource.plural, each.resource.group, "", each.namespace, each.name)
        for each in more_watches(status, namespaces)
        for verb in ("list", "watch")
    ]


# Flags ----------------------------------------------------------------------------------------------------------------


def _containers(obj: Json) -> list[Json]:
    return (((obj.get("spec") or {}).get("template") or {}).get("spec") or {}).get("containers") or []


def is_autoscaler(obj: Json) -> bool:
    """Tell whether a Deployment runs the Cluster Autoscaler, by its command or its image."""
    return any(_runs_it(container) for container in _containers(obj))


def _runs_it(container: Json) -> bool:
    image = str(container.get("image", "")).rpartition("/")[2]
    program = str(next(iter(container.get("command") or ()), "")).rpartition("/")[2]
    return program == PROGRAM or re.split("[:@]", image)[0] == PROGRAM


def flags_fact(obj: Json) -> NodeAutoscalerFlagsFact:
    """Derive what an autoscaler was started with; of a flag that stands twice the last counts, as in the program."""
    words = [
        str(word)
        for container in _containers(obj)
        if _runs_it(container)
        for word in (*(container.get("command") or ()), *(container.get("args") or ()))
    ]
    found = {name: value for name, value in _flags(words) if name in FLAGS}
    meta = obj["metadata"]
    return NodeAutoscalerFlagsFact(
        meta.get("uid") or "", meta.get("namespace") or "", meta["name"], meta.get("resourceVersion") or "", flags=found
    )


def _flags(words: list[str]) -> Iterable[tuple[str, str]]:
    """Yield flags with their values, written ``--flag=value``, ``--flag value`` or, where it is true, ``--flag``."""
    for word, following in pairwise([*words, ""]):
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        apart = following if following and not following.startswith("-") else "true"
        yield name, value.strip("\"'") if equals else apart


# Status ---------------------------------------------------------------------------------------------------------------


class _Told(BaseModel):
    """Part of the status; more may stand there than is read."""

    model_config = ConfigDict(extra="ignore")


class _Backoff(_Told):
    errorCode: str = ""  # noqa: N815 - the API's own name
    errorMessage: str = ""  # noqa: N815


class _Part(_Told):
    status: str = ""
    candidates: int | None = None
    cloudProviderTarget: int | None = None  # noqa: N815
    minSize: int | None = None  # noqa: N815
    maxSize: int | None = None  # noqa: N815
    backoffInfo: _Backoff = _Backoff()  # noqa: N815


class _Group(_Told):
    name: str = ""
    health: _Part = _Part()
    scaleUp: _Part = _Part()  # noqa: N815
    scaleDown: _Part = _Part()  # noqa: N815


class _Status(_Told):
    time: str = ""
    autoscalerStatus: str = ""  # noqa: N815
    clusterWide: _Group = _Group()  # noqa: N815
    nodeGroups: list[_Group] = []  # noqa: N815


_TEXT = "Cluster-autoscaler status at "
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? ([+-]\d{4})")
_LINE = re.compile(r"\s*(Name|Health|ScaleUp|ScaleDown):\s+(\S+)(.*)")
_FIGURES: tuple[tuple[str, str], ...] = (
    ("candidates", r"\bcandidates=(\d+)"),
    ("cloudProviderTarget", r"\bcloudProviderTarget=(\d+)"),
    ("minSize", r"\bminSize=(\d+)"),
    ("maxSize", r"\bmaxSize=(\d+)"),
)


def status_fact(obj: Json) -> NodeAutoscalerFact:
    """Derive what an autoscaler of nodes tells of itself; without a state where that cannot be read."""
    text = str((obj.get("data") or {}).get("status") or "")
    parse = _parse_text if text.lstrip().startswith(_TEXT) else _parse_yaml
    return _fact(obj, parse(text))


def _fact(obj: Json, told: _Status) -> NodeAutoscalerFact:
    meta, whole, groups = obj["metadata"], told.clusterWide, told.nodeGroups
    return NodeAutoscalerFact(
        meta.get("uid") or "",
        meta.get("namespace") or "",
        meta["name"],
        meta.get("resourceVersion") or "",
        state=told.autoscalerStatus,
        health=whole.health.status,
        scale_up=whole.scaleUp.status,
        scale_down=whole.scaleDown.status,
        candidates=whole.scaleDown.candidates,
        min_sizes=_sizes(groups, lambda health: health.minSize),
        max_sizes=_sizes(groups, lambda health: health.maxSize),
        targets=_sizes(groups, lambda health: health.cloudProviderTarget),
        backoffs={group.name: _why(group.scaleUp) for group in groups if group.scaleUp.status == "Backoff"},
        updated_unix_s=_unix_s(told.time),
    )


def _sizes(groups: list[_Group], size: Callable[[_Part], int | None]) -> dict[str, int]:
    return {group.name: found for group in groups if (found := size(group.health)) is not None}


def _why(part: _Part) -> str:
    return ": ".join(text for text in (part.backoffInfo.errorCode, part.backoffInfo.errorMessage) if text)


def _unix_s(text: str) -> float | None:
    match = _TIME.search(text)
    return datetime.strptime(" ".join(match.groups()), "%Y-%m-%d %H:%M:%S %z").timestamp() if match else None


def _parse_yaml(text: str) -> _Status:
    try:
        return _Status.model_validate(yaml.load(text, Loader=yaml.BaseLoader))  # noqa: S506 - builds text alone
    except (yaml.YAMLError, ValidationError):
        return _Status()


def _parse_text(text: str) -> _Status:
    """Read the older form: lines ``Health: …``, ``ScaleUp: …`` and ``ScaleDown: …``, after ``Name: …`` of a group."""
    parts: list[dict[str, Any]] = [{}]
    for match in filter(None, map(_LINE.fullmatch, text.splitlines())):
        key, value, rest = match.groups()
        if key == "Name":
            parts.append({"name": value})
            continue
        figures = {name: found[1] for name, pattern in _FIGURES if (found := re.search(pattern, rest))}
        parts[-1][key[0].lower() + key[1:]] = {"status": value, **figures}
    running = "Running" if parts[0] else "Initializing" if "Initializing" in text else ""
    return _Status.model_validate(
        {"time": text.splitlines()[0], "autoscalerStatus": running, "clusterWide": parts[0], "nodeGroups": parts[1:]}
    )
