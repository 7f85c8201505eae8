"""Volumes of a pod as folders, and the mounts of a container as links to them.

A container has no mount namespace: mount path P of container C is P below the pod's folder
`root/C`, a link to its folder `volumes/NAME`.
Projected contents are replaced as the kubelet does it (pkg/volume/util/atomic_writer.go): files are links through
`..data`, which is swapped in one rename, so that a reader never sees half of an update. Nothing outside the pod's
folder is written, and no ConfigMap or Secret is fetched here.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from testbed.nodeagent.environment import ContainerConfigError, PodFacts, SourceKind, SourceRef, Sources
from testbed.nodeagent.objects import Obj

_DATA = "..data"
_SUPPORTED = ("emptyDir", "configMap", "secret", "projected", "downwardAPI")


class VolumeError(Exception):
    """A volume cannot be set up as it stands; the pod waits, and it is tried again."""


@dataclass(frozen=True)
class TokenRef:
    """A ServiceAccount token that a projected volume asks for.

    Attributes:
        path: file in the volume.
        audience: empty for the API server's own.
        lifetime_s: seconds that the token shall be valid.
    """

    path: str
    audience: str
    lifetime_s: int


Tokens = Mapping[TokenRef, str]
Files = dict[str, bytes]


def _projections(volume: Obj) -> Iterator[Obj]:
    """Yield the volume's sources in the form in which a projected volume has them."""
    for key in ("configMap", "secret", "downwardAPI"):
        if key in volume:
            yield {key: volume[key]}
    yield from volume.get("projected", {}).get("sources") or []


def volume_references(spec: Obj) -> Iterator[SourceRef]:
    """Yield the ConfigMaps and Secrets that the volumes of a pod spec need."""
    for volume in spec.get("volumes", []):
        for projection in _projections(volume):
            for key, kind in _PROJECTED_KINDS:
                if key in projection:
                    yield SourceRef(kind, _source_name(projection[key]), bool(projection[key].get("optional")))


_PROJECTED_KINDS: tuple[tuple[str, SourceKind], ...] = (("configMap", "ConfigMap"), ("secret", "Secret"))


def _source_name(source: Obj) -> str:
    # a Secret volume says secretName where a projected Secret says name
    return str(source.get("name") or source.get("secretName"))


def token_references(spec: Obj) -> Iterator[TokenRef]:
    """Yield the ServiceAccount tokens that the volumes of a pod spec need."""
    for volume in spec.get("volumes", []):
        for projection in _projections(volume):
            if token := projection.get("serviceAccountToken"):
                yield _token_reference(token)


def _token_reference(token: Obj) -> TokenRef:
    return TokenRef(token["path"], token.get("audience", ""), int(token.get("expirationSeconds", 3600)))


def refuse_unsupported(spec: Obj) -> None:
    """Raise VolumeError when a volume is of a kind that the testbed cannot give."""
    for volume in spec.get("volumes", []):
        if not any(kind in volume for kind in _SUPPORTED):
            kinds = sorted(set(volume) - {"name"})
            raise VolumeError(
                f"volume {volume['name']}: {', '.join(kinds)} is not offered by the local testbed "
                f"(it has {', '.join(_SUPPORTED)})"
            )


def volume_files(volume: Obj, facts: PodFacts, sources: Sources, tokens: Tokens) -> Files | None:
    """Return path -> contents of a volume whose files are projected; None for an emptyDir.

    Raises:
        VolumeError: an object, key or token is missing and not optional, or a path leaves the volume.
    """
    if "emptyDir" in volume:
        return None
    files: Files = {}
    for projection in _projections(volume):
        files.update(_projected(projection, facts, sources, tokens))
    for path in files:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise VolumeError(f"volume {volume['name']}: path {path!r} leaves the volume")
    return files


def _projected(projection: Obj, facts: PodFacts, sources: Sources, tokens: Tokens) -> Files:
    if "downwardAPI" in projection:
        return {item["path"]: _downward(item, facts) for item in projection["downwardAPI"].get("items", [])}
    if "serviceAccountToken" in projection:
        reference = _token_reference(projection["serviceAccountToken"])
        return {reference.path: tokens[reference].encode()}
    for key, kind in _PROJECTED_KINDS:
        if key in projection:
            return _from_source(kind, projection[key], sources)
    raise VolumeError(f"projected source {sorted(projection)} is not offered by the local testbed")


def _from_source(kind: str, source: Obj, sources: Sources) -> Files:
    name, optional = _source_name(source), bool(source.get("optional"))
    data = sources.get((kind, name))
    if data is None:
        if optional:
            return {}
        raise VolumeError(f'{kind.lower()} "{name}" not found')
    if "items" not in source:
        return dict(data)
    missing = [item["key"] for item in source["items"] if item["key"] not in data]
    if missing and not optional:
        raise VolumeError(f"{kind.lower()} {name!r} has no key {missing[0]!r}")
    return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}


def _downward(item: Obj, facts: PodFacts) -> bytes:
    try:
        if "fieldRef" in item:
            return facts.labels_or_annotations(item["fieldRef"]["fieldPath"]).encode()
        reference = item["resourceFieldRef"]
        named = (c for c in facts.obj["spec"]["containers"] if c["name"] == reference.get("containerName"))
        return facts.resource(next(named, {}), reference).encode()
    except ContainerConfigError as error:
        raise VolumeError(str(error)) from error


def write_files(folder: Path, files: Files) -> bool:
    """Make `folder` hold exactly `files`, seen all at once; return whether anything changed."""
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / _DATA
    if current.is_symlink() and _read_files(folder / os.readlink(current)) == files:
        return False
    generation = _next_generation(folder)
    for path, content in files.items():
        target = generation / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    _swap_link(current, generation.name)
    _relink(folder, {PurePosixPath(path).parts[0] for path in files})
    for old in folder.glob("..gen-*"):
        if old != generation:
            shutil.rmtree(old)
    return True


def _next_generation(folder: Path) -> Path:
    numbers = [int(old.name.removeprefix("..gen-")) for old in folder.glob("..gen-*")]
    generation = folder / f"..gen-{max(numbers, default=0) + 1}"
    generation.mkdir()
    return generation


def _read_files(generation: Path) -> Files:
    return {
        path.relative_to(generation).as_posix(): path.read_bytes() for path in generation.rglob("*") if path.is_file()
    }


def _swap_link(link: Path, target: str) -> None:
    fresh = link.with_name(f"{link.name}_tmp")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _relink(folder: Path, names: set[str]) -> None:
    for name in names:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()


def lay_out_mounts(root: Path, volumes: Path, container: Obj) -> None:
    """Make each volume mount of `container` a link below `root` into the folder `volumes`.

    Raises:
        VolumeError: a mount path leaves the root.
    """
    for mount in sorted(container.get("volumeMounts", []), key=lambda mount: len(mount["mountPath"])):
        inside = PurePosixPath(mount["mountPath"]).relative_to("/") if mount["mountPath"].startswith("/") else None
        if inside is None or ".." in inside.parts or not inside.parts:
            raise VolumeError(f"mountPath {mount['mountPath']!r}: give an absolute path other than /")
        target = volumes / mount["name"] / mount.get("subPath", "")
        if not target.exists():
            target.mkdir(parents=True)
        link = root / inside
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink() and not any(link.iterdir()):
            link.rmdir()
        if not link.is_symlink():
            link.symlink_to(target)
