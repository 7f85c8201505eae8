"""What a run tells of undos that somebody else did meanwhile (DESIGN U3)."""

from types import SimpleNamespace

from harness.model.errors import PortError
from harness.model.fault import UndoRecord
from harness.undoing import Undoing
from tests.unit.conductor_doubles import EXPERIMENT

DONE = UndoRecord("r9", "run", "cordon", "v1", "Node", "", "n", "u", "patch", done=True, outcome="restored /spec")


class Ledger:
    def __init__(self, found):
        self.found = found

    def open_records(self, run_id=None):
        return ()

    def run_records(self, run_id):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def undone(found):
    said = []
    pulse = SimpleNamespace(say=lambda kind, subject, detail: said.append((kind, subject, detail)))
    clock = SimpleNamespace(now_s=lambda: 0.0, sleep=lambda duration_s: None)
    undoing = Undoing(EXPERIMENT, SimpleNamespace(ledger=Ledger(found), clock=clock), pulse, "run")
    undoing.undo_all()
    return undoing.outcomes, said


def test_a_record_that_the_reaper_took_back_meanwhile_is_part_of_the_outcome():
    (told,), said = undone([DONE])
    assert (told["record_id"], told["done"]) == ("r9", True)
    assert told["outcome"] == "taken back by the reaper: restored /spec"
    assert said == [
        ("undo", "cordon", {"step": "done", "record_id": "r9", "operation": "patch", "outcome": told["outcome"]})
    ]


def test_records_that_cannot_be_read_are_a_failed_undo_and_never_silence():
    outcomes, said = undone(PortError("kubernetes", "list", "away"))
    assert outcomes == ()
    assert said[0][2]["step"] == "failed"
    assert "away" in said[0][2]["outcome"]
