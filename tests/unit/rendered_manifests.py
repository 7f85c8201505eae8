"""The testbeds' manifests as they are applied: each overlay and add-on, rendered by kustomize once a session."""

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TESTBED = Path(__file__).parents[2] / "testbed"
FOLDERS = (
    "manifests/overlays/local", "manifests/overlays/local-keda", "manifests/overlays/kind",
    "manifests/overlays/kind-keda", "manifests/overlays/local-alerting", "manifests/overlays/local-keda-alerting",
    "kind/addons/metrics", "kind/addons/gpu",
)  # fmt: skip

Json = dict[str, Any]


def rendered(folder: str) -> tuple[Json, ...]:
    """Return the objects of a folder, which the caller may change."""
    return tuple(yaml.safe_load_all(_text(folder)))


@cache
def _text(folder: str) -> str:
    kubectl = str(Path(sys.executable).with_name("kubectl"))
    done = subprocess.run(
        [kubectl, "kustomize", str(TESTBED / folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
