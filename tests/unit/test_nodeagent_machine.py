"""What the agent reads from and writes to this machine: processes, sockets, control groups, addresses, accounts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from testbed.layout import Layout
from testbed.nodeagent.accounting import MonotonicSum
from testbed.nodeagent.address_pool import AddressPool, NoAddressError
from testbed.nodeagent.authentication import needed_right
from testbed.nodeagent.cgroups import HierarchyV1, HierarchyV2, Limits, detect, quota_us
from testbed.nodeagent.control import ExecRequest, make_token
from testbed.nodeagent.process_table import kill_strays, listening_inodes, listens, session_members, usage
from testbed.nodeagent.resource_metrics import ContainerReading, PodReading, Reading, resource_text, summary

NODE = Layout("t", 1, 21100, Path("/nowhere")).nodes[0]


def test_an_address_is_not_given_out_again_before_all_others_were() -> None:
    pool = AddressPool(NODE)
    first = pool.take()
    pool.lease(first)()
    later = [pool.take() for _ in range(250)]
    assert first not in later[:249]
    assert later[249] == first


def test_an_address_is_given_back_once_however_often_it_is_released() -> None:
    pool = AddressPool(NODE)
    release = pool.lease(pool.take())
    release()
    taken = [pool.take() for _ in range(250)]
    release()
    assert len(set(taken)) == 250
    with pytest.raises(NoAddressError, match="general-1"):
        pool.take()


def test_a_recorded_address_is_claimed_only_if_it_is_free_and_of_this_node() -> None:
    pool = AddressPool(NODE)
    assert pool.claim("198.18.17.9")
    assert not pool.claim("198.18.17.9")
    assert not pool.claim("198.18.18.9")
    assert not pool.claim("10.0.0.1")


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1e6)), max_size=20))
def test_a_nodes_cpu_counter_never_decreases_whatever_comes_and_goes(rounds: list[dict[str, float]]) -> None:
    account, last = MonotonicSum(), 0.0
    for counters in rounds:
        total = account.update(counters)
        assert total >= last - 1e-6
        last = total


def test_what_a_vanished_container_used_stays_in_the_sum() -> None:
    account = MonotonicSum()
    assert [account.update(c) for c in ({"a": 5.0}, {"a": 7.0, "b": 1.0}, {"b": 2.0}, {})] == [5.0, 8.0, 9.0, 9.0]


def pod_reading() -> PodReading:
    one = ContainerReading("web", Reading(1.5, 2_000_000, 1000.25), 990.5)
    return PodReading("ns", "p", "uid", [one, ContainerReading("side", Reading(0.0, 0, 1000.25), 991.0)])


def test_resource_metrics_have_the_names_labels_and_times_that_metrics_server_decodes() -> None:
    text = resource_text(Reading(9.0, 5_000_000, 1000.5), [pod_reading()]).decode()
    samples = {
        (sample.name, sample.labels.get("container", "")): sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["node_cpu_usage_seconds_total", ""].value == 9.0
    assert samples["pod_memory_working_set_bytes", ""].labels == {"namespace": "ns", "pod": "p"}
    web = samples["container_cpu_usage_seconds_total", "web"]
    assert (web.value, web.labels) == (1.5, {"container": "web", "namespace": "ns", "pod": "p"})
    assert "container_cpu_usage_seconds_total{" in text
    assert " 1000250\n" in text  # milliseconds
    assert samples["container_start_time_seconds", "web"].value == 990.5


def test_a_reading_is_never_written_as_zero_because_that_drops_the_whole_pod() -> None:
    text = resource_text(Reading(0.0, 0, 1.0), [pod_reading()]).decode()
    values = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name != "resource_scrape_error"
    ]
    assert min(values) > 0


def test_the_summary_names_node_pods_and_containers() -> None:
    found = summary("general-1", Reading(9.0, 5, 1.0), [pod_reading()])
    assert found["node"]["nodeName"] == "general-1"
    assert found["pods"][0]["cpu"]["usageCoreNanoSeconds"] == 1_500_000_000
    assert [container["name"] for container in found["pods"][0]["containers"]] == ["web", "side"]


def test_listeners_are_found_by_address_and_port() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0702032C:1F90 00000000:0000 0A 0 0 0 0 0 101\n"
        "   1: 07032C7F:1F90 00000000:0000 0A 0 0 0 0 0 102\n"
        "   2: 00000000:1F90 00000000:0000 0A 0 0 0 0 0 103\n"
        "   3: 07032C7F:1F90 0100007F:C000 01 0 0 0 0 0 104\n"
        "   4: 07032C7F:1F91 00000000:0000 0A 0 0 0 0 0 105\n"
    )
    assert listening_inodes("127.44.3.7", 8080, table) == {"102", "103"}


def test_only_the_process_that_holds_the_socket_owns_the_address() -> None:
    other = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        with socket.socket() as server:
            server.bind(("127.44.241.1", 0))
            server.listen()
            port = server.getsockname()[1]
            assert listens([os.getpid()], "127.44.241.1", port)
            assert not listens([other.pid], "127.44.241.1", port)
            assert not listens([os.getpid()], "127.44.241.2", port)
    finally:
        other.kill()
        other.wait()


def test_members_of_a_session_and_their_use_are_found() -> None:
    script = (
        "import subprocess, sys; subprocess.Popen(['sleep', '30']); print(sum(range(3_000_000)), flush=True); input()"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert leader.stdout is not None
        leader.stdout.readline()
        members = session_members([leader.pid])[leader.pid]
        assert leader.pid in members
        assert len(members) == 2
        used = usage(members)
        assert used.cpu_s > 0
        assert used.memory_bytes > 1_000_000
        assert usage([2**22 + 1]).cpu_s == 0  # a process that is gone
    finally:
        os.killpg(leader.pid, 9)
        leader.communicate(timeout=10)


def test_strays_are_the_processes_with_the_mark_of_this_boot_and_of_a_pod() -> None:
    mark = f"test-{os.getpid()}:boot"
    ours, other = {"GAMEDAY_TESTBED": mark}, {"GAMEDAY_TESTBED": "other:boot"}
    marks = [{**ours, "GAMEDAY_POD": "x"}, ours, {**other, "GAMEDAY_POD": "x"}]
    found = [subprocess.Popen(["sleep", "30"], env={**os.environ, **extra}) for extra in marks]
    try:
        assert kill_strays(mark) == 1
        found[0].wait(timeout=5)
        assert [process.poll() for process in found[1:]] == [None, None]
    finally:
        for process in found:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("cores", "expected"), [(0.4, 40_000), (2.0, 200_000), (0.001, 1_000)])
def test_a_cpu_limit_becomes_a_quota_that_the_kernel_takes(cores: float, expected: int) -> None:
    assert quota_us(cores) == expected


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def test_version_1_limits_are_written_where_the_kernel_reads_them(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{name}/cgroup.procs" for name in ("cpu", "cpuacct", "memory")))
    found = detect("gameday-t-21000", tmp_path)
    assert isinstance(found, HierarchyV1)
    group = found.limited(Limits(0.4, 64 * 2**20), "general-1", "uid", "web.0")
    folder = Path("gameday-t-21000/general-1/uid/web.0")
    assert (tmp_path / "cpu" / folder / "cpu.cfs_quota_us").read_text() == "40000"
    assert (tmp_path / "memory" / folder / "memory.limit_in_bytes").read_text() == "67108864"
    assert group.procs_files() == [
        str(tmp_path / name / folder / "cgroup.procs") for name in ("cpu", "cpuacct", "memory")
    ]
    (tmp_path / "cpuacct" / folder / "cpuacct.usage").write_text("2500000000\n")
    (tmp_path / "memory" / folder / "memory.usage_in_bytes").write_text("1000\n")
    (tmp_path / "memory" / folder / "memory.stat").write_text("cache 5\ntotal_inactive_file 400\n")
    (tmp_path / "memory" / folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert (group.cpu_usage_s(), group.memory_bytes(), group.oom_kills()) == (2.5, 600, 1)


def test_version_2_controllers_are_handed_down_to_each_level(tmp_path: Path) -> None:
    tree(tmp_path, "cgroup.controllers", "cgroup.procs")
    found = detect("gameday-t-21000", tmp_path)
    assert isinstance(found, HierarchyV2)
    group = found.limited(Limits(1.5, 1000), "general-1", "uid", "web.0")
    folder = tmp_path / "gameday-t-21000/general-1/uid/web.0"
    assert (folder / "cpu.max").read_text() == "150000 100000"
    assert (folder / "memory.max").read_text() == "1000"
    for level in (tmp_path, *list(folder.parents)[:3]):
        assert (level / "cgroup.subtree_control").read_text() == "+cpu +memory"
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (folder / "memory.current").write_text("10\n")
    (folder / "memory.stat").write_text("inactive_file 4\n")
    (folder / "memory.events").write_text("oom 0\noom_kill 2\n")
    assert (group.cpu_usage_s(), group.memory_bytes(), group.oom_kills()) == (1.5, 6, 2)


def test_where_no_group_can_be_made_limits_are_off(tmp_path: Path) -> None:
    assert detect("gameday-t-21000", tmp_path) is None
    tree(tmp_path, "cpu/cgroup.procs")  # memory and cpuacct are missing
    assert detect("gameday-t-21000", tmp_path) is None


def test_real_groups_of_this_instance_are_swept_and_no_other(request: pytest.FixtureRequest) -> None:
    name = f"gameday-unit-{os.getpid()}"
    ours, other = detect(name), detect(f"{name}-other")
    if ours is None or other is None:
        pytest.skip("control groups cannot be written here")
    request.addfinalizer(other.sweep)
    ours.limited(Limits(0.5, None), "n", "uid", "c.0")
    kept = other.limited(Limits(0.5, None), "n", "uid", "c.0")
    ours.sweep()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{name}"))
    assert kept.pids() == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/{name}-other"))


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/metrics/resource", "metrics"),
        ("/stats/summary", "stats"),
        ("/containerLogs/a/b/c", "log"),
        ("/exec/x", "proxy"),
    ],
)
def test_a_request_needs_the_right_that_a_kubelet_asks_for(path: str, right: str) -> None:
    assert needed_right(path) == right


def test_the_control_token_is_readable_by_its_owner_only_and_new_each_time(tmp_path: Path) -> None:
    path = tmp_path / "nodeagent.token"
    tokens = {make_token(path), make_token(path)}
    assert len(tokens) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() in tokens


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "JSON object"),
        ({"pod": "p", "command": ["x"]}, "namespace"),
        ({"namespace": "n", "pod": "p", "command": []}, "command"),
        ({"namespace": "n", "pod": "p", "command": "ls"}, "command"),
        ({"namespace": "n", "pod": "p", "command": ["x"], "timeout_s": 0}, "timeout_s"),
        ({"namespace": "n", "pod": "p", "command": ["x"], "container": 3}, "container"),
    ],
)
def test_a_wrong_exec_request_is_refused_with_what_is_wrong(body: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ExecRequest(body)


def test_no_process_of_these_tests_is_left() -> None:
    assert [child for child in psutil.Process().children() if child.name() == "sleep"] == []
