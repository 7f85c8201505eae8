"""Every case has a test that holds it, found by its id, and the table in the docs says which."""

import re
import textwrap

import pytest

from tests.cases_table import TABLE_FILE, find_tests, main, read_cases, render

AREAS, CASES = read_cases()
NUMBERS = {"A": 23, "B": 15, "C": 18, "D": 11, "E": 9, "F": 20, "G": 12}


def found_in(tmp_path, source):
    (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
    return find_tests(tmp_path)


def test_the_cases_are_all_there_and_say_what_must_hold():
    assert [case.id for case in CASES] == [f"{a}{n:02}" for a, most in NUMBERS.items() for n in range(1, most + 1)]
    assert list(AREAS) == list(NUMBERS)
    assert [case.id for case in CASES if not 0 < len(case.holds) <= 120 or "|" in case.holds] == []


def test_every_case_has_a_test_that_runs_and_claims_something_unless_it_says_why_not_yet():
    covered = {name for test in find_tests() if test.counts for name in test.ids}
    missing = {case.id for case in CASES} - covered
    assert missing == {case.id for case in CASES if case.later}


def test_no_test_names_a_case_that_there_is_not():
    assert {name for test in find_tests() for name in test.ids} <= {case.id for case in CASES}


def test_the_table_in_the_docs_is_up_to_date():
    stale = "run: python -m tests.cases_table"
    assert TABLE_FILE.read_text("utf-8") == render(AREAS, CASES, find_tests()), stale


def test_every_link_of_the_table_leads_to_a_file():
    links = re.findall(r"\]\(([^)\s]+)\)", TABLE_FILE.read_text("utf-8"))
    assert len(links) > len(CASES)
    assert [link for link in links if not (TABLE_FILE.parent / link).is_file()] == []


@pytest.mark.parametrize(
    ("source", "ids"),
    [
        ("def test_c01_it(): assert 1", {"C01"}),
        ("def test_it_c17_d08(): assert 1", {"C17", "D08"}),
        ("def test_it_in_abc01_and_f100(): assert 1", set()),
        ("class TestIt:\n    def test_it_b02(self): assert 1", {"B02"}),
        ("@pytest.mark.parametrize('x', [pytest.param(1, id='a09 gone')])\ndef test_it(x): assert x", {"A09"}),
        ("@pytest.mark.parametrize('x', [1, 2], ids=['g01', 'g02-x'])\ndef test_it(x): assert x", {"G01", "G02"}),
        ("def helper_c01(): assert 1", set()),
    ],
)
def test_a_case_is_named_by_the_tests_name_or_by_the_id_of_a_parameter(tmp_path, source, ids):
    assert {name for test in found_in(tmp_path, source) for name in test.ids} == ids


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.skip\ndef test_c01_it(): assert 1",
        "@pytest.mark.skipif(True, reason='x')\ndef test_c01_it(): assert 1",
        "@pytest.mark.xfail(reason='x')\ndef test_c01_it(): assert 1",
        "def test_c01_it():\n    pytest.skip('x')\n    assert 1",
        "pytestmark = pytest.mark.skip\ndef test_c01_it(): assert 1",
        "def test_c01_it(): print(1)",
    ],
)
def test_a_test_that_is_off_or_claims_nothing_covers_no_case(tmp_path, source):
    (test,) = found_in(tmp_path, source)
    assert not test.counts


@pytest.mark.parametrize("claim", ["with pytest.raises(OSError): x()", "result.assert_outcomes(passed=1)"])
def test_an_expected_error_is_a_claim(tmp_path, claim):
    (test,) = found_in(tmp_path, f"def test_c01_it():\n    {claim}")
    assert test.counts


def test_the_table_is_written_where_the_docs_are(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.cases_table.TABLE_FILE", tmp_path / "cases.md")
    main()
    assert (tmp_path / "cases.md").read_text("utf-8") == render(AREAS, CASES, find_tests())
