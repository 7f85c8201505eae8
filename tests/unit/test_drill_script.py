"""The scripted participant: what its file may say, when each line is due, what becomes of a refused one."""

from pathlib import Path

import pytest

from harness.drill.script import Participant, read_script
from harness.model.drill import Mark
from harness.model.errors import SpecError
from harness.registries import EXPERIMENTS_DIR
from tests.unit.drill_parts import Bench
from tests.unit.test_drill_session import PAGE


def script(folder: Path, text: str) -> Path:
    path = folder / "people.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("path", sorted((EXPERIMENTS_DIR / "participants").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_script_that_is_shipped_reads(path: Path) -> None:
    assert read_script(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"people.yaml:1: got None, needs a list"),
        ("[]", r"people.yaml:1: is empty"),
        ("- {at: 1s, mark: detected}\n- {at: 1s, marks: detected}", r"people.yaml:2: \[1\].marks: unknown key 'marks'"),
        ("- {at: soon, mark: detected}", r"\[0\].at: got 'soon', which is not a duration"),
        ("- {at: -1, mark: detected}", r"\[0\].at: got -1"),
        ("- {at: 1s, mark: mended}", r"\[0\].mark: got 'mended', allowed are detected, acknowledged"),
        ("- {at: 1s, after: lunch, mark: detected}", r"\[0\].after: got 'lunch', allowed are effect, page"),
        ("- {at: 1s, step: 3}", r"\[0\].step: got 3, needs a text — a step of the runbook that is done, quoted"),
        ("- {at: 1s, hint: 2}", r"\[0\].hint: got 2, allowed is True"),
        ("- {at: 1s}", r"people.yaml:1: \[0\]: 0 things to do — exactly one of mark, hint"),
        ("- {at: 1s, mark: detected, note: x}", r"\[0\]: 2 things to do"),
        ("- {mark: detected}", r"\[0\].at: missing — a duration such as 30s, or after"),
        ("- {at: 1s, command: rm -rf /}", r"\[0\].command: "),
        ("- {at: 1s, at: 2s, mark: detected}", r"\[0\].at: stands twice"),
        ("a: [", r"not YAML"),
    ],
)
def test_a_wrong_script_is_one_clear_error_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read_script(script(tmp_path, text))


def test_a_script_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_script(tmp_path / "nobody.yaml")


def test_each_line_is_done_once_when_it_is_due_from_what_it_counts_from(bench: Bench) -> None:
    lines = read_script(
        script(
            bench.folder,
            "- {at: 10s, mark: detected, by: ana}\n"
            "- {after: page, at: 5s, mark: acknowledged, by: ben}\n"
            "- {after: detected, at: 1s, step: '1'}\n"
            "- {after: acknowledged, hint: true}\n"
            "- {after: hint, at: 2s, skip: '2'}\n"
            "- {after: hint, at: 3s, command: kubectl get pods}\n"
            "- {after: command, note: done}\n",
        )
    )
    participant = Participant(lines)
    bench.start()

    def later(seconds: float) -> list[str]:
        participant.look(bench.after(seconds).session, bench.now_unix_s)
        return [entry.kind for entry in bench.session.drill().entries]

    assert "mark" not in later(60.0)  # no effect, no page: nothing counts yet
    bench.strike()
    assert "mark" not in later(9.0)
    assert later(1.0)[-1] == "mark"
    bench.session.page({**PAGE, "state": "resolved"}, "alertmanager")  # not what pages people
    assert later(1.0)[-1] == "step"
    bench.session.page(PAGE, "alertmanager")
    later(5.0)
    later(0.0)
    assert list(bench.session.drill().marks) == [Mark.DETECTED, Mark.ACKNOWLEDGED]
    later(3.0)
    kinds = later(0.0)
    assert kinds[-4:] == ["hint", "step", "command", "note"]
    assert not participant.left and later(100.0) == kinds
    assert bench.session.drill().marks[Mark.ACKNOWLEDGED].by == "ben"


def test_what_is_refused_is_the_drills_trouble_and_the_rest_goes_on(bench: Bench) -> None:
    lines = read_script(script(bench.folder, "- {at: 0s, mark: mitigated}\n\n- {at: 0s, mark: detected}\n"))
    participant = Participant(lines)
    participant.look(bench.start().strike().session, bench.now_unix_s)
    (trouble,) = bench.session.drill().of("trouble")
    assert trouble.detail["message"].startswith("script, line 1: mitigated: comes after detected")
    assert list(bench.session.drill().marks) == [Mark.DETECTED]
