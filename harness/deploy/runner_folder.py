"""A folder for ``kubectl apply -k``: everything that a target needs in its cluster, made from settings and experiments.

It is made anew, never edited: rights follow the experiments. It holds no secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness import registries
from harness.deploy import load_workers, reaper, runner, runner_job
from harness.model.experiment import Experiment
from harness.model.target import Target
from harness.settings import SETTINGS_FILE, load_settings, resolve_target

Manifest = dict[str, Any]
SHIPPED = "staging"
SHIPPED_IMAGE = "gameday:0.1.0"
"""Stands for your image: ``kustomize edit set image gameday=REGISTRY/gameday:TAG``."""


def files_of(target: Target, settings: str, image: str, experiments: Sequence[Experiment]) -> Mapping[str, str]:
    """Return the base: namespaces, runner, reaper, load workers and settings, as file name to text.

    Args:
        target: The target.
        settings: Text of the settings file.
        image: An image in which this project is installed.
        experiments: What it must be able to run.
    """
    resources = {
        "namespaces.yaml": runner.namespaces(target),
        "runner.yaml": runner.manifests(target, runner.needed(target, experiments)),
        "reaper.yaml": reaper.manifests(target, image, reaper.undo_permissions(experiments)),
    }
    if target.load_workers.placement == "cluster":
        host = f"{runner.NAME}.{target.system_namespace}.svc"
        resources["load-workers.yaml"] = [load_workers.deployment(target, image, host), _service(target)]
    written = {name: yaml.safe_dump_all(found, sort_keys=False) for name, found in resources.items()}
    return {
        **written,
        "gameday.toml": runner_job.settings_text(settings, target.name),
        "kubeconfig": runner_job.kubeconfig_text(),
        "kustomization.yaml": yaml.safe_dump(_kustomization(target, list(resources)), sort_keys=False),
    }


def base_files() -> Mapping[str, str]:
    """Return ``deploy/base``: labels, runner and reaper of the shipped target, for whoever reads or patches manifests.

    It names no cluster: identity and settings come with `files_of`.
    """
    settings = load_settings(registries.PROJECT_DIR / SETTINGS_FILE)
    nowhere = dict.fromkeys(("context", "api_server", "kube_system_uid", "gateway_url", "prometheus_url"), "none")
    written = settings.targets[SHIPPED].model_copy(update=nowhere)
    target = resolve_target(settings.model_copy(update={"targets": {SHIPPED: written}}), SHIPPED, {})
    fitting = runner.fitting(target)
    resources = {
        "namespaces.yaml": runner.namespaces(target),
        "runner.yaml": runner.manifests(target, runner.needed(target, fitting)),
        "reaper.yaml": reaper.manifests(target, SHIPPED_IMAGE, reaper.undo_permissions(fitting)),
    }
    texts = {name: yaml.safe_dump_all(found, sort_keys=False) for name, found in resources.items()}
    return {**texts, "kustomization.yaml": yaml.safe_dump({**_HEAD, "resources": list(resources)}, sort_keys=False)}


def job_files(target: Target, experiment: Experiment, image: str, claim: str = "") -> Mapping[str, str]:
    """Return the Job of one experiment, as file name to text: a folder of its own, for it is applied on its own."""
    text = yaml.safe_dump(runner_job.job(target, experiment, image, claim), sort_keys=False)
    kustomization = {**_HEAD, "resources": ["job.yaml"]}
    return {"job.yaml": text, "kustomization.yaml": yaml.safe_dump(kustomization, sort_keys=False)}


def write(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write files into a folder that is made where it is missing; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return [folder / name for name in files]


_HEAD: Manifest = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}


def _kustomization(target: Target, resources: list[str]) -> Manifest:
    settings = {
        "name": "gameday-settings",
        "namespace": target.system_namespace,
        "files": ["gameday.toml", "kubeconfig"],
    }
    return {
        **_HEAD,
        "resources": resources,
        "configMapGenerator": [settings],
        "generatorOptions": {"disableNameSuffixHash": True},  # a Job names it, and is applied on its own
    }


def _service(target: Target) -> Manifest:
    """Return how the load workers find the run that they work for."""
    port = {"name": "load", "port": target.load_workers.listen_port}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": runner.NAME, "namespace": target.system_namespace, "labels": {"app": runner.NAME}},
        "spec": {"clusterIP": "None", "selector": {"app": runner.NAME}, "ports": [port]},
    }


if __name__ == "__main__":
    write(registries.PROJECT_DIR / "deploy" / "base", base_files())
