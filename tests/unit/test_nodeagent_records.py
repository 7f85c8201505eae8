"""First sight of a pod that an earlier agent ran, and the closing of records before the last DELETE."""

from typing import Any

import pytest

from testbed.nodeagent.objects import Obj
from testbed.nodeagent.pod_status import ContainerRecord, Running, Terminated, Waiting
from testbed.nodeagent.records import LOST_EXIT_CODE, adopted_records, close_records

NOW = "2026-01-01T00:00:00Z"


def pod(policy: str, status: dict[str, Any], init_status: dict[str, Any] | None = None) -> Obj:
    spec: Obj = {"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]}
    found: Obj = {"containerStatuses": [{"name": "c", "restartCount": 2, **status}]}
    if init_status is not None:
        spec["initContainers"] = [{"name": "setup"}]
        found["initContainerStatuses"] = [{"name": "setup", "restartCount": 0, **init_status}]
    return {"metadata": {"name": "p", "uid": "u"}, "spec": spec, "status": found}


RUNNING = {"state": {"running": {"startedAt": NOW}}, "containerID": "process://old"}
DONE = {"state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": NOW, "finishedAt": NOW}}}


def test_a_container_that_ran_under_an_earlier_agent_is_restarted_and_counted() -> None:
    record = adopted_records(pod("Always", RUNNING))["c"]
    assert isinstance(record.state, Waiting)
    assert record.restart_count == 3
    assert record.last is not None
    assert (record.last.exit_code, record.last.container_id) == (LOST_EXIT_CODE, "process://old")


def test_a_container_that_must_not_restart_is_lost_when_its_agent_was() -> None:
    record = adopted_records(pod("Never", RUNNING))["c"]
    assert isinstance(record.state, Terminated)
    assert (record.state.reason, record.restart_count) == ("ContainerStatusUnknown", 2)


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_a_finished_container_stays_finished(policy: str) -> None:
    # the API refuses "terminated" becoming anything else under these policies
    record = adopted_records(pod(policy, DONE))["c"]
    assert isinstance(record.state, Terminated)
    assert record.state.exit_code == 0


def test_an_init_container_that_did_its_work_is_not_run_again() -> None:
    record = adopted_records(pod("Always", RUNNING, DONE))["setup"]
    assert isinstance(record.state, Terminated)


def test_a_pod_seen_for_the_first_time_waits_for_its_first_start() -> None:
    records = adopted_records({"spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {}})
    assert records["c"].state == Waiting("ContainerCreating")
    assert records["c"].restart_count == 0


def test_closing_ends_every_record_and_keeps_how_a_container_last_ended() -> None:
    ended = Terminated(1, "Error", NOW, NOW)
    records = [
        ContainerRecord("never", "i", "main"),
        ContainerRecord("back-off", "i", "main", Waiting("CrashLoopBackOff"), ended),
        ContainerRecord("alive", "i", "main", Running(NOW), ready=True),
    ]
    close_records(records)
    assert [r.state.exit_code for r in records if isinstance(r.state, Terminated)] == [
        LOST_EXIT_CODE,
        1,
        LOST_EXIT_CODE,
    ]
    assert not records[2].ready
