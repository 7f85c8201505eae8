"""The Go programs of the testbed, by family: which packages, which versions. Data only.

One tools module per family (testbed/programs/<family>), because each pins its own Kubernetes libraries.
"""

import hashlib
import json
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from testbed.controlplane.places import REPOSITORY

KUBERNETES_VERSION = "1.35.4"
"""Must be the version of k8s.io/kubernetes in testbed/programs/core/go.mod."""


@dataclass(frozen=True)
class Family:
    """Programs that are built from one Go module.

    Attributes:
        name: name of the family and of its folder in testbed/programs.
        packages: program name -> Go package of its main function.
        version_flags: values that the linker sets, `import path.variable` -> value.
        data: folder name beside the programs -> (module, glob in the module) of files that are copied there.
        duration_hint: how long a build from empty caches took elsewhere.
        disk_bytes: what such a build needs free.
    """

    name: str
    packages: dict[str, str]
    version_flags: dict[str, str]
    data: dict[str, tuple[str, str]]
    duration_hint: str
    disk_bytes: int

    @property
    def module_dir(self) -> Path:
        """Folder of the tools module."""
        return REPOSITORY / "testbed" / "programs" / self.name

    @property
    def link_flags(self) -> str:
        """Value of `-ldflags`: no symbol tables, versions set."""
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.version_flags.items())])

    def key(self) -> str:
        """Return what the build depends on, as 16 hexadecimal digits."""
        recipe = json.dumps([self.packages, self.link_flags, self.data, platform.system(), platform.machine()])
        sources = sorted(path for path in self.module_dir.rglob("*") if path.suffix in (".go", ".mod", ".sum"))
        parts = [path.read_bytes() for path in sources]
        return hashlib.sha256(b"\0".join([*parts, recipe.encode()])).hexdigest()[:16]

    def go_version(self) -> tuple[int, ...]:
        """Return the lowest Go version that go.mod accepts."""
        found = re.search(
            r"^go (\d+(?:\.\d+)*)$", (self.module_dir / "go.mod").read_text(encoding="utf-8"), re.MULTILINE
        )
        if found is None:
            raise ValueError(f"{self.module_dir / 'go.mod'}: no `go` line")
        return tuple(int(part) for part in found[1].split("."))


def _kubernetes_version_flags(version: str) -> dict[str, str]:
    # Without them the programs call themselves v0.0.0-master+$Format, which KEDA and kubectl cannot parse.
    major, minor, _ = version.split(".")
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


FAMILIES = {
    "core": Family(
        name="core",
        packages={
            "etcd": "go.etcd.io/etcd/server/v3",
            "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
            "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
            "metrics-server": "gameday.local/controlplane/metrics-server",
        },
        version_flags=_kubernetes_version_flags(KUBERNETES_VERSION),
        data={},
        duration_hint="5 min on 2 cores",
        disk_bytes=5 * 2**30,
    ),
    "keda": Family(
        name="keda",
        packages={
            "keda-operator": "github.com/kedacore/keda/v2/cmd/operator",
            "keda-adapter": "github.com/kedacore/keda/v2/cmd/adapter",
        },
        version_flags={"github.com/kedacore/keda/v2/version.Version": "2.20.2"},
        data={"keda-crds": ("github.com/kedacore/keda/v2", "config/crd/bases/*.yaml")},
        duration_hint="6 min on 2 cores",
        disk_bytes=6 * 2**30,
    ),
    "drill": Family(
        name="drill",
        packages={
            "alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager",
            "amtool": "github.com/prometheus/alertmanager/cmd/amtool",
            "kube-state-metrics": "k8s.io/kube-state-metrics/v2",
            "kubectl": "gameday.local/drill/kubectl",
        },
        version_flags=_kubernetes_version_flags(KUBERNETES_VERSION),
        data={},
        duration_hint="6 min on 2 cores",
        disk_bytes=4 * 2**30,
    ),
    "bench": Family(
        name="bench",
        packages={"k6": "go.k6.io/k6", "vegeta": "github.com/tsenart/vegeta/v12"},
        version_flags={"main.Version": "v12.13.0"},
        data={},
        duration_hint="2 min on 2 cores",
        disk_bytes=3 * 2**30,
    ),
    "lint": Family(
        name="lint",
        packages={"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
        version_flags={},
        data={},
        duration_hint="10 s on 2 cores",
        disk_bytes=2**30,
    ),
}

TESTBED_FAMILIES = ("core", "keda", "drill")
"""What a testbed can need; other load generators and the workflows' linter are built only by their name."""
