"""Contract of the node agent with a real API server: lives and ends of pods."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.nodeagent_world import STRATEGIC, NodeAgentWorld, condition, container, ready, waiting

pytestmark = pytest.mark.testbed

SLEEP = {"command": ["sleep", "600"]}


@pytest.fixture
def world(light_testbed: dict[str, Any]) -> Iterator[NodeAgentWorld]:
    found = NodeAgentWorld(light_testbed)
    try:
        yield found
    finally:
        found.close()


def test_a_pod_becomes_ready_and_is_finalised_when_it_is_deleted(world: NodeAgentWorld) -> None:
    world.run_pod("p", SLEEP)
    pod = world.when("p", ready, "Ready")
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"].startswith("198.18.")
    assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"]
    assert condition(pod, "PodScheduled") == "True"
    world.delete(world.path("pods", "p"), 5)
    world.gone("p")


def test_finished_containers_give_the_terminal_phase_and_their_logs_stay(world: NodeAgentWorld) -> None:
    world.run_pod("good", {"command": ["sh", "-c", "echo done"]}, restartPolicy="Never")
    world.run_pod("bad", {"command": ["sh", "-c", "exit 3"]}, restartPolicy="Never")
    good = world.when("good", lambda pod: pod["status"]["phase"] == "Succeeded", "Succeeded")
    bad = world.when("bad", lambda pod: pod["status"]["phase"] == "Failed", "Failed")
    assert container(bad)["state"]["terminated"]["exitCode"] == 3
    assert condition(good, "Ready") == "False"
    assert world.log("good") == "done\n"


def test_a_job_completes_and_a_failing_one_fails(world: NodeAgentWorld) -> None:
    for name, code in (("good", 0), ("bad", 1)):
        failing = {"name": "c", "image": "t", "command": ["sh", "-c", f"exit {code}"]}
        template = {"spec": {"restartPolicy": "Never", "containers": [failing]}}
        spec = {"template": template, "backoffLimit": 0, "completions": 2 - code}
        world.post(world.path("jobs", group="apis/batch/v1"), {"metadata": {"name": name}, "spec": spec})

    def conditions(name: str) -> list[str]:
        status = world.get(world.path("jobs", name, "apis/batch/v1"))["status"]
        return [c["type"] for c in status.get("conditions", []) if c["status"] == "True"]

    world.until(lambda: "Complete" in conditions("good"), "job good is Complete")
    world.until(lambda: "Failed" in conditions("bad"), "job bad is Failed")


def test_a_crashing_container_backs_off_after_its_first_restart(world: NodeAgentWorld) -> None:
    world.run_pod("p", {"command": ["sh", "-c", "echo attempt; exit 3"]})
    pod = world.when("p", lambda pod: waiting(pod) == "CrashLoopBackOff", "CrashLoopBackOff")
    assert pod["status"]["phase"] == "Running"
    assert container(pod)["restartCount"] == 1
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 3
    assert world.log("p") == world.log("p", previous="true") == "attempt\n"


def test_a_missing_configmap_is_waited_for_and_found(world: NodeAgentWorld) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}]
    world.run_pod("p", {"command": ["sh", "-c", "echo $A; sleep 600"], "env": env})
    pod = world.when("p", lambda pod: waiting(pod) == "CreateContainerConfigError", "CreateContainerConfigError")
    assert 'configmap "later" not found' in container(pod)["state"]["waiting"]["message"]
    world.post(world.path("configmaps"), {"metadata": {"name": "later"}, "data": {"a": "found"}})
    world.when("p", ready, "Ready")
    assert container(world.pod("p"))["restartCount"] == 0
    world.until(lambda: world.log("p") == "found\n", "the value in the log")


def test_a_mounted_configmap_follows_its_object_and_a_token_opens_the_api(world: NodeAgentWorld) -> None:
    world.post(world.path("configmaps"), {"metadata": {"name": "conf"}, "data": {"key": "one"}})
    mounts = [{"name": "conf", "mountPath": "/etc/conf"}]
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}]
    world.run_pod("p", {**SLEEP, "volumeMounts": mounts}, volumes=volumes, automountServiceAccountToken=True)
    world.when("p", ready, "Ready")
    show = ("sh", "-c", "cat $GAMEDAY_POD_ROOT/etc/conf/key")
    assert world.execute("p", *show) == (0, "one")
    [link] = world.layout.pods_dir.glob(f"{world.pod('p')['metadata']['uid']}/volumes/conf/..data")
    before = link.readlink()
    world.patch(world.path("configmaps", "conf"), {"data": {"key": "two"}})
    world.until(lambda: world.execute("p", *show) == (0, "two"), "the new value in the volume")
    assert link.readlink() != before  # swapped at once, as a kubelet does it
    folder = "$GAMEDAY_POD_ROOT/var/run/secrets/kubernetes.io/serviceaccount"
    script = (
        "import os,ssl,urllib.request as u;d=os.path.expandvars('" + folder + "');"
        "r=u.Request('https://%(KUBERNETES_SERVICE_HOST)s:%(KUBERNETES_SERVICE_PORT)s/version'%os.environ,"
        "headers={'Authorization':'Bearer '+open(d+'/token').read()});"
        "print(u.urlopen(r,context=ssl.create_default_context(cafile=d+'/ca.crt'),timeout=10).status,open(d+'/namespace').read())"
    )
    assert world.execute("p", "python", "-c", script) == (0, f"200 {world.namespace}\n")


def test_init_containers_run_in_order_and_a_sidecar_beside_the_others(world: NodeAgentWorld) -> None:
    shared = {"volumeMounts": [{"name": "s", "mountPath": "/s"}], "image": "t"}
    inits = [
        {"name": "one", "command": ["sh", "-c", "echo one > $(GAMEDAY_POD_ROOT)/s/f"], **shared},
        {"name": "side", "command": ["sleep", "600"], "restartPolicy": "Always", **shared},
        {"name": "two", "command": ["sh", "-c", "echo two >> $(GAMEDAY_POD_ROOT)/s/f"], **shared},
    ]
    main = {"command": ["sh", "-c", "cat $(GAMEDAY_POD_ROOT)/s/f"], **shared}
    world.run_pod("p", main, restartPolicy="Never", initContainers=inits, volumes=[{"name": "s", "emptyDir": {}}])
    pod = world.when("p", lambda pod: pod["status"]["phase"] == "Succeeded", "Succeeded")
    assert world.log("p", container="c0") == "one\ntwo\n"
    assert [s["name"] for s in pod["status"]["initContainerStatuses"]] == ["one", "side", "two"]
    assert condition(pod, "Initialized") == "True"


def test_a_failed_liveness_probe_restarts_the_container(world: NodeAgentWorld) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    world.run_pod("p", {**SLEEP, "livenessProbe": probe})
    pod = world.when("p", lambda pod: container(pod)["restartCount"] >= 1, "restarted")
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 143


def test_a_second_delete_shortens_the_grace(world: NodeAgentWorld) -> None:
    stubborn = {"command": ["sh", "-c", "trap '' TERM; echo up; while true; do sleep 0.1; done"]}
    world.run_pod("p", stubborn, terminationGracePeriodSeconds=600)
    world.when("p", ready, "Ready")
    world.until(lambda: "up" in world.log("p"), "the trap is set")
    world.delete(world.path("pods", "p"), 600)
    pod = world.when("p", lambda pod: "deletionTimestamp" in pod["metadata"], "deleting")
    assert pod["status"]["phase"] == "Running"
    world.delete(world.path("pods", "p"), 1)
    world.gone("p")


def test_a_terminating_pod_ends_with_a_terminal_phase_while_a_finalizer_holds_it(world: NodeAgentWorld) -> None:
    world.run_pod("p", {"command": ["sh", "-c", "trap 'exit 0' TERM; echo up; while true; do sleep 0.1; done"]})
    world.until(lambda: ready(world.pod("p")) and "up" in world.log("p"), "the trap is set")
    world.patch(world.path("pods", "p"), {"metadata": {"finalizers": ["example.com/hold"]}})
    world.delete(world.path("pods", "p"), 5)
    pod = world.when("p", lambda pod: pod["status"]["phase"] == "Succeeded", "Succeeded")
    assert container(pod)["state"]["terminated"]["exitCode"] == 0
    world.patch(world.path("pods", "p"), {"metadata": {"finalizers": None}})
    world.gone("p")


def test_conditions_of_others_survive_and_an_overwritten_ready_comes_back(world: NodeAgentWorld) -> None:
    world.run_pod("p", SLEEP)
    world.when("p", ready, "Ready")
    foreign = [{"type": "example.com/Mine", "status": "True"}, {"type": "Ready", "status": "False", "reason": "NotMe"}]
    world.patch(world.path("pods", "p/status"), {"status": {"conditions": foreign}}, STRATEGIC)
    pod = world.when("p", ready, "Ready again")
    assert condition(pod, "example.com/Mine") == "True"


def test_a_container_over_its_memory_limit_is_killed_and_says_so(
    world: NodeAgentWorld, light_testbed: dict[str, Any]
) -> None:
    if not light_testbed["cpu_limits_enforced"]:
        pytest.skip("this machine does not let the agent write control groups")
    limits = {"limits": {"memory": "32Mi"}}
    world.run_pod(
        "p", {"command": ["python", "-c", "x = bytearray(200 * 2**20)"], "resources": limits}, restartPolicy="Never"
    )
    pod = world.when("p", lambda pod: pod["status"]["phase"] == "Failed", "Failed")
    assert container(pod)["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_pod_is_not_ready_by_a_listener_that_is_not_its_own(world: NodeAgentWorld) -> None:
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    world.run_pod("p", {**SLEEP, "readinessProbe": probe})
    ip = world.when("p", lambda pod: pod["status"].get("podIP"), "an address")["status"]["podIP"]
    with socket.socket() as squatter:
        squatter.bind((ip.replace("198.18.", "127.44."), 8080))
        squatter.listen()
        for _ in range(3):
            connection, _ = squatter.accept()
            connection.close()
        assert not ready(world.pod("p"))


def test_a_service_is_fed_to_envoy_with_ready_pods_only(world: NodeAgentWorld) -> None:
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    serve = {"command": ["python", "-m", "http.server", "8080", "--bind", "$(BIND_IP)"], "readinessProbe": probe}
    world.post(
        world.path("services"),
        {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 8080}]}},
    )
    path = world.layout.eds_dir / f"{world.namespace}.web.http.yaml"
    world.until(path.exists, "an endpoint file for the Service")
    assert "127.44" not in path.read_text()
    world.run_pod("web", serve)
    ip = world.when("web", ready, "Ready")["status"]["podIP"].replace("198.18.", "127.44.")
    world.until(lambda: f'"{ip}"' in path.read_text(), "the endpoint of the Ready pod")
    world.delete(world.path("pods", "web"), 5)
    world.until(lambda: ip not in path.read_text(), "no endpoint of the deleted pod")


def test_a_frozen_pod_is_not_ready_until_it_is_thawed(world: NodeAgentWorld) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1}
    world.run_pod("p", {**SLEEP, "readinessProbe": probe})
    world.when("p", ready, "Ready")
    frozen = "testbed.gameday.local/frozen"
    world.patch(world.path("pods", "p"), {"metadata": {"annotations": {frozen: "true"}}})
    world.when("p", lambda pod: not ready(pod), "not Ready")
    world.patch(world.path("pods", "p"), {"metadata": {"annotations": {frozen: None}}})
    assert container(world.when("p", ready, "Ready again"))["restartCount"] == 0


KILL = "testbed.gameday.local/kill-container"


def order_kill(world: NodeAgentWorld, order: str) -> None:
    world.patch(world.path("pods", "p"), {"metadata": {"annotations": {KILL: order}}})


def test_a_container_is_killed_once_for_each_new_order_and_restarted_as_its_policy_says(world: NodeAgentWorld) -> None:
    world.run_pod("p", {"command": ["sleep", "600"]}, {"command": ["sleep", "600"]})
    world.when("p", ready, "Ready")
    order_kill(world, "c1/one")
    pod = world.when("p", lambda pod: ready(pod) and container(pod, 1)["restartCount"] == 1, "restarted at once")
    assert container(pod, 1)["lastState"]["terminated"]["exitCode"] == 137
    world.patch(world.path("pods", "p"), {"metadata": {"labels": {"seen": "again"}}})  # the order stands: nothing new
    order_kill(world, "c1/two")
    pod = world.when("p", lambda pod: container(pod, 1)["state"].get("waiting"), "backs off")
    assert container(pod, 1)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (container(pod, 0)["restartCount"], container(pod, 1)["restartCount"]) == (0, 1)


@pytest.mark.parametrize("order", ["c9/one", "c0"])
def test_an_order_to_kill_that_names_no_container_is_told_in_an_event(world: NodeAgentWorld, order: str) -> None:
    world.run_pod("p", SLEEP)
    world.when("p", ready, "Ready")
    order_kill(world, order)
    events = world.path("events")
    world.until(
        lambda: [e for e in world.get(events)["items"] if e["reason"] == "FailedKillContainer"], "an event says so"
    )
    assert container(world.pod("p"))["restartCount"] == 0


def test_no_probe_restarts_a_sidecar_while_the_others_of_its_pod_stop(world: NodeAgentWorld) -> None:
    healthy = "$GAMEDAY_POD_ROOT/tmp/healthy"
    side = {
        "name": "side",
        "image": "t",
        "restartPolicy": "Always",
        "command": ["sh", "-c", f"touch {healthy}; sleep 600"],
        "livenessProbe": {
            "exec": {"command": ["sh", "-c", f"test -e {healthy}"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
            "initialDelaySeconds": 1,
        },
    }
    stubborn = {"command": ["sh", "-c", "trap 'sleep 4; exit 0' TERM; echo up; while true; do sleep 0.1; done"]}
    world.run_pod("p", stubborn, initContainers=[side], terminationGracePeriodSeconds=20)
    world.until(lambda: ready(world.pod("p")) and "up" in world.log("p", container="c0"), "the trap is set")
    world.patch(world.path("pods", "p"), {"metadata": {"finalizers": ["example.com/hold"]}})
    world.delete(world.path("pods", "p"), 20)
    [folder] = world.layout.pods_dir.glob(f"{world.pod('p')['metadata']['uid']}/root/side/tmp")
    (folder / "healthy").unlink()
    pod = world.when("p", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"), "ended")
    assert pod["status"]["initContainerStatuses"][0]["restartCount"] == 0
    world.patch(world.path("pods", "p"), {"metadata": {"finalizers": None}})
    world.gone("p")


def test_a_pod_past_its_active_deadline_fails_and_says_why(world: NodeAgentWorld) -> None:
    world.run_pod("p", SLEEP, activeDeadlineSeconds=1)
    status = world.when("p", lambda pod: pod["status"]["phase"] == "Failed", "Failed")["status"]
    assert status["reason"] == "DeadlineExceeded"


def test_a_pre_stop_hook_runs_before_sigterm_with_the_containers_environment(world: NodeAgentWorld) -> None:
    seen = 'test "$(cat $GAMEDAY_POD_ROOT/tmp/hook)" = "before own"'
    script = f"trap '{seen} && exit 0; exit 9' TERM; echo up; while true; do sleep 0.1; done"
    hook = {"exec": {"command": ["sh", "-c", "echo before $A > $GAMEDAY_POD_ROOT/tmp/hook"]}}
    env = [{"name": "A", "value": "own"}]
    world.run_pod("p", {"command": ["sh", "-c", script], "env": env, "lifecycle": {"preStop": hook}})
    world.until(lambda: ready(world.pod("p")) and "up" in world.log("p"), "the trap is set")
    world.patch(world.path("pods", "p"), {"metadata": {"finalizers": ["example.com/hold"]}})
    world.delete(world.path("pods", "p"), 10)
    world.when("p", lambda pod: pod["status"]["phase"] == "Succeeded", "Succeeded")
    world.patch(world.path("pods", "p"), {"metadata": {"finalizers": None}})
    world.gone("p")


def test_a_failed_post_start_hook_ends_the_container(world: NodeAgentWorld) -> None:
    hook = {"exec": {"command": ["sh", "-c", "exit 1"]}}
    world.run_pod("p", {**SLEEP, "lifecycle": {"postStart": hook}}, restartPolicy="Never")
    pod = world.when("p", lambda pod: pod["status"]["phase"] == "Failed", "Failed")
    assert container(pod)["state"]["terminated"]["exitCode"] == 143


def test_a_readiness_gate_that_others_open_makes_the_pod_ready(world: NodeAgentWorld) -> None:
    world.run_pod("p", SLEEP, readinessGates=[{"conditionType": "example.com/lb"}])
    pod = world.when("p", lambda pod: condition(pod, "ContainersReady") == "True", "containers Ready")
    assert condition(pod, "Ready") == "False"
    gate = [{"type": "example.com/lb", "status": "True"}]
    world.patch(world.path("pods", "p/status"), {"status": {"conditions": gate}}, STRATEGIC)
    world.when("p", ready, "Ready")


def test_the_downward_api_is_shown_in_files_and_in_the_environment(world: NodeAgentWorld) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    env = [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    mounts = [{"name": "info", "mountPath": "/etc/info"}]
    script = "cat $GAMEDAY_POD_ROOT/etc/info/labels; echo; echo $NODE"
    world.run_pod(
        "p",
        {"command": ["sh", "-c", script], "env": env, "volumeMounts": mounts},
        restartPolicy="Never",
        volumes=[{"name": "info", "downwardAPI": {"items": items}}],
    )
    pod = world.when("p", lambda pod: pod["status"]["phase"] == "Succeeded", "Succeeded")
    first, *_, last = world.log("p").splitlines()  # the API server adds the node's topology labels
    assert (first, last) == ('app="p"', pod["spec"]["nodeName"])


def test_a_volume_that_the_testbed_cannot_give_is_said_in_the_pods_status(world: NodeAgentWorld) -> None:
    world.run_pod("p", SLEEP, volumes=[{"name": "host", "hostPath": {"path": "/"}}])
    pod = world.when("p", lambda pod: container(pod)["state"].get("waiting", {}).get("message"), "a message")
    assert "volume host: hostPath is not offered" in container(pod)["state"]["waiting"]["message"]
