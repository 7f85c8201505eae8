"""Who is caught: the right verdict, for its reason, in a run that holds when it is left alone."""

import json

import pytest
from click.testing import CliRunner

from harness import cli
from harness.model.errors import PortError, SpecError
from harness.model.target import Target
from harness.model.verdict import Outcome
from harness.sabotage.evidence import sabotage_facts
from harness.sabotage.on_testbed import DEEDS, TESTBED_SABOTEURS
from harness.sabotage.saboteurs import SABOTEURS, Expected, Saboteur
from harness.sabotage.scene import Scene
from harness.sabotage.trial import Finished, document, exit_status, finished, try_all
from harness.store import list_runs
from reports.page import page
from tests.unit import stored_runs

HELD = Finished(0, {"a": ("PASS", "every limit held"), "b": ("PASS", "every limit held")}, "runs/alone")
SABOTEUR = Saboteur("s", "spoils it", "x", (Expected("a", Outcome.FAIL, "no hpa"),))


class Stub:
    """A runner whose runs are given."""

    def __init__(self, spoilt: Finished, alone: Finished = HELD):
        self._spoilt, self._alone = spoilt, alone
        self.asked: list[str] = []

    def alone(self, experiment: str) -> Finished:
        self.asked.append(experiment)
        return self._alone

    def spoilt(self, saboteur: Saboteur) -> Finished:
        self.asked.append(saboteur.name)
        return self._spoilt


def told(outcome: str, reason: str, status: int = 1) -> Finished:
    return Finished(status, {"a": (outcome, reason)}, "runs/spoilt")


def test_the_right_verdict_for_its_reason_is_caught():
    (trial,) = try_all([SABOTEUR], Stub(told("FAIL", "there is no hpa agents/planner")))
    assert trial.caught
    assert trial.told == ("a FAIL: there is no hpa agents/planner",)


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (told("PASS", "every limit held"), "expected FAIL because of 'no hpa'"),
        (told("FAIL", "the budget was spent"), "expected FAIL because of 'no hpa'"),
        (told("INCONCLUSIVE", "there is no hpa"), "expected FAIL"),
        (told("FAIL", "there is no hpa", status=0), "the spoilt run ended with 0"),
        (Finished(3, {}, error="the conductor died"), "a is missing: the conductor died"),
    ],
)
def test_another_outcome_another_reason_or_a_green_run_is_a_miss(spoilt, says):
    (trial,) = try_all([SABOTEUR], Stub(spoilt))
    assert not trial.caught
    assert says in " ".join(trial.told)
    assert exit_status([trial]) == 1


def test_a_run_that_does_not_hold_by_itself_proves_nothing_and_nobody_is_let_loose():
    runner = Stub(told("FAIL", "there is no hpa"), alone=told("FAIL", "too slow", status=1))
    (trial,) = try_all([SABOTEUR], runner)
    assert not trial.caught
    assert trial.told == ("left alone, it did not hold either: a FAIL: too slow",)
    assert runner.asked == ["x"]


def test_each_experiment_is_run_alone_once():
    runner = Stub(told("FAIL", "there is no hpa"))
    found = try_all([SABOTEUR, SABOTEUR], runner)
    assert runner.asked == ["x", "s", "s"]
    assert exit_status(found) == 0
    assert (document("twin", found)["caught"], document("twin", found)["tried"]) == (2, 2)
    assert exit_status([]) == 20


def test_verdicts_are_read_from_the_runs_folder(tmp_path):
    verdict = {"assertion": "a", "outcome": "FAIL", "reason": "why"}
    (tmp_path / "verdicts.json").write_text(json.dumps({"verdicts": [verdict]}))
    assert finished(1, tmp_path, "").verdicts == {"a": ("FAIL", "why")}
    assert finished(3, None, "died").error == "died"


def test_every_saboteur_expects_something_and_has_a_name_of_its_own():
    for table in (SABOTEURS, TESTBED_SABOTEURS):
        assert len({saboteur.name for saboteur in table}) == len(table)
        assert all(saboteur.expected for saboteur in table)
        assert not [e for s in table for e in s.expected if e.outcome is Outcome.PASS or not e.because]
    assert len(SABOTEURS) >= 15
    assert set(DEEDS) == {saboteur.name for saboteur in TESTBED_SABOTEURS}
    assert len(DEEDS) >= 6


def test_only_a_local_testbed_is_sabotaged():
    staging = Target("staging", "cluster", "c", "k", "https://a", "u", "a=b", (), "", "", 1.0)
    with pytest.raises(PortError, match="only a local testbed"):
        Scene(staging)


def test_an_unknown_saboteur_is_one_clear_error(tmp_path):
    with pytest.raises(SpecError, match="there is no such saboteur"):
        cli.gameday.main(["sabotage", "nobody", "--runs-dir", str(tmp_path)], standalone_mode=False)


def test_the_list_says_what_each_does_and_runs_nothing(tmp_path):
    done = CliRunner().invoke(cli.gameday, ["sabotage", "--list", "--runs-dir", str(tmp_path)])
    assert all(saboteur.name in done.output for saboteur in SABOTEURS)
    assert not list(tmp_path.iterdir())


def test_the_last_table_goes_into_a_runs_facts_and_its_report(tmp_path):
    trials = try_all([SABOTEUR], Stub(told("FAIL", "there is no hpa")))
    (tmp_path / "twin-sabotage.json").write_text(json.dumps(document("twin", trials)))
    (tmp_path / "testbed-sabotage.json").write_text("{torn")
    facts = sabotage_facts(tmp_path)
    assert facts["sabotage"]["twin"]["trials"] == [{"name": "s", "does": "spoils it", "caught": True}]
    assert "testbed-sabotage.json cannot be read" in facts["sabotage"]["testbed"]["problem"]

    record = stored_runs.record(header=stored_runs.header(facts=facts))
    shown = page(record, stored_runs.verdicts(), stored_runs.assumptions())
    assert "<b>1 of 1</b> caught on the twin" in shown and "spoils it" in shown
    assert "cannot be read" in shown
    assert 'id="sabotage"' not in page(stored_runs.record(), stored_runs.verdicts(), stored_runs.assumptions())


def test_runs_without_any_sabotage_say_nothing_of_it(tmp_path):
    assert sabotage_facts(tmp_path) == {}


def test_spoilt_runs_are_kept_apart_from_the_others(tmp_path, monkeypatch):
    asked = []

    class Runner(Stub):
        def __init__(self, settings: str, runs_dir: str, seed: int):
            super().__init__(told("INCONCLUSIVE", "effect ABSENT"))
            asked.append(runs_dir)

    monkeypatch.setattr("harness.sabotage.on_twin.TwinRunner", Runner)
    CliRunner().invoke(cli.gameday, ["sabotage", "fault-no-op", "--runs-dir", str(tmp_path)])
    assert asked == [str(tmp_path / "sabotage")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-of-twin-sabotage.json", "sabotage"]
    assert list_runs(tmp_path) == []
