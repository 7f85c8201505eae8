"""The ledger's own errors and order; what it does to a real API server is in tests/contract."""

import json
from dataclasses import asdict

import pytest

from harness.drivers.kubernetes.ledger import KubernetesLedger, _name
from harness.model.errors import PortError
from harness.model.fault import UndoRecord, run_label
from tests.unit.kubernetes_stub import status, stub_api

MAPS = "/api/v1/namespaces/gameday-system/configmaps"


def record(record_id="1", **fields):
    base = {
        "record_id": record_id, "run_id": "20261125-0141-pod-kill-7f3a", "fault": "cordon", "api_version": "v1",
        "kind": "Node", "namespace": "", "name": "general-1", "uid": "u", "operation": "patch",
    }  # fmt: skip
    return UndoRecord(**{**base, **fields})


def stored(found, written_unix_ns, data=None):
    text = json.dumps({"schema": "gameday.undo/1", **asdict(found)}) if data is None else data
    meta = {
        "name": f"m-{written_unix_ns}",
        "namespace": "gameday-system",
        "uid": "m",
        "labels": {"gameday.local/run": "r"},
    }
    return {"metadata": meta, "data": {"record": text, "written_unix_ns": str(written_unix_ns)}}


def maps(*items):
    return lambda e: e.json(200, {"metadata": {"resourceVersion": "1"}, "items": list(items)})


def test_records_come_newest_first_however_the_server_lists_them():
    with stub_api() as (stub, connection):
        stub.on("GET", MAPS, maps(stored(record("2"), 20), stored(record("3"), 100), stored(record("1"), 9)))
        found = KubernetesLedger(connection, "gameday-system").open_records()
    assert [r.record_id for r in found] == ["3", "2", "1"]
    assert found[0] == record("3")


@pytest.mark.parametrize("data", ["", "{", "[]", '{"schema": "gameday.undo/9"}', '{"schema": "gameday.undo/1"}'])
def test_a_record_that_cannot_be_read_is_never_lost_and_never_called_undone(data):
    with stub_api() as (stub, connection):
        stub.on("GET", MAPS, maps(stored(None, 7, data)))
        ledger = KubernetesLedger(connection, "gameday-system")
        (found,) = ledger.open_records()
        assert found.operation == "unreadable"
        with pytest.raises(PortError, match="holds no readable undo record"):
            ledger.undo(found)


def test_a_record_that_could_not_be_stored_names_the_missing_namespace():
    with stub_api() as (stub, connection):
        stub.on("POST", MAPS, lambda e: e.json(404, status(404, "NotFound", "namespace not found")))
        with pytest.raises(PortError, match="there is no namespace gameday-system — kubectl create namespace"):
            KubernetesLedger(connection, "gameday-system").write(record())


def test_an_operation_that_is_not_known_is_an_error():
    with stub_api() as (_, connection), pytest.raises(PortError, match="unknown operation 'explode'"):
        KubernetesLedger(connection, "gameday-system").undo(record(operation="explode"))


def test_a_none_record_that_names_applied_values_is_an_error():
    with stub_api() as (_, connection), pytest.raises(PortError, match="names applied values"):
        KubernetesLedger(connection, "gameday-system").undo(record(operation="none", applied={"/a": 1}))


def test_a_kind_that_the_cluster_does_not_serve_any_more_is_an_error_and_stays_open():
    with stub_api() as (_, connection), pytest.raises(PortError, match="serves no NetworkChaos"):
        ledger = KubernetesLedger(connection, "gameday-system")
        ledger.undo(record(kind="NetworkChaos", api_version="chaos-mesh.org/v1alpha1", operation="delete"))


@pytest.mark.parametrize("record_id", ["cordon/general-1", "UPPER", "ümlaut", "x" * 300])
def test_names_are_valid_for_any_record_and_distinct(record_id):
    name = _name(record(record_id))
    assert len(name) <= 253
    assert name.replace("-", "").isalnum()
    assert name == name.lower()
    assert name != _name(record(record_id + "!"))


def test_a_run_id_that_is_too_long_for_a_label_stays_unique():
    first, second = run_label("r" * 80 + "1"), run_label("r" * 80 + "2")
    assert first != second
    assert len(first) <= 63
    assert run_label("20261125-0141-pod-kill-7f3a") == "20261125-0141-pod-kill-7f3a"
