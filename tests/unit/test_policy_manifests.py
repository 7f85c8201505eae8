"""What every pod of the testbeds' manifests must have: limits, probes, no root, a real tag, a budget if there are more.

Over the manifests as they are applied: every overlay and add-on as kustomize renders it, and what the harness prints.
"""

from collections.abc import Iterator
from functools import cache

import pytest

from harness.deploy.load_workers import deployment as load_workers
from harness.deploy.reaper import manifests as reaper
from harness.model.load import LoadWorkers
from harness.model.selector import selects
from harness.model.target import Target
from testbed.kind.gpu import canary
from tests.unit.rendered_manifests import FOLDERS, TESTBED, Json, rendered

AS_ROOT = {"gpu-mock": "the kubelet's socket folder belongs to root"}
WITHOUT_PROBE = {
    "gameday-reaper": "it serves nothing; its Lease says who is on duty, and a run refuses where nobody is",
    "gameday-load": "its readiness is a file, which is a probe; it needs no other",
}


@cache
def printed() -> tuple[Json, ...]:
    workers = LoadWorkers(2, "cluster", "127.0.0.1", 5557)
    target = Target("t", "cluster", "c", "k", "", "u", "a=b", ("agents",), "", "", 10.0, load_workers=workers)
    return (*reaper(target, "gameday-platform:dev", ()), load_workers(target, "gameday-platform:dev", "127.0.0.1"))


def everything() -> Iterator[tuple[str, tuple[Json, ...]]]:
    yield from ((folder, rendered(folder)) for folder in FOLDERS)
    yield "printed", printed()
    yield "canary", (canary("gameday-platform:dev"),)


def templates(objects: tuple[Json, ...]) -> Iterator[tuple[str, Json]]:
    """Return name and pod spec of everything that makes pods, with the labels beside it."""
    for one in objects:
        spec = one.get("spec") or {}
        if one["kind"] in ("Deployment", "DaemonSet", "StatefulSet", "Job"):
            yield one["metadata"]["name"], spec["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield one["metadata"]["name"], spec["jobTemplate"]["spec"]["template"]["spec"]
        elif one["kind"] == "Pod":
            yield one["metadata"]["name"], spec


def containers() -> list[tuple[str, Json, Json]]:
    found = [
        (f"{where}: {name}/{container['name']}", pod, container)
        for where, objects in everything()
        for name, pod in templates(objects)
        for container in (*pod["containers"], *(pod.get("initContainers") or ()))
    ]
    assert len(found) > 40, "the manifests are not where this test looks"
    return found


def test_every_container_has_a_memory_limit_and_requests() -> None:
    lacking = []
    for name, _, container in containers():
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        if "memory" not in (resources.get("limits") or {}) or not {"cpu", "memory"} <= set(asked):
            lacking.append(name)
    assert not lacking


def test_every_container_that_serves_says_when_it_is_ready() -> None:
    lacking = [
        f"{where}: {one['metadata']['name']}/{container['name']}"
        for where, objects in everything()
        for one in objects
        if one["kind"] in ("Deployment", "DaemonSet", "StatefulSet") and one["metadata"]["name"] not in WITHOUT_PROBE
        for container in one["spec"]["template"]["spec"]["containers"]
        if "readinessProbe" not in container
    ]
    assert not lacking


def test_nothing_runs_as_root_without_a_reason() -> None:
    lacking = []
    for name, pod, container in containers():
        security = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
        allowed = any(f" {known}/" in name for known in AS_ROOT)
        unprivileged = security.get("allowPrivilegeEscalation") is False and not security.get("privileged")
        dropped = (security.get("capabilities") or {}).get("drop") == ["ALL"]
        if not (unprivileged and dropped and (allowed or security.get("runAsNonRoot") is True)):
            lacking.append(name)
    assert not lacking


def test_no_image_is_latest_or_without_a_tag() -> None:
    images = {container["image"] for _, _, container in containers()}
    assert images and not [name for name in images if ":" not in name.rsplit("/", 1)[-1] or name.endswith(":latest")]


def test_the_image_is_built_from_a_tag_and_never_runs_as_root() -> None:
    lines = (TESTBED / "kind" / "Dockerfile").read_text().splitlines()
    assert "ARG BASE=python:3.11-slim" in lines and "FROM ${BASE}" in lines
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert any("--require-hashes" in line for line in lines)


@pytest.mark.parametrize("where", [*FOLDERS, "printed"])
def test_more_than_one_pod_has_a_disruption_budget(where: str) -> None:
    objects = dict(everything())[where]
    budgets = [one for one in objects if one["kind"] == "PodDisruptionBudget"]
    lacking = [
        one["metadata"]["name"]
        for one in objects
        if one["kind"] in ("Deployment", "StatefulSet") and int(one["spec"].get("replicas", 1)) > 1
        if one["metadata"]["name"] != "gameday-load"  # a worker that is evicted is a lost worker, budget or not
        and not any(_counts(budget, one) for budget in budgets)
    ]
    assert not lacking


def _counts(budget: Json, workload: Json) -> bool:
    if budget["metadata"]["namespace"] != workload["metadata"]["namespace"]:
        return False
    return selects(budget["spec"]["selector"], workload["spec"]["template"]["metadata"]["labels"])
