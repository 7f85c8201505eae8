"""Volumes on disk: contents by table, replacement without a half state, mounts that cannot leave the pod's folder."""

import os
from pathlib import Path

import pytest

from testbed.nodeagent.environment import PodFacts, SourceRef
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.volumes import (
    TokenRef,
    VolumeError,
    lay_out_mounts,
    refuse_unsupported,
    token_references,
    volume_files,
    volume_references,
    write_files,
)

POD: Obj = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "1"}},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "250m"}}}]},
}
FACTS = PodFacts(POD, "198.18.1.1", "127.45.0.1")
SOURCES = {("ConfigMap", "conf"): {"a": b"1", "b": b"2"}, ("Secret", "s"): {"key": b"k"}, ("ConfigMap", "gone"): None}
TOKEN = TokenRef("token", "", 3607)


@pytest.mark.parametrize(
    ("volume", "files"),
    [
        ({"configMap": {"name": "conf"}}, {"a": b"1", "b": b"2"}),
        ({"configMap": {"name": "conf", "items": [{"key": "a", "path": "x/y"}]}}, {"x/y": b"1"}),
        ({"configMap": {"name": "gone", "optional": True}}, {}),
        ({"secret": {"secretName": "s"}}, {"key": b"k"}),
        ({"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}, {"l": b'a="1"'}),
        (
            {
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                        {"configMap": {"name": "conf", "items": [{"key": "b", "path": "ca.crt"}]}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "cpu",
                                        "resourceFieldRef": {
                                            "containerName": "c",
                                            "resource": "limits.cpu",
                                            "divisor": "1m",
                                        },
                                    }
                                ]
                            }
                        },
                    ]
                }
            },
            {"token": b"secret", "ca.crt": b"2", "cpu": b"250"},
        ),
        ({"emptyDir": {}}, None),
    ],
)
def test_a_volume_shows_what_its_sources_hold(volume: Obj, files: dict[str, bytes] | None) -> None:
    assert volume_files({"name": "v", **volume}, FACTS, SOURCES, {TOKEN: "secret"}) == files


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ({"configMap": {"name": "gone"}}, 'configmap "gone" not found'),
        ({"configMap": {"name": "conf", "items": [{"key": "z", "path": "z"}]}}, "has no key 'z'"),
        ({"secret": {"secretName": "s", "items": [{"key": "key", "path": "../../x"}]}}, "leaves the volume"),
    ],
)
def test_what_a_volume_misses_is_named(volume: Obj, said: str) -> None:
    with pytest.raises(VolumeError, match=said):
        volume_files({"name": "v", **volume}, FACTS, SOURCES, {})


def test_a_volume_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(VolumeError, match="volume data: persistentVolumeClaim is not offered"):
        refuse_unsupported({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "x"}}]})


def test_references_of_all_volumes_are_listed() -> None:
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    sources: list[Obj] = [{"configMap": {"name": "conf"}}, token]
    spec: Obj = {
        "volumes": [
            {"name": "a", "secret": {"secretName": "s", "optional": True}},
            {"name": "b", "projected": {"sources": sources}},
        ]
    }
    assert list(volume_references(spec)) == [SourceRef("Secret", "s", True), SourceRef("ConfigMap", "conf")]
    assert list(token_references(spec)) == [TOKEN]


def test_files_are_replaced_all_at_once_and_old_ones_go(tmp_path: Path) -> None:
    assert write_files(tmp_path / "v", {"a": b"1", "sub/b": b"2"})
    opened = (tmp_path / "v" / "a").open("rb")
    before = os.readlink(tmp_path / "v" / "..data")
    assert write_files(tmp_path / "v", {"a": b"new"})
    with opened:
        assert opened.read() == b"1"
    assert os.readlink(tmp_path / "v" / "..data") != before
    assert (tmp_path / "v" / "a").read_bytes() == b"new"
    assert not (tmp_path / "v" / "sub").is_symlink()
    assert len(list((tmp_path / "v").glob("..gen-*"))) == 1


def test_unchanged_files_are_left_alone(tmp_path: Path) -> None:
    assert write_files(tmp_path, {"a": b"1"})
    assert not write_files(tmp_path, {"a": b"1"})


def test_a_mount_is_a_link_below_the_containers_root(tmp_path: Path) -> None:
    volumes, root = tmp_path / "volumes", tmp_path / "root"
    write_files(volumes / "conf", {"a": b"1"})
    container: Obj = {
        "volumeMounts": [
            {"name": "conf", "mountPath": "/etc/app/conf"},
            {"name": "conf", "mountPath": "/etc/one", "subPath": "a"},
            {"name": "data", "mountPath": "/data"},
        ]
    }
    lay_out_mounts(root, volumes, container)
    lay_out_mounts(root, volumes, container)  # a restart finds everything in place
    assert (root / "etc/app/conf/a").read_bytes() == b"1"
    assert (root / "etc/one").read_bytes() == b"1"
    (root / "data" / "x").write_text("y")
    assert (volumes / "data" / "x").read_text() == "y"


@pytest.mark.parametrize("path", ["relative", "/", "/a/../../b"])
def test_a_mount_path_that_leaves_the_root_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(VolumeError, match="absolute path"):
        lay_out_mounts(tmp_path, tmp_path / "v", {"volumeMounts": [{"name": "x", "mountPath": path}]})
