"""The runner's ServiceAccount with the least rights that experiments need, and the namespaces with their opt-in label.

Rights come from what drivers and faults say that they need, like the preflight's access reviews: nothing here knows a
verb. Must never grant a wildcard or a cluster role of somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from harness import assembly, preflight, registries
from harness.model.errors import Refusal
from harness.model.experiment import Experiment
from harness.model.fault import Permission
from harness.model.target import Target
from harness.rbac import manifests as role_manifests
from harness.rbac import subject_of

NAME = "gameday-runner"
Manifest = dict[str, Any]


def fitting(target: Target, names: Sequence[str] = ()) -> list[Experiment]:
    """Return the experiments that are named, or else all of the project that fit the target.

    Raises:
        SpecError: A file is not valid.
        Refusal: One that was named does not fit.
    """
    from harness.guard import check_plan  # noqa: PLC0415 - pure, but brings the blast radius

    if names:
        found = [registries.load(registries.experiment_path(name)) for name in names]
        for experiment in found:
            check_plan(experiment, target)
        return found
    every = [registries.load(path) for path in sorted(registries.EXPERIMENTS_DIR.glob("*.yaml"))]
    return [experiment for experiment in every if _fits(experiment, target)]


def _fits(experiment: Experiment, target: Target) -> bool:
    from harness.guard import check_plan  # noqa: PLC0415 - as above

    try:
        check_plan(experiment, target)
    except Refusal:
        return False
    return True


def needed(target: Target, experiments: Iterable[Experiment]) -> tuple[Permission, ...]:
    """Return what drivers and faults of some experiments need to be allowed, each once."""
    faults = registries.faults()
    found: list[Permission] = []
    for experiment in experiments:
        found += assembly.driver_permissions(experiment, target)
        found += assembly.drill_permissions(experiment, target)
        found += preflight.fault_permissions(experiment, faults)
    return tuple(dict.fromkeys(found))


def namespaces(target: Target) -> list[Manifest]:
    """Return the namespaces as they must be labelled; applying them adds the label and takes nothing away.

    ``kube-system`` is among them: a cluster says by its label that it may be broken at all.
    """
    key, _, value = target.opt_in_label.partition("=")
    names = dict.fromkeys(("kube-system", target.system_namespace, *target.namespaces))
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {key: value}}} for name in names
    ]


def manifests(target: Target, permissions: Iterable[Permission]) -> list[Manifest]:
    """Return ServiceAccount, roles and bindings.

    Args:
        target: Its system namespace is where the runner lives.
        permissions: See `needed`.
    """
    account = f"{target.system_namespace}/{NAME}"
    meta = {"name": NAME, "namespace": target.system_namespace, "labels": {"app": NAME}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        *role_manifests(NAME, permissions, subject_of("", account)),
    ]


def manifest_text(target: Target, names: Sequence[str] = ()) -> str:
    """Return the manifests as YAML documents, for ``kubectl apply -f -``."""
    return yaml.safe_dump_all(manifests(target, needed(target, fitting(target, names))), sort_keys=False)
