"""Whoever reads a journal: whatever stands in it, it is read or refused in one line, and never an exception of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness import cli
from harness.drill import debrief_history as history
from harness.drill.debrief import debrief_of, drill_verdict, write_debrief
from harness.drill.debrief_sources import read_sources
from harness.drill.desk import Role
from harness.drill.endings import ending
from harness.drill.entry_shapes import OtherShape, entry_of
from harness.drill.journal import JOURNAL_FILE, Journal, read_drill
from harness.drill.script import Line, Participant, read_script
from harness.drill.web.api import page_view
from harness.drill.wiring import Terminal
from harness.model.debrief import Reveal
from harness.model.drill import DrillError
from harness.model.errors import SpecError
from tests.unit import drill_journals as drills
from tests.unit.drill_junk import GOOD, JOURNALS, JUNK
from tests.unit.drill_parts import Bench
from tests.unit.drill_web import client_of

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SCRIPT = tuple(Line(n, 0.0, after, "note", "due", "ana") for n, after in enumerate(("effect", "page", "hint", "mark")))


def entry(kind: str, detail: Any, **frame: Any) -> bytes:
    return json.dumps({"seq": 1, "at_unix_s": 1.8e9, "kind": kind, "by": "x", "detail": detail, **frame}).encode()


def written(folder: Path, data: bytes) -> Path:
    found = folder / "runs" / "drills" / drills.DRILL_ID
    found.mkdir(parents=True)
    (found / JOURNAL_FILE).write_bytes(data)
    return found


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (entry("mark", {"mark": []}), "mark: Input should be 'detected'"),
        (entry("mark", {"mark": "mended"}), "mark: Input should be 'detected'"),
        (entry("state", {"state": "napping"}), "state: Input should be 'preparing'"),
        (entry("revealed", {"runbook": "runbooks/a.md"}), "runbook: Input should be a valid list"),
        (entry("opened", {"targets_s": [1]}), "targets_s: Input should be a valid dictionary"),
        (entry("opened", {"limit_s": True}), "limit_s: Input should be a valid number"),
        (entry("page", {"alert": 3}), "alert: Input should be a valid string"),
        (entry("page", {"alert": "a", "event": {}}), "event: Input should be a valid string"),
        (entry("ended", {"end": None}), "end: Input should be 'mitigated'"),
        (entry("note", None), "detail: Input should be a valid dictionary"),
        (entry("note", {"text": "a"}, seq=True), "seq: Input should be a valid integer"),
        (entry("note", {"text": "a"}, at_unix_s=1e15), "at_unix_s: Input should be less than or equal to 253402300799"),
        (entry("note", {"text": "a"}, at_unix_s=-1), "at_unix_s: Input should be greater than or equal to 0"),
        (entry("note", {"text": "a"}, at_unix_s=10**400), "at_unix_s: Input should be"),
        (entry("note", {"text": "a"}, more=1), "more: Extra inputs are not permitted"),
        (b"[]", "the line: Input should be"),
    ],
)
def test_what_is_no_entry_says_where_and_why(line: bytes, problem: str) -> None:
    with pytest.raises(OtherShape) as refused:
        entry_of(line)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    "line",
    [
        entry("note", {"text": "a"}, at_unix_s=float("nan")),
        entry("else", {"x": float("inf")}),
        entry("note", {"text": "\ud800"}),
        b"[" * 100_000,
        b'{"seq": 1',
        b"\xff",
    ],
)
def test_what_is_damaged_is_no_entry(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        entry_of(line)
    assert not isinstance(refused.value, OtherShape)


def test_every_entry_of_a_whole_drill_is_one_and_so_is_what_another_version_adds() -> None:
    for one in GOOD:
        assert entry_of(json.dumps(one)).kind == one["kind"]
    assert entry_of(entry("mark", {"mark": "detected", "mood": 3})).detail["mood"] == 3
    assert entry_of(entry("applause", {"by": ["all"]})).kind == "applause"


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, environ={})
    for kind, detail in (("mark", {"mark": "mended"}), ("else", {"x": float("nan")})):
        with pytest.raises(DrillError, match="the journal takes no such entry"):
            journal.append((kind, "ana", detail))
    assert (tmp_path / JOURNAL_FILE).read_bytes() == b"" and not journal.drill.entries


@RELAXED
@given(data=JOURNALS)
@example(data=entry("revealed", {"runbook": 5}) + b"\n")
@example(data=entry("command", {"command": "a", "step": []}) + b"\n")
@example(data=entry("page", {"alert": "a", "event": []}) + b"\n")
def test_any_journal_is_refused_or_goes_on(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = written(tmp_path_factory.mktemp("any"), data)
    try:
        bench = Bench(folder)
    except DrillError as error:
        assert error.problem.startswith(JOURNAL_FILE) and error.remedy
        return
    shown: list[str] = []
    Terminal(shown.append).look(bench.session)
    Participant(SCRIPT).look(bench.session, bench.now_unix_s)
    for role in Role:
        json.dumps(page_view(bench.session, role), allow_nan=False)
    ending(bench.session.drill(), bench.session.seen, 60.0, bench.now_unix_s)
    client = client_of(bench.session)  # type: ignore[arg-type]
    assert client.post("/hooks/alertmanager", json={}).status_code == 401
    "".join(shown).encode()


@RELAXED
@given(data=JOURNALS)
def test_any_journal_is_listed_and_has_a_debrief_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = written(tmp_path_factory.mktemp("any"), data).parents[1]
    for command, statuses in ((("list",), {0}), (("debrief",), {0, 1, 2, 20})):
        with pytest.raises(SystemExit) as ended:
            cli.main(["drill", *command, "--runs-dir", str(runs)])
        assert (ended.value.code or 0) in statuses
        assert "Traceback" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drills.store_run(tmp_path_factory.mktemp("runs"), drills.record(), drills.verdicts())


@settings(RELAXED, max_examples=15)
@given(data=JOURNALS, beneath=st.booleans())
def test_any_journal_has_its_files(
    tmp_path_factory: pytest.TempPathFactory, stored: Path, data: bytes, beneath: bool
) -> None:
    folder = written(tmp_path_factory.mktemp("any"), data)
    assert write_debrief(folder, stored if beneath else None).is_file()


@RELAXED
@given(data=JOURNALS)
def test_any_journal_is_scored(tmp_path_factory: pytest.TempPathFactory, stored: Path, data: bytes) -> None:
    folder = written(tmp_path_factory.mktemp("any"), data)
    sources = read_sources(folder, stored)
    assert drill_verdict(debrief_of(sources, folder)).exit_status in {0, 1, 2, 20}
    with suppress(DrillError):
        assert read_drill(folder).entries == sources.drill.entries


DEBRIEFS = st.fixed_dictionaries(
    {"began_unix_s": st.floats(-1e300, 1.8e9) | JUNK},
    optional={key: JUNK for key in ("marks", "verdict", "drill_id", "end")},
).map(lambda told: {**told, "reveal": drills.HIDDEN})


@RELAXED
@given(told=DEBRIEFS | JUNK, header=JUNK)
@example(told={"reveal": drills.HIDDEN, "began_unix_s": -1e300}, header={})
@example(told={"reveal": drills.HIDDEN, "began_unix_s": 1.0, "marks": 5}, header={})
@example(told={"reveal": drills.HIDDEN, "began_unix_s": 10**400}, header={})
def test_any_earlier_debrief_and_any_run_are_compared_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, told: Any, header: Any
) -> None:
    folder = tmp_path_factory.mktemp("any") / "runs"
    for path, value in (("drills/a/debrief.json", told), ("20261125-0141-x-7f3a/run.json", header)):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(json.dumps(value))
    reveal = Reveal(**drills.HIDDEN)
    assert len(history.earlier_drills(folder / "drills" / "b", reveal, 1.9e9)) <= 1
    assert history.unattended(folder, reveal, "local").recovery.value is None


ITEM = st.fixed_dictionaries(
    {}, optional={key: JUNK for key in ("at", "after", "by", "mark", "hint", "note", "step", "skip", "command", "stop")}
)
TEXTS = st.lists(ITEM | JUNK, max_size=3).map(yaml.safe_dump) | st.text(max_size=40)


@RELAXED
@given(text=TEXTS)
@example(text="- {at: 1" + "0" * 400 + ", mark: detected}")
@example(text="- {at: " + "9" * 400 + "s, mark: detected}")
@example(text="- {at: .inf, mark: detected}")
@example(text="- {at: .nan, mark: detected}")
@example(text="- {at: 1s, mark: detected}\n- &a [*a]")
@example(text="[" * 3000)
def test_any_script_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "people.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        lines = read_script(path)
    except SpecError as error:
        str(error).encode("utf-8", "backslashreplace")
        return
    bench = Bench(path.parent).start()
    Participant(lines).look(bench.session, bench.now_unix_s + 1e9)
