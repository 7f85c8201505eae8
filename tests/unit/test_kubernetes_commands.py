"""Commands come from this process's own settings, never from a record (DESIGN U4)."""

import sys

import pytest

from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.model.errors import PortError
from harness.model.fault import UndoRecord
from tests.unit.kubernetes_stub import stub_api

MAP = "/api/v1/namespaces/gameday-system/configmaps/"


def record(**applied):
    return UndoRecord("1", "run", "lose", "v1", "Node", "", "node-1", "u", "command", applied=applied)


def ledger(connection, commands):
    return KubernetesLedger(connection, "gameday-system", commands)


def test_the_command_that_a_record_names_is_run_with_the_nodes_name(tmp_path):
    out = tmp_path / "out"
    argv = (sys.executable, "-c", f"import sys; open({str(out)!r}, 'w').write(sys.argv[1])", "{node}")
    with stub_api() as (_, connection):  # the record is closed already: marking it done finds nothing, and that is fine
        done = ledger(connection, {"node_start": argv}).undo(record(command="node_start"))
    assert done.done
    assert out.read_text() == "node-1"


def test_a_command_in_a_record_is_never_run_and_one_that_we_do_not_have_is_named(tmp_path):
    out = tmp_path / "out"
    with stub_api() as (_, connection), pytest.raises(PortError, match="'node_start' is not among"):
        ledger(connection, {}).undo(record(command="node_start", argv=["touch", str(out)]))
    assert not out.exists()


def test_a_command_that_fails_leaves_the_record_open_with_what_it_said():
    argv = (sys.executable, "-c", "import sys; sys.exit('no such machine')")
    with stub_api() as (stub, connection):
        with pytest.raises(PortError, match="ended with status 1: no such machine"):
            ledger(connection, {"node_start": argv}).undo(record(command="node_start"))
        assert stub.requests == []
