"""The images that a cluster needs: the project's own is built, and what the engine has is put into the nodes.

What the engine has not is left to the nodes to pull. Nothing is ever pushed anywhere.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from testbed.controlplane.console import Progress
from testbed.controlplane.places import REPOSITORY
from testbed.kind.programs import run
from testbed.kind.settings import FOLDER, LIMITS_S, KindSettings


def images_in(manifests: str) -> set[str]:
    """Return the images that a stream of manifests names, wherever in it."""
    return {name for document in yaml.safe_load_all(manifests) for name in _images(document)}


def _images(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "image" and isinstance(inner, str):
                yield inner
            else:
                yield from _images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _images(inner)


def in_engine(image: str) -> bool:
    """Tell whether the engine has the image."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "image", "inspect", image]
    done = subprocess.run(command, capture_output=True, timeout=LIMITS_S["command"], check=False)
    return done.returncode == 0


def build_image(settings: KindSettings, progress: Progress) -> None:
    """Build the project's image from the checkout; the engine's cache makes a second build short.

    Raises:
        OperatorError: The build failed.
    """
    progress.say(f"building the image {settings.image}")
    dockerfile = str(FOLDER / "Dockerfile")
    run(["docker", "build", "-f", dockerfile, "-t", settings.image, str(REPOSITORY)], limit_s=LIMITS_S["image"])


def load_images(settings: KindSettings, images: Iterable[str], progress: Progress) -> list[str]:
    """Put what the engine has of `images` into every node; returns those that nodes must pull themselves.

    Raises:
        OperatorError: kind cannot load them.
    """
    wanted = sorted(set(images))
    there = [image for image in wanted if in_engine(image)]
    if there:
        progress.say(f"loading into the nodes: {', '.join(there)}")
        run(["kind", "load", "docker-image", *there, "--name", settings.cluster], limit_s=LIMITS_S["load"])
    return [image for image in wanted if image not in there]
