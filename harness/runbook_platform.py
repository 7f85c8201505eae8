"""What the sample platform's manifests name: namespaces, objects, labels; and commands of runbooks held against it.

Reads YAML files only. A runbook of another platform is not held against them: an object is unknown only where the
manifests have others of its kind in the same namespace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.runbook_kubectl import CLUSTER_WIDE, VERBS, CommandError, KubectlCall, kind_of

_CLUSTERS_OWN = frozenset({"default", "kube-system", "kube-public", "kube-node-lease", "gameday-system", "keda"})
_EQUALS = re.compile(r"(?P<key>[\w./-]+)==?(?P<value>[\w.-]+)")
_CHANGING_NAMES = frozenset({"pods", "replicasets", "jobs", "events", "endpointslices", "leases"})
"""Objects of these kinds are made by controllers, under names of their own."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What the manifests name.

    Attributes:
        namespaces: Those that there are.
        objects: Names by namespace (empty for none) and kind.
        labels: Values by key.
    """

    namespaces: frozenset[str]
    objects: Mapping[tuple[str, str], frozenset[str]]
    labels: Mapping[str, frozenset[str]]

    def unknown_in(self, call: KubectlCall) -> Iterator[tuple[str, str]]:
        """Yield what a command names and the platform does not have, and what to do."""
        kinds = {kind for kind, _ in call.objects()}
        yield from self._namespace_of(call, kinds)
        for kind, name in call.objects():
            known = self.objects.get((call.value("namespace") or "", kind))
            if name and known and kind not in _CHANGING_NAMES and name not in known:
                yield f"there is no {kind}/{name} in the manifests", f"one of {', '.join(sorted(known))}"
        for key, value in _EQUALS.findall(call.value("selector") or ""):
            if key in self.labels and value not in self.labels[key]:
                yield f"nothing has the label {key}={value}", f"one of {', '.join(sorted(self.labels[key]))}"

    def _namespace_of(self, call: KubectlCall, kinds: set[str]) -> Iterator[tuple[str, str]]:
        namespace = call.value("namespace")
        if namespace is not None and namespace not in self.namespaces:
            yield f"unknown namespace {namespace}", f"one of {', '.join(sorted(self.namespaces))}"
        everywhere = "all-namespaces" in VERBS[call.verb].switches and call.value("all-namespaces") == "true"
        if namespace is None and not everywhere and kinds - CLUSTER_WIDE:
            yield "names no namespace", "add -n NAMESPACE, or -A"


def read_platform(manifests_dir: Path) -> Platform:
    """Read every manifest under a folder; an empty platform where there is none."""
    documents = [document for path in sorted(manifests_dir.rglob("*.yaml")) for document in _documents(path)]
    objects: dict[tuple[str, str], set[str]] = {}
    labels: dict[str, set[str]] = {}
    for namespace, kind, name in (found for document in documents for found in _named(document)):
        objects.setdefault((namespace, kind), set()).add(name)
    for key, value in (label for document in documents for label in _labels(document)):
        labels.setdefault(key, set()).add(value)
    namespaces = {namespace for namespace, _ in objects if namespace} | _CLUSTERS_OWN
    frozen = {key: frozenset(names) for key, names in objects.items()}
    return Platform(frozenset(namespaces), frozen, {key: frozenset(values) for key, values in labels.items()})


def _documents(path: Path) -> Iterator[Mapping[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load_all(path.read_text("utf-8"), Loader=loader)
    yield from (document for document in found if isinstance(document, dict))


def _named(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield namespace, kind and name of what a document makes."""
    for generated in document.get("configMapGenerator", ()):
        yield generated.get("namespace", document.get("namespace", "agents")), "configmaps", generated["name"]
    kind, metadata = str(document.get("kind", "")), document.get("metadata", {})
    try:
        plural = kind_of(kind)
    except CommandError:
        return  # a kind that no runbook may name
    if "name" not in metadata:
        return
    yield metadata.get("namespace", ""), plural, metadata["name"]
    if plural == "scaledobjects":  # KEDA's own autoscaler for it
        yield metadata.get("namespace", ""), "horizontalpodautoscalers", f"keda-hpa-{metadata['name']}"


def _labels(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for item in node:
            yield from _labels(item)
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"labels", "matchLabels"} and isinstance(value, dict):
                yield from ((str(k), str(v)) for k, v in value.items())
            else:
                yield from _labels(value)
