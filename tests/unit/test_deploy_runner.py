"""What a target needs in its cluster: the runner's rights, the labels, and the game day as a Job."""

import tomllib
from dataclasses import replace

import pytest
import yaml

from harness.deploy import runner, runner_folder, runner_job
from harness.model.errors import Refusal
from harness.model.fault import Permission
from harness.model.load import LoadWorkers
from harness.registries import PROJECT_DIR, experiment_path, load
from tests.unit.conductor_doubles import TARGET

IMAGE = "registry.example/gameday:0.1.0"
FIT = replace(
    TARGET, components=("core", "platform"), rate_max_rps=1e6, namespaces=("agents", "platform-infra"), kind="cluster",
    signals={name: TARGET.signals["queue_depth"] for name in ("gateway_faults_injected", "queue_depth")},
)  # fmt: skip
SETTINGS = """
[objectives]
success_ratio = 0.99
[targets.staging]
kind = "cluster"
context = "eu"
api_server = "https://api.example:6443"
kube_system_uid = "u"
prometheus_ca_file = "/home/me/ca.pem"
commands = { node_stop = ["a"], node_start = ["b"] }
[targets.staging.announce]
alertmanager_url = "https://am.example"
ca_file = "/home/me/am-ca.pem"
[targets.other]
kind = "local"
[query_packs.envoy]
queue_up = { query = "queue_up" }
"""


def text_of(manifest):
    return yaml.safe_dump(manifest)


def test_the_runner_gets_what_the_preflight_asks_and_no_wildcard():
    experiment = load(experiment_path("pod-kill-under-burst"))
    account, *roles = runner.manifests(FIT, runner.needed(FIT, [experiment]))
    assert (account["kind"], account["metadata"]["namespace"]) == ("ServiceAccount", "gameday-system")
    subjects = [subject for role in roles for subject in role.get("subjects", ())]
    assert all(
        s == {"kind": "ServiceAccount", "name": "gameday-runner", "namespace": "gameday-system"} for s in subjects
    )
    assert "*" not in text_of(roles)
    assert "cluster-admin" not in text_of(roles)
    rules = {
        (m["metadata"].get("namespace", ""), *rule["apiGroups"], *rule["resources"]): rule["verbs"]
        for m in roles
        for rule in m.get("rules", ())
    }
    assert "delete" in rules["agents", "", "pods"]
    assert ("", "", "pods") not in rules  # only a drain lists pods everywhere


def test_all_that_fit_are_taken_where_none_is_named_and_one_that_does_not_fit_is_refused():
    names = {experiment.name for experiment in runner.fitting(FIT)}
    assert "pod-kill-under-burst" in names
    assert "queue-burst" not in names  # it needs KEDA
    with pytest.raises(Refusal, match="has no keda"):
        runner.fitting(FIT, ["queue-burst"])


def test_rights_of_all_are_the_rights_of_each():
    every = runner.fitting(FIT)
    assert set(runner.needed(FIT, every)) == {p for one in every for p in runner.needed(FIT, [one])}
    assert Permission("list", "pods") in runner.needed(FIT, every)  # of the drain


def test_every_namespace_carries_the_label_also_kubernetes_own():
    labels = {m["metadata"]["name"]: m["metadata"]["labels"] for m in runner.namespaces(FIT)}
    assert set(labels) == {"kube-system", "gameday-system", "agents", "platform-infra"}
    assert all(found == {"gameday.local/opt-in": "true"} for found in labels.values())


def test_the_pods_settings_have_its_own_way_in_and_this_clusters_identity():
    found = tomllib.loads(runner_job.settings_text(SETTINGS, "staging"))
    assert set(found["targets"]) == {"staging"}
    target = found["targets"]["staging"]
    assert (target["kube_system_uid"], target["api_server"]) == ("u", "https://kubernetes.default.svc")
    assert target["kubeconfig"] == "/etc/gameday/kubeconfig"
    assert target["prometheus_ca_file"] == "/etc/gameday-files/ca.pem"
    assert target["announce"] == {"alertmanager_url": "https://am.example", "ca_file": "/etc/gameday-files/am-ca.pem"}
    assert "commands" not in target  # of a person's machine
    assert (found["objectives"], found["query_packs"]) == (
        {"success_ratio": 0.99}, {"envoy": {"queue_up": {"query": "queue_up"}}}
    )  # fmt: skip


def test_the_pods_kubeconfig_holds_no_secret_and_names_the_context_of_its_settings():
    found = yaml.safe_load(runner_job.kubeconfig_text())
    assert [c["name"] for c in found["contexts"]] == ["in-cluster"]
    assert found["users"][0]["user"] == {"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}


def test_the_job_is_never_started_again_by_itself_and_has_time_to_undo():
    experiment = load(experiment_path("pod-kill-under-burst"))
    job = runner_job.job(FIT, experiment, IMAGE)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    assert spec["activeDeadlineSeconds"] > experiment.timeout_s
    assert pod["terminationGracePeriodSeconds"] == 180
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert {e["name"] for e in container["env"]} >= {"GAMEDAY_POD", "GAMEDAY_NODE"}  # whom no fault may hit
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert "secretKeyRef" not in text_of(job)


def test_the_runs_stay_where_a_claim_is_named_and_go_with_the_pod_elsewhere():
    experiment = load(experiment_path("pod-kill-under-burst"))

    def state(claim):
        (job,) = yaml.safe_load_all(runner_folder.job_files(FIT, experiment, IMAGE, claim)["job.yaml"])
        return next(v for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "state")

    assert state("runs") == {"name": "state", "persistentVolumeClaim": {"claimName": "runs"}}
    assert state("") == {"name": "state", "emptyDir": {}}


def test_the_folder_is_whole_and_the_load_workers_find_the_run():
    cluster = replace(
        FIT, load_workers=LoadWorkers(count=3, placement="cluster", listen_host="10.0.0.1", listen_port=5557)
    )
    experiments = [load(experiment_path("pod-kill-under-burst"))]
    plain = runner_folder.files_of(replace(FIT, name="staging"), SETTINGS, IMAGE, experiments)
    assert "load-workers.yaml" not in plain
    found = runner_folder.files_of(replace(cluster, name="staging"), SETTINGS, IMAGE, experiments)
    kustomization = yaml.safe_load(found["kustomization.yaml"])
    (generated,) = kustomization["configMapGenerator"]
    assert {*kustomization["resources"], *generated["files"], "kustomization.yaml"} == set(found)
    deployment, service = yaml.safe_load_all(found["load-workers.yaml"])
    assert deployment["spec"]["template"]["spec"]["containers"][0]["args"][:2] == [
        "gameday-runner.gameday-system.svc", "5557"
    ]  # fmt: skip
    assert service["spec"]["selector"] == {"app": "gameday-runner"}


def test_the_reaper_gets_no_right_where_the_target_has_no_namespace():
    experiments = [load(experiment_path("pod-kill-under-burst"))]
    found = runner_folder.files_of(replace(FIT, name="staging"), SETTINGS, IMAGE, experiments)
    roles = [m for m in yaml.safe_load_all(found["reaper.yaml"]) if m["kind"] == "Role"]
    assert {m["metadata"]["namespace"] for m in roles} <= {"gameday-system", *FIT.namespaces}


def test_the_committed_base_is_what_the_code_makes_today():
    folder = PROJECT_DIR / "deploy" / "base"
    for name, text in runner_folder.base_files().items():
        assert (folder / name).read_text() == text, (
            f"{name}: make it anew with `python -m harness.deploy.runner_folder`"
        )
