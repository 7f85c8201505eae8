"""The platform on a kind cluster: applied in the order in which its parts need each other, each waited for by name.

Every wait has a limit (`settings.LIMITS_S`) and says what was not ready. Rollouts are not believed where another part
must answer: the gateway and the metrics are asked themselves.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.places import REPOSITORY
from testbed.controlplane.waiting import wait_until
from testbed.kind import gpu
from testbed.kind.images import build_image, images_in, load_images
from testbed.kind.keda import DEPLOYMENTS, Keda, keda_manifests, keda_on
from testbed.kind.programs import Kubectl, run
from testbed.kind.settings import ADDONS, DEFAULT_IMAGE, LIMITS_S, OVERLAYS, KindSettings
from testbed.kind.target import TARGET, write_target

GATEWAY = "http://127.0.0.1:30080"
PROMETHEUS = "http://127.0.0.1:30090"
OPT_IN = "gameday.local/opt-in=true"
PLATFORM = {
    "agents": ("planner", "tool-api", "tool-adapter"),
    "platform-infra": ("envoy", "redis", "prometheus", "queue-exporter", "kube-state-metrics"),
}
_ANSWER_LIMIT_S = 3.0


class Platform:
    """What is put on one cluster."""

    def __init__(self, settings: KindSettings, kubectl: Kubectl, progress: Progress) -> None:
        self._settings = settings
        self._kubectl = kubectl
        self._progress = progress

    def manifests(self, with_keda: bool, keda: Keda) -> dict[str, str]:
        """Return every stream of manifests by the name of its part, in the order of need.

        Args:
            with_keda: Whether KEDA is asked for.
            keda: What the cluster has of it. Where it is there it scales the platform, asked for or not: without its
                ScaledObject the platform would be another than the last run left. KEDA itself is applied only where it
                is asked for, and never over somebody else's.
        """
        overlay = "kind-keda" if with_keda or keda.there else "kind"
        parts = {"platform": self._rendered(OVERLAYS / overlay), "metrics": self._rendered(ADDONS / "metrics")}
        if with_keda and keda is not Keda.THEIRS:
            parts["keda"] = keda_manifests(self._progress)
        if self._settings.gpu == "plugin":
            parts["gpu"] = self._rendered(ADDONS / "gpu")
        return parts

    def _rendered(self, folder: Path) -> str:
        return self._kubectl("kustomize", str(folder)).replace(
            f"image: {DEFAULT_IMAGE}", f"image: {self._settings.image}"
        )

    def load(self, with_keda: bool) -> None:
        """Build the project's image and put every image that the engine has into the nodes."""
        build_image(self._settings, self._progress)
        images = {
            name for text in self.manifests(with_keda, keda_on(self._kubectl)).values() for name in images_in(text)
        }
        left = load_images(self._settings, images, self._progress)
        if left:
            self._progress.say(f"left to the nodes to pull: {', '.join(left)}")

    def apply(self, with_keda: bool, with_reaper: bool) -> Path:
        """Put the platform on the cluster and wait until it is ready; returns the target's settings file.

        Raises:
            OperatorError: A part is refused, or not ready within its limit.
        """
        keda = keda_on(self._kubectl)
        parts = self.manifests(with_keda, keda)
        self._kubectl("label", "--overwrite", "namespace", "kube-system", OPT_IN)
        if with_keda or keda.there:
            self._keda(parts.get("keda", ""), keda)
        self._progress.say("applying platform and metrics")
        self._kubectl.apply(parts["platform"])  # its namespaces are the others' too
        self._kubectl.apply(parts["metrics"])
        gpu.provide(self._settings, self._kubectl, parts.get("gpu", ""), self._progress)
        self._await_workloads()
        self._await_answers()
        components = ["core", "platform", *(["keda"] if with_keda or keda.there else [])]
        target = write_target(self._settings, self._kubectl, components)
        if with_reaper:
            self._reaper(target)
        return target

    def _keda(self, manifests: str, found: Keda) -> None:
        if found.there:
            stays = "it stays, and this run's platform is scaled by it (component keda of the target)"
            self._progress.say(f"the cluster has {found.value}: {stays}")
        if manifests:
            self._progress.say("applying KEDA")
            self._kubectl.apply(manifests)
            for name in DEPLOYMENTS:
                self._kubectl.rolled_out("keda", f"deployment/{name}", LIMITS_S["addons"])
        self._await("external.metrics.k8s.io served", "addons", lambda: self._served("external.metrics.k8s.io/v1beta1"))

    def _await_workloads(self) -> None:
        self._progress.say("waiting for the platform's workloads")
        self._kubectl.rolled_out("kube-system", "deployment/metrics-server", LIMITS_S["addons"])
        for namespace, names in PLATFORM.items():
            for name in names:
                self._kubectl.rolled_out(namespace, f"deployment/{name}", LIMITS_S["platform"])
        if self._settings.gpu != "none":
            self._kubectl.rolled_out("agents", "deployment/inference", LIMITS_S["platform"])

    def _await_answers(self) -> None:
        self._progress.say("waiting for CPU figures, gateway and Prometheus")
        self._await("CPU figures of the planners (metrics.k8s.io)", "metrics", self._has_cpu_figures)
        self._await(f"the gateway's answer at {GATEWAY}", "command", lambda: _answers(f"{GATEWAY}/healthz"))
        self._await(f"Prometheus' answer at {PROMETHEUS}", "command", lambda: _answers(f"{PROMETHEUS}/-/ready"))

    def _await(self, what: str, limit: str, true: Callable[[], bool]) -> None:
        wait_until(what, true, timeout_s=LIMITS_S[limit], fault=lambda: None, sleep=lambda _: time.sleep(1.0))

    def _served(self, group_version: str) -> bool:
        return self._tells("get", "--raw", f"/apis/{group_version}")

    def _has_cpu_figures(self) -> bool:
        return self._tells("top", "pods", "--namespace=agents", "--selector=app=planner", "--no-headers")

    def _tells(self, *arguments: str) -> bool:
        """Tell whether kubectl answers at all; what is not served yet is no error while we wait."""
        try:
            return bool(self._kubectl(*arguments).strip())
        except OperatorError:
            return False

    def _reaper(self, target: Path) -> None:
        self._progress.say("applying the reaper")
        command = [sys.executable, "-m", "harness.cli", "reaper", "--manifest", "--target", TARGET]
        manifest = run([*command, "--settings", str(target), "--image", self._settings.image])
        with tempfile.TemporaryDirectory(prefix="gameday-reaper-") as scratch:
            folder = Path(scratch)
            shutil.copyfile(ADDONS / "reaper" / "kustomization.yaml", folder / "kustomization.yaml")
            (folder / "manifest.yaml").write_text(manifest, encoding="utf-8")
            self._kubectl.apply_kustomization(folder)
        self._kubectl.rolled_out("gameday-system", "deployment/gameday-reaper", LIMITS_S["reaper"])


def local_reaper(target: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a reaper on this machine: only here can a node's container be started again."""
    command = [sys.executable, "-m", "harness.cli", "reaper", "--target", TARGET, "--settings", str(target)]
    with log.open("ab") as record:
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=record, stderr=record, start_new_session=True
        )


def _answers(url: str) -> bool:
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment must not see what is meant for loopback
    try:
        return session.get(url, timeout=_ANSWER_LIMIT_S).ok
    except requests.RequestException:
        return False
