"""Every manifest against a real API server: admitted by server-side dry run, and nothing to change a second time."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness.deploy.reaper import manifest_text
from harness.model.target import Target
from testbed.controlplane.cluster import kubectl
from testbed.controlplane.console import Progress
from testbed.controlplane.programs import FAMILIES
from testbed.controlplane.toolchain import go_for
from testbed.kind import keda
from testbed.kind.gpu import canary
from testbed.kind.keda import Keda, keda_on, module_folder
from testbed.kind.programs import Kubectl
from tests.unit.rendered_manifests import FOLDERS, Json, rendered

MANAGER = ("--server-side", "--force-conflicts", "--field-manager=gameday-kind")


class Server:
    """kubectl as the administrator of the light testbed."""

    def __init__(self, target: Json) -> None:
        self._kubeconfig = Path(target["kubeconfig"]).parent / "admin.kubeconfig"

    def run(self, *arguments: str, objects: list[Json] | None = None) -> subprocess.CompletedProcess[str]:
        stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}) if objects is not None else None
        command = [kubectl(), f"--kubeconfig={self._kubeconfig}", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)

    def must(self, *arguments: str, objects: list[Json] | None = None) -> str:
        done = self.run(*arguments, objects=objects)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


def printed() -> list[Json]:
    target = Target(
        "kind",
        "kind",
        "c",
        "k",
        "https://127.0.0.1",
        "u",
        "a=b",
        ("agents",),
        "http://g",
        "http://p",
        1200.0,
        components=("core", "platform", "keda"),
    )
    return [*yaml.safe_load_all(manifest_text(target, "gameday-platform:dev")), canary("gameday-platform:dev")]


@pytest.fixture(scope="module")
def server(light_testbed: Json) -> Iterator[Server]:
    """The API server with the platform's namespaces and KEDA's kinds; both go again."""
    found = Server(light_testbed)
    before = found.must("get", "namespaces", "-o", "name").split()
    spaces = {o["metadata"]["name"]: o for folder in FOLDERS for o in rendered(folder) if o["kind"] == "Namespace"}
    added = [one for name, one in spaces.items() if f"namespace/{name}" not in before]
    crd = module_folder(go_for(FAMILIES["keda"].go_version(), Progress()), FAMILIES["keda"].module_dir)
    crds = [yaml.safe_load((crd / "config" / "crd" / "bases" / "keda.sh_scaledobjects.yaml").read_text())]
    found.must("apply", *MANAGER, "-f", "-", objects=[*added, *crds])
    found.must("wait", "--for=condition=Established", "crd/scaledobjects.keda.sh", "--timeout=30s")
    try:
        yield found
    finally:
        found.must("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", objects=[*added, *crds])


@pytest.mark.testbed
@pytest.mark.parametrize("where", [*FOLDERS, "printed"])
def test_the_api_server_admits_every_manifest(server: Server, where: str) -> None:
    objects = printed() if where == "printed" else rendered(where)
    told = server.run("apply", *MANAGER, "--dry-run=server", "-f", "-", objects=objects)
    assert told.returncode == 0, told.stderr[-3000:]
    assert "Warning" not in told.stderr, told.stderr[-3000:]
    assert told.stdout.count("serverside-applied") == len(objects)


@pytest.mark.testbed
def test_a_manifest_that_is_wrong_is_not_admitted(server: Server) -> None:
    wrong = next(one for one in rendered("kind/addons/metrics") if one["kind"] == "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "much"
    assert server.run("apply", *MANAGER, "--dry-run=server", "-f", "-", objects=[wrong]).returncode != 0


@pytest.mark.testbed
def test_applied_a_second_time_nothing_changes(server: Server) -> None:
    objects = [_without_pods(one) for one in rendered("manifests/overlays/kind-keda")]
    applied = [one for one in objects if one["kind"] != "Namespace"]
    try:
        server.must("apply", *MANAGER, "-f", "-", objects=applied)
        told = server.run("diff", *MANAGER, "-f", "-", objects=applied)
        assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-1000:]
    finally:
        server.must("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", objects=applied)


@pytest.mark.testbed
def test_whose_keda_a_cluster_has_is_told_by_a_real_api_server(
    server: Server, light_testbed: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Path(light_testbed["kubeconfig"]).parent / "admin.kubeconfig"
    (context,) = server.must("config", "get-contexts", "-o", "name").split()
    kinds = Kubectl(admin, context)
    assert keda_on(kinds) is Keda.OURS
    name = "scaledthings.example.test"
    monkeypatch.setattr(keda, "CRD", name)
    assert keda_on(kinds) is Keda.ABSENT
    names = {"plural": "scaledthings", "kind": "ScaledThing"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    spec = {"group": "example.test", "scope": "Namespaced", "names": names, "versions": [version]}
    theirs = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": spec,
    }
    try:
        server.must("apply", "--server-side", "--field-manager=helm", "-f", "-", objects=[theirs])
        assert keda_on(kinds) is Keda.THEIRS
    finally:
        server.must("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", objects=[theirs])


def _without_pods(one: Json) -> Json:
    if one["kind"] == "Deployment":
        one["spec"]["replicas"] = 0
    return one
