"""Which images the nodes can have. Nothing is pulled or run from an image here: commands are; pure.

Images of the platform exist by tag, as in a registry that holds just them: any other tag of theirs cannot be pulled,
and the agent says so in the kubelet's words. Any other image's name is taken as it stands.
"""

from testbed.nodeagent.environment import ContainerConfigError
from testbed.nodeagent.pod_spec import ContainerSpec

PLATFORM_TAGS = {"docker.io/library/gameday-platform": ("dev",)}
"""Tags of the platform's images, by repository."""

_HUB = "docker.io/library/"


class ImageError(ContainerConfigError):
    """An image that cannot be had; shown as ErrImagePull, then ImagePullBackOff, and tried again.

    Attributes:
        image: as the spec names it.
        pulls: whether the pull policy allows to try.
    """

    def __init__(self, image: str, problem: str, *, pulls: bool) -> None:
        super().__init__(problem)
        self.image, self.pulls = image, pulls


def need_image(spec: ContainerSpec) -> None:
    """Look whether a container's image can be had.

    Raises:
        ImageError: it cannot.
    """
    reference = _whole(spec.image)
    repository, _, tag = reference.rpartition(":")
    tags = PLATFORM_TAGS.get(repository.partition("@")[0])
    if tags is None or tag in tags:
        return
    if spec.raw.get("imagePullPolicy") == "Never":
        raise ImageError(
            spec.image, f'Container image "{spec.image}" is not present with pull policy of Never', pulls=False
        )
    raise ImageError(
        spec.image,
        f'rpc error: code = NotFound desc = failed to pull and unpack image "{reference}": failed to resolve reference '
        f'"{reference}": {reference}: not found',
        pulls=True,
    )


def _whole(image: str) -> str:
    """Return an image's name with registry and tag, as a container runtime completes it."""
    named = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
    return named if "/" in named else _HUB + named
