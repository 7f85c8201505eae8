from dataclasses import replace

import pytest

from harness import guard
from harness.model.errors import Refusal
from harness.model.experiment import Experiment, Scope
from harness.model.fault import Permission, UndoRecord
from harness.model.load import LoadProfile, Stage
from harness.model.target import ClusterIdentity, Target

OPT_IN = {"gameday.local/opt-in": "true"}
TARGET = Target(
    name="local", kind="local", context="gameday-default", kubeconfig="/k", api_server="https://127.0.0.1:21000",
    kube_system_uid="uid-1", opt_in_label="gameday.local/opt-in=true", namespaces=("agents",),
    gateway_url="http://127.0.0.1:21020", prometheus_url="http://127.0.0.1:21022", rate_max_rps=100.0,
    loopback_only=True, components=("core", "platform"),
)  # fmt: skip
IDENTITY = ClusterIdentity("gameday-default", "https://127.0.0.1:21000", "uid-1", OPT_IN)
EXPERIMENT = Experiment(
    name="e", title="t", hypothesis="h", probes=(), load=LoadProfile("p", (Stage("burst", 10, 60, 60),), {"U": 1}),
    faults=(), assertions=(), scope=Scope(("agents",)), components=("core",), settle_s=10, timeout_s=100, runbook="",
)  # fmt: skip


def refused(act, *arguments):
    with pytest.raises(Refusal) as caught:
        act(*arguments)
    return caught.value


def test_the_permitted_cluster_passes():
    guard.check_plan(EXPERIMENT, TARGET)
    guard.check_identity(TARGET, IDENTITY)
    guard.check_opt_in(TARGET, {"agents": OPT_IN})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"context": "prod"}, "context"),
        ({"api_server": "https://127.0.0.1:6443"}, "API server"),
        ({"kube_system_uid": "uid-2"}, "kube-system uid"),
        ({"kube_system_uid": ""}, "kube-system uid"),
    ],
)
def test_another_cluster_is_refused_by_the_field_that_differs_a16(change, words):
    refusal = refused(guard.check_identity, TARGET, replace(IDENTITY, **change))
    assert refusal.code == "identity"
    assert words in refusal.problem


def test_an_empty_uid_in_the_settings_matches_no_cluster():
    bare = replace(TARGET, kube_system_uid="")
    assert refused(guard.check_identity, bare, replace(IDENTITY, kube_system_uid="")).code == "identity"


def test_a_cluster_that_did_not_opt_in_is_refused():
    assert refused(guard.check_identity, TARGET, replace(IDENTITY, kube_system_labels={})).code == "opt-in"
    assert refused(guard.check_opt_in, TARGET, {"agents": {}}).code == "opt-in"
    assert "no namespace agents" in refused(guard.check_opt_in, TARGET, {"agents": None}).problem


def test_a_kind_target_takes_kind_contexts_on_loopback_only():
    kind = replace(TARGET, kind="kind", context="staging", api_server="*")
    assert "kind-" in str(refused(guard.check_identity, kind, replace(IDENTITY, context="staging")))
    kind = replace(kind, context="kind-a")
    away = replace(IDENTITY, context="kind-a", api_server="https://10.0.0.1:6443")
    assert refused(guard.check_identity, kind, away).code == "loopback"


def test_load_above_the_targets_limit_is_refused():
    assert refused(guard.check_plan, EXPERIMENT, replace(TARGET, rate_max_rps=59.0)).code == "rate"


def test_people_who_ask_for_more_than_the_arrivals_leave_are_refused_before_anything_is_touched():
    load = replace(EXPERIMENT.load, conversations={"C": 41})
    crowd = replace(EXPERIMENT, load=load, load_options={"think_s": 1})
    assert "41 people who think for 1 s" in refused(guard.check_plan, crowd, TARGET).problem
    guard.check_plan(replace(crowd, load_options={"think_s": 2}), TARGET)


@pytest.mark.parametrize(
    "url", ["http://198.18.1.2:8080", "http://10.96.0.1", "http://example.com", "http://localhost"]
)
def test_an_address_that_would_leave_the_machine_is_refused_on_a_loopback_target(url):
    assert refused(guard.check_plan, EXPERIMENT, replace(TARGET, gateway_url=url)).code == "loopback"


def test_missing_components_name_the_command_that_brings_them():
    refusal = refused(guard.check_plan, replace(EXPERIMENT, components=("core", "keda")), TARGET)
    assert "--with keda" in refusal.remedy


def test_a_namespace_outside_the_targets_is_refused():
    outside = replace(EXPERIMENT, scope=Scope(("kube-system",)))
    assert refused(guard.check_plan, outside, TARGET).code == "namespace"


def test_missing_permissions_leftovers_and_clocks_are_refused():
    assert "create pods/eviction in agents" in str(
        refused(guard.check_permissions, [Permission("create", "pods", "", "eviction", "agents")])
    )
    left = UndoRecord("r", "run-1", "f", "v1", "Node", "", "n1", "u", "patch")
    assert "gameday recover" in str(refused(guard.check_leftovers, [left]))
    assert "Prometheus" in str(refused(guard.check_clocks, {"Prometheus": 3.0}))
    assert refused(guard.check_clocks, {"Prometheus": float("nan")}).code == "clocks"
    guard.check_clocks({"Prometheus": -1.9})
