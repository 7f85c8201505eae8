import dataclasses
import os
from pathlib import Path

import pytest

from testbed.controlplane.build import cached_dir, check_disk, programs_dir
from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.go_build import binary_name, build_environment
from testbed.controlplane.programs import FAMILIES, KUBERNETES_VERSION, TESTBED_FAMILIES, Family
from testbed.controlplane.toolchain import go_for, new_enough, parse_version

QUIET = Progress(lambda _: None)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAMEDAY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GAMEDAY_BIN_DIR", raising=False)
    return tmp_path / "cache"


def small_family(**changes: object) -> Family:
    family = dataclasses.replace(FAMILIES["core"], packages={"one": "example.org/one"}, disk_bytes=1)
    return dataclasses.replace(family, **changes)  # type: ignore[arg-type]


def fake_go(folder: Path, build: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    go = folder / "go"
    go.write_text(f'#!/bin/sh\nif [ "$1" = env ]; then echo go1.99.0; exit; fi\n{build}\n')
    go.chmod(0o755)


WRITES_BINARIES = 'while [ "$1" != -o ]; do shift; done; echo example.org/dependency >&2; echo x > "$2/one"'


def test_the_key_of_a_build_changes_with_its_recipe_and_with_nothing_else() -> None:
    keys = {family.key() for family in FAMILIES.values()}
    assert len(keys) == len(FAMILIES)
    assert small_family().key() == small_family().key()
    assert small_family(packages={"two": "example.org/two"}).key() != small_family().key()
    assert small_family(version_flags={}).key() != small_family().key()
    assert len(small_family().key()) == 16


def test_the_kubernetes_version_told_to_the_linker_is_the_one_that_is_built() -> None:
    go_mod = (FAMILIES["core"].module_dir / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{KUBERNETES_VERSION}\n" in go_mod
    assert f"gitVersion=v{KUBERNETES_VERSION}" in FAMILIES["core"].link_flags


def test_the_version_told_to_vegeta_is_the_one_that_is_built_and_no_testbed_builds_it() -> None:
    assert (
        f"vegeta/v12 {FAMILIES['bench'].version_flags['main.Version']}\n"
        in (FAMILIES["bench"].module_dir / "go.mod").read_text()
    )
    assert set(TESTBED_FAMILIES) == set(FAMILIES) - {"bench", "lint"}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_every_program_is_named_in_the_tools_module_of_its_family(family: Family) -> None:
    tools = (family.module_dir / "tools.go").read_text()
    fetched = [package for package in family.packages.values() if not package.startswith("gameday.local/")]
    assert all(f'"{package}"' in tools for package in fetched)
    assert family.go_version() >= (1, 26)


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("go.etcd.io/etcd/server/v3", "server"),
        ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
        ("github.com/kedacore/keda/v2/cmd/operator", "operator"),
    ],
)
def test_go_names_a_binary_after_its_package(package: str, name: str) -> None:
    assert binary_name(package) == name


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8\n", (1, 26, 8)),
        ("go1.26", (1, 26, 0)),
        ("go1.27rc1", (1, 26)),
        ("devel +abc", None),
        ("", None),
    ],
)
def test_a_go_version_is_read(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("found", "wanted", "enough"),
    [
        ((1, 26, 8), (1, 26), True),
        ((1, 26), (1, 26, 0), True),
        ((1, 25, 9), (1, 26), False),
        ((2, 0), (1, 26, 1), True),
        ((1, 26), (1, 27), False),
        (None, (1, 26), False),
    ],
)
def test_a_go_is_new_enough_when_no_part_is_older(
    found: tuple[int, ...] | None, wanted: tuple[int, ...], enough: bool
) -> None:
    assert new_enough(found, wanted) is enough


def test_a_new_enough_go_on_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path, "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert go_for((1, 26), QUIET) == tmp_path / "go"


def test_a_build_is_made_once_and_found_again(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path / "go", WRITES_BINARIES)
    monkeypatch.setenv("PATH", str(tmp_path / "go"), prepend=os.pathsep)
    said: list[str] = []
    folder = programs_dir(small_family(), Progress(said.append))
    assert (folder / "one").exists()
    assert folder.parent == cache / "bin"
    assert any("from empty caches it took 5 min" in line for line in said)
    said.clear()
    assert programs_dir(small_family(), Progress(said.append)) == folder
    assert said == []


def test_a_failed_build_tells_its_last_lines_and_leaves_no_complete_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(tmp_path / "go", "echo 'x.go:1: undefined: y' >&2; exit 2")
    monkeypatch.setenv("PATH", str(tmp_path / "go"), prepend=os.pathsep)
    with pytest.raises(OperatorError, match=r"building core failed with status 2") as failed:
        programs_dir(small_family(), QUIET)
    assert "undefined: y" in str(failed.value)
    assert str(cache) in str(failed.value)
    assert not cached_dir(small_family()).exists()


def test_ready_programs_are_taken_and_a_missing_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMEDAY_BIN_DIR", str(tmp_path))
    with pytest.raises(OperatorError, match=r"lacks one;"):
        programs_dir(small_family(), QUIET)
    (tmp_path / "one").write_text("")
    (tmp_path / "one").chmod(0o755)
    assert programs_dir(small_family(), QUIET) == tmp_path
    with pytest.raises(OperatorError, match=r"keda-operator, keda-adapter, keda-crds/"):
        programs_dir(FAMILIES["keda"], QUIET)


def test_a_full_disk_is_told_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"building x needs 1048576\.0 GiB free"):
        check_disk(tmp_path, 2**50, "building x")
    check_disk(tmp_path, 1, "building x")


def test_a_build_fetches_no_toolchain_and_changes_no_go_mod() -> None:
    environment = build_environment()
    assert (environment["GOTOOLCHAIN"], environment["GOFLAGS"], environment["CGO_ENABLED"]) == (
        "local",
        "-mod=readonly",
        "0",
    )
