"""Kind clusters: only what is provably kind on loopback is touched, and what is lacking is said all at once."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.kind import cluster, images, programs, session, target
from testbed.kind.settings import FOLDER, LIMITS_S, KindSettings, settings_from
from testbed.layout import Layout
from testbed.nodeagent.node_objects import POOLS as LOCAL_POOLS

REPOSITORY = Path(__file__).parents[2]


def kind_config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "cluster.yaml").read_text())
    return found


def node(name: str, provider: str = "kind://docker/gameday/gameday-worker", pool: str = "general") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"gameday.local/pool": pool}}, "spec": {"providerID": provider}}


def test_the_nodes_are_those_of_the_local_testbed_by_name_label_and_taint(tmp_path: Path) -> None:
    local = {one.name: (one.pool, one.zone) for one in Layout("t", 0, 21000, tmp_path).nodes}
    names = {}
    for one in kind_config()["nodes"]:
        (patch,) = map(yaml.safe_load, one["kubeadmConfigPatches"])
        registration, labels = patch["nodeRegistration"], one["labels"]
        pool = labels["gameday.local/pool"]
        names[registration["name"]] = (pool, labels["topology.kubernetes.io/zone"])
        taints = [taint["key"] for taint in registration.get("taints", ())]
        assert taints == ([LOCAL_POOLS[pool].taint] if LOCAL_POOLS[pool].taint and pool != "infra" else [])
        assert all(labels.get(key) == value for key, value in LOCAL_POOLS[pool].labels.items())
    assert names == {name: local[name] for name in ("infra-1", "general-1", "general-2", "gpu-1", "spot-1")}
    roles = [one["role"] for one in kind_config()["nodes"]]
    assert roles.count("control-plane") == 1 and roles.count("worker") == 4


def test_only_gateway_and_prometheus_are_published_and_only_on_loopback() -> None:
    mappings = [one for node in kind_config()["nodes"] for one in node.get("extraPortMappings", ())]
    assert [(m["containerPort"], m["hostPort"], m["listenAddress"]) for m in mappings] == [
        (30080, 30080, "127.0.0.1"), (30090, 30090, "127.0.0.1"),
    ]  # fmt: skip
    assert kind_config()["networking"]["apiServerAddress"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("server", "nodes", "said"),
    [
        ("https://10.0.0.1:6443", [node("a")], "not on loopback"),
        ("https://api.example.com:6443", [node("a")], "not on loopback"),
        ("https://127.0.0.1:6443", [], "no node at all"),
        ("https://127.0.0.1:6443", [node("a"), node("b", "aws:///eu/i-1")], "b: not a node of kind's"),
        ("https://127.0.0.1:6443", [node("a", "kind://docker/another/another-worker")], "a: not a node of kind's"),
        ("https://127.0.0.1:6443", [node("a", "")], "a: not a node of kind's"),
    ],
)
def test_a16_what_is_not_kind_on_loopback_is_refused(server: str, nodes: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(OperatorError) as refused:
        cluster.refuse_other_clusters(KindSettings(), server, nodes)
    assert said in str(refused.value) and "nothing was touched" in str(refused.value)


def test_a_kind_cluster_on_loopback_is_not_refused() -> None:
    cluster.refuse_other_clusters(KindSettings(), "https://127.0.0.1:33001", [node("a")])
    assert cluster.container_of(node("general-1")) == "gameday-worker"


def test_a_cluster_that_somebody_else_made_is_not_deleted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAMEDAY_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(cluster, "cluster_names", lambda: ["gameday"])
    monkeypatch.setattr(cluster, "run", lambda *_, **__: pytest.fail("nothing may be run"))
    with pytest.raises(OperatorError, match="was not made by gameday"):
        cluster.delete_cluster(KindSettings(), Progress(lambda _: None))


def test_what_is_lacking_is_said_all_at_once_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.shutil, "which", lambda _: None)
    with pytest.raises(OperatorError) as refused:
        programs.need_programs()
    for word in ("docker: not on PATH", "kind: not on PATH", "make gameday"):
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "said"),
    [({"GAMEDAY_KIND_CLUSTER": "A_b"}, "cluster 'A_b'"), ({"GAMEDAY_KIND_CONFIG": "/no/such"}, "/no/such is no file")],
)
def test_a_setting_that_cannot_be_is_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(OperatorError) as refused:
        settings_from(environ)
    assert said in str(refused.value)


def test_options_go_before_the_environment_and_kinds_prefix_is_no_part_of_the_name() -> None:
    environ = {"GAMEDAY_KIND_CLUSTER": "kind-one", "GAMEDAY_KIND_NODE_IMAGE": "n:1", "GAMEDAY_KIND_GPU": "status"}
    assert settings_from(environ).context == "kind-one"
    assert (settings_from(environ, "two").cluster, settings_from(environ).gpu) == ("two", "status")
    assert all(limit > 0 for limit in LIMITS_S.values())


def test_the_target_is_the_committed_one_with_this_clusters_identity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GAMEDAY_STATE_DIR", str(tmp_path))
    settings = KindSettings("other")
    settings.folder.mkdir(parents=True)
    monkeypatch.setattr(target, "api_server", lambda _: "https://127.0.0.1:4711")
    before = (REPOSITORY / "gameday.toml").read_text()
    path = target.write_target(settings, lambda *_: "uid-1\n", ["core", "platform"])  # type: ignore[arg-type]
    written, committed = tomllib.loads(path.read_text()), tomllib.loads(before)
    kind = written["targets"].pop("kind")
    assert (kind["kube_system_uid"], kind["context"], kind["api_server"]) == (
        "uid-1", "kind-other", "https://127.0.0.1:4711",
    )  # fmt: skip
    assert {*committed["targets"].pop("kind")} <= {*kind} and written == committed
    assert (REPOSITORY / "gameday.toml").read_text() == before
    assert kind["commands"]["node_stop"][-2:] == ["stop", "{node}"]


def test_what_an_experiment_needs_is_read_from_its_file() -> None:
    assert "keda" in session.needs(session.read_experiment("queue-burst"))
    assert "keda" not in session.needs(session.read_experiment("pod-kill-under-burst"))
    lost = {
        p.stem
        for p in (REPOSITORY / "experiments").glob("*.yaml")
        if session.loses_nodes(session.read_experiment(p.stem))
    }
    assert lost == {"node-loss", "spot-reclaim-evaluation"}
    with pytest.raises(OperatorError, match=r"there are: .*cascade"):
        session.read_experiment("no-such")


def test_every_image_is_found_wherever_it_is_named() -> None:
    stream = yaml.safe_dump_all([
        {"spec": {"containers": [{"image": "a:1"}], "initContainers": [{"image": "b:2"}]}},
        {"items": [{"image": "c:3"}]}, None,
    ])  # fmt: skip
    assert images.images_in(stream) == {"a:1", "b:2", "c:3"}
    assert json.dumps(sorted(images.images_in("")))
