"""The conductor's process: a run that ends before it begins still has its record, its reports and its exit status."""

import json
from dataclasses import replace

import pytest

from harness import assembly, conductor_main, registries, store
from harness.client import Job
from harness.model.errors import PortError, Refusal, SpecError
from harness.model.record import Ending
from harness.pulse import StopFlag


class Stream:
    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)

    def event(self, event):
        self.sent.append(event)


def run(monkeypatch, tmp_path, error):
    """Run a rehearsal whose drivers cannot be made."""
    whole = assembly.rehearsal

    def no_drivers(run_dir, run_id):
        raise error

    monkeypatch.setattr(assembly, "rehearsal", lambda *wired: replace(whole(*wired), drivers=no_drivers))
    path = registries.experiment_path("pod-kill-under-burst")
    job = Job(str(path), "gameday.toml", "", 7, str(tmp_path), rehearse=True)
    return conductor_main._run(job, Stream(), StopFlag())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpecError("kubeconfig", "", "no context 'gameday-default'", "start the testbed"), 4),
        (Refusal("identity", "another cluster", "name the right one"), 4),
        (PortError("kubernetes", "connect", "refused", "is it up?"), 20),
    ],
)
def test_drivers_that_cannot_be_made_are_a_refusal_with_reports(monkeypatch, tmp_path, error, status):
    found, run_dir = run(monkeypatch, tmp_path, error)
    assert found == status
    record = store.load_record(run_dir)
    assert (record.header.ending, record.header.reason) == (Ending.REFUSED, str(error))
    verdicts = json.loads((run_dir / "verdicts.json").read_text())["verdicts"]
    assert verdicts and {v["outcome"] for v in verdicts} == {"INCONCLUSIVE"}
    assert all(str(error) in v["reason"] and v["remedy"] == error.remedy for v in verdicts)
    assert (run_dir / "report.html").stat().st_size > 100


def test_a_runs_dir_that_cannot_be_written_is_usage_and_names_option_and_folder(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    path = registries.experiment_path("pod-kill-under-burst")
    job = Job(str(path), "gameday.toml", "", 7, str(taken), rehearse=True)
    with pytest.raises(SpecError, match=f"--runs-dir: {taken}: create the run folder: Not a directory"):
        conductor_main._run(job, Stream(), StopFlag())
