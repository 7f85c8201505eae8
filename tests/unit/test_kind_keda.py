"""KEDA that a kind cluster has already: it stays, belongs to the platform, and is never written over or deleted."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.kind import platform, target
from testbed.kind.keda import Keda, keda_on
from testbed.kind.platform import Platform
from testbed.kind.settings import KindSettings


class Cluster:
    """kubectl of a cluster on which somebody wrote KEDA's kinds, or nobody did."""

    def __init__(self, *managers: str) -> None:
        self.managers, self.asked, self.applied = managers, [], []  # type: tuple[str, ...], list[str], list[str]

    def __call__(self, *arguments: str, **_: Any) -> str:
        self.asked.append(" ".join(arguments))
        if arguments[:2] == ("get", "customresourcedefinition"):
            return " ".join(self.managers)
        return arguments[1] if arguments[0] == "kustomize" else "served"

    def apply(self, manifests: str) -> None:
        self.applied.append(Path(manifests).name)

    def rolled_out(self, namespace: str, workload: str, limit_s: float) -> None:
        self.asked.append(f"rollout of {namespace}/{workload}")


@pytest.mark.parametrize(
    ("managers", "found"),
    [
        ((), Keda.ABSENT),
        (("gameday-kind",), Keda.OURS),
        (("kube-apiserver", "gameday-kind"), Keda.OURS),
        (("helm", "kube-apiserver"), Keda.THEIRS),
    ],
)
def test_whose_keda_it_is_tells_who_wrote_its_kinds(managers: tuple[str, ...], found: Keda) -> None:
    assert keda_on(Cluster(*managers)) is found  # type: ignore[arg-type]


def test_a_cluster_that_does_not_say_is_an_error_and_not_one_without_keda() -> None:
    def silent(*_: str) -> str:
        raise OperatorError("kubectl failed")

    with pytest.raises(OperatorError):
        keda_on(silent)  # type: ignore[arg-type]


class Stage:
    """A platform that is put on a cluster; what would take minutes answers at once."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, *managers: str) -> None:
        patch.setenv("GAMEDAY_STATE_DIR", str(folder))
        patch.setattr(platform, "keda_manifests", lambda _: "keda")
        patch.setattr(platform, "_answers", lambda _: True)
        patch.setattr(target, "api_server", lambda _: "https://127.0.0.1:6443")
        self.cluster, self.said = Cluster(*managers), []  # type: Cluster, list[str]
        self.settings = KindSettings(gpu="none")
        self.settings.folder.mkdir(parents=True)

    def apply(self, with_keda: bool) -> list[str]:
        """Return the components that the target then names."""
        made = Platform(self.settings, self.cluster, Progress(self.said.append))  # type: ignore[arg-type]
        written = made.apply(with_keda, with_reaper=False)
        components: list[str] = tomllib.loads(written.read_text())["targets"]["kind"]["components"]
        return components

    @property
    def told(self) -> str:
        return "\n".join(self.said)


WITH, WITHOUT = ["core", "platform", "keda"], ["core", "platform"]


@pytest.mark.parametrize(
    ("managers", "asked", "components", "applied", "said"),
    [
        ((), False, WITHOUT, ["kind", "metrics"], ""),
        ((), True, WITH, ["keda", "kind-keda", "metrics"], ""),
        (("gameday-kind",), False, WITH, ["kind-keda", "metrics"], "from an earlier `--with-keda` or run: it stays"),
        (("gameday-kind",), True, WITH, ["keda", "kind-keda", "metrics"], "it stays"),
        (("helm",), False, WITH, ["kind-keda", "metrics"], "which gameday did not install: it stays"),
        (("helm",), True, WITH, ["kind-keda", "metrics"], "which gameday did not install: it stays"),
    ],
)
def test_keda_that_is_there_stays_is_said_and_belongs_to_the_target(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    managers: tuple[str, ...],
    asked: bool,
    components: list[str],
    applied: list[str],
    said: str,
) -> None:
    stage = Stage(monkeypatch, tmp_path, *managers)
    assert stage.apply(asked) == components
    assert stage.cluster.applied == applied
    assert said in stage.told
    assert ("the cluster has KEDA" in stage.told) is bool(managers)
    assert not [call for call in stage.cluster.asked if "delete" in call]


def test_keda_is_waited_for_wherever_it_is_and_its_rollout_only_where_it_was_applied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stage = Stage(monkeypatch, tmp_path, "helm")
    stage.apply(with_keda=False)
    assert "get --raw /apis/external.metrics.k8s.io/v1beta1" in stage.cluster.asked
    assert not [call for call in stage.cluster.asked if "rollout of keda" in call]
